"""Ours: Grafana states none for an annotation (grafana.com, "Annotations HTTP API"), and a line's bubble is
read at a glance."""

MAX_TEXT = 2_000
MAX_TAG = 100
MAX_DIGESTED = 20
