"""A message to Teams has at most 28 KB (learn.microsoft.com, "Limits and specifications for Teams")."""

MAX_BYTES = 28 * 1024
# So many lines of a digest stay far below that, each of at most 200 characters.
MAX_BRIEFS = 30
MAX_VALUE = 300
# Workflows take cards up to this version in every client.
CARD_VERSION = "1.4"
