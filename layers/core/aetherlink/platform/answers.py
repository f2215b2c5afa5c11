"""Answers that are kept for their Idempotency-Key, in the control table.

pk  <tenant>#idempotency    sk  <SHA-256 of caller, route and key>

owner         the run that holds the key, or held it
fingerprint   of the request that it runs
locked_until  epoch milliseconds; a run that has not ended by then never will
is_done       once it has ended well, with
answer        its answer as JSON, absent where that was too large
expires_at    TTL
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aetherlink.platform.dynamo import ConditionFailedError, Item, Table

if TYPE_CHECKING:
    from datetime import datetime

_THOUSAND = 1000


@dataclass(frozen=True)
class Claim:
    """A run that wants a key: where the key is kept, who runs, and what."""

    pk: str
    sk: str
    owner: str
    fingerprint: str
    locked_until: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Kept:
    """What a key stands for already. `locked_until` is an epoch time in seconds."""

    fingerprint: str
    is_done: bool
    locked_until: float
    answer: str | None


class AnswerStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def take(self, claim: Claim, now: datetime) -> Kept | None:
        """Take the key for a run; None if it was free. Else what it stands for comes back."""
        instant = int(now.timestamp() * _THOUSAND)
        try:
            self._table.put(
                _to_item(claim),
                # Free is what nobody took, what is past its day though TTL has not removed it, and
                # what a run took that ended without a word.
                only_if="attribute_not_exists(pk) OR expires_at < :today "
                "OR (attribute_not_exists(is_done) AND locked_until < :instant)",
                today=instant // _THOUSAND,
                instant=instant,
            )
        except ConditionFailedError as taken:
            found = taken.found or self._table.get(claim.pk, claim.sk)
            if found is None:
                # Freed between the two calls: to be asked again at once.
                return Kept(
                    claim.fingerprint, is_done=False, locked_until=now.timestamp(), answer=None
                )
            return Kept(
                fingerprint=found["fingerprint"],
                is_done="is_done" in found,
                locked_until=found["locked_until"] / _THOUSAND,
                answer=found.get("answer"),
            )
        return None

    def keep(self, claim: Claim, answer: str | None) -> None:
        """Keep the answer of the run that holds the key, if it still does."""
        kept = {**_to_item(claim), "is_done": True, "answer": answer}
        with suppress(ConditionFailedError):
            self._table.put(kept, only_if="#owner = :owner", owner=claim.owner)

    def free(self, claim: Claim) -> None:
        """Give the key back, if this run still holds it."""
        with suppress(ConditionFailedError):
            self._table.delete(claim.pk, claim.sk, only_if="#owner = :owner", owner=claim.owner)


def _to_item(claim: Claim) -> Item:
    return {
        "pk": claim.pk,
        "sk": claim.sk,
        "owner": claim.owner,
        "fingerprint": claim.fingerprint,
        "locked_until": int(claim.locked_until.timestamp() * _THOUSAND),
        "expires_at": int(claim.expires_at.timestamp()),
    }
