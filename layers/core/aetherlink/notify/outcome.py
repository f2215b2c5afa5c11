"""What one attempt at a delivery came to, and what kind of trouble it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

# Refusals that say "not now" rather than "never" (RFC 9110 §15.5.9, RFC 8470, RFC 6585).
TRANSIENT_STATUSES = frozenset({408, 425, 429})
_TOO_MANY, _GONE = 429, 410
# What a receiver may ask us to wait (Retry-After); it may not put an alert off for good.
LONGEST_WAIT = timedelta(hours=24)


class Trouble(StrEnum):
    """What kind of failure it was, hence what to do about it."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    RATE_LIMITED = "rate_limited"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to. `retry_after` is what the receiver asked for."""

    ms: int
    status: int | None = None
    error: str | None = None
    permanent: bool = False
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx

    @property
    def is_gone(self) -> bool:
        """It will never take anything again (RFC 9110 §15.5.11)."""
        return self.status == _GONE

    @property
    def is_final(self) -> bool:
        """Trying again cannot help: refused for good, by us or by the receiver."""
        return self.trouble is Trouble.PERMANENT

    @property
    def trouble(self) -> Trouble | None:
        if self.is_success:
            return None
        if self.permanent:
            return Trouble.PERMANENT
        if self.status is None:
            # Not reached, or no answer in time.
            return Trouble.TRANSIENT
        if self.status == _TOO_MANY:
            return Trouble.RATE_LIMITED
        if self.status in TRANSIENT_STATUSES or self.status >= 500:  # noqa: PLR2004 - 5xx
            return Trouble.TRANSIENT
        return Trouble.PERMANENT if self.status >= 400 else Trouble.UNKNOWN  # noqa: PLR2004 - 4xx
