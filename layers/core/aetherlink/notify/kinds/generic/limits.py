"""Standard Webhooks asks for payloads below 20 KB. An event is sent whole all the same: what was stored
has at most 256 KB, and whoever automates wants all of it."""

MAX_DIGESTED = 100
# A hundred of the largest would be 25 MB: of a digest, so many bytes of events; `count` counts all.
MAX_DIGEST_BYTES = 1_000_000
