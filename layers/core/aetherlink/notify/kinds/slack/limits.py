"""Slack cuts a text at 40,000 characters and asks for 4,000 (docs.slack.dev, "truncating really long
messages")."""

MAX_TEXT = 3_900
