"""Text for one line: whatever somebody wrote, in a form that any reader and any format can take."""

from __future__ import annotations

ELLIPSIS = "…"


def one_line(text: str, most: int) -> str:
    """At most `most` characters without line breaks, control characters or halves of characters."""
    sound = text.encode("utf-8", "replace").decode()
    shown = "".join(c if c.isprintable() else " " for c in sound).strip()
    return cut(shown, most)


def cut(text: str, most: int) -> str:
    """At most `most` characters, the last of which says that there were more."""
    return text if len(text) <= most else text[: most - 1] + ELLIPSIS
