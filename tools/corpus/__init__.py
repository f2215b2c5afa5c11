"""How well the rules find leads' fields: precision and recall over the labelled corpus."""
