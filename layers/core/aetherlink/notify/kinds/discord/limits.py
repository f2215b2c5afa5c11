"""Of an embed, in characters (discord.com/developers, "Embed limits"). MAX_TOTAL is for all of it."""

MAX_TITLE = 256
MAX_DESCRIPTION = 4_096
MAX_FIELDS = 25
MAX_FIELD_NAME = 256
MAX_FIELD_VALUE = 1_024
MAX_TOTAL = 6_000
