"""Microsoft Teams: incoming webhooks and Power Automate's workflows, which both take Adaptive Cards."""
