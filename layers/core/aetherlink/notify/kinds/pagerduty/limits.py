"""Of an event (developer.pagerduty.com, "Send an Event"): the whole in bytes, texts in characters."""

MAX_BYTES = 512 * 1024
MAX_SUMMARY = 1_024
MAX_KEY = 255
# Ours: an incident is read by people, and its details need no more.
MAX_DETAIL = 1_000
MAX_DIGESTED = 100
