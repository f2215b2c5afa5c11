"""Nothing is written to a tenant that leaves, nor noted in its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from aetherlink.kernel.errors import ForbiddenError
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.platform import behind
from aetherlink.platform.tally import Tally

ACME, GLOBEX = TenantId("acme"), TenantId("globex")


@pytest.fixture(autouse=True)
def no_thread() -> Iterator[None]:
    behind.by_hand()
    yield
    behind.forget()


def root(asked: list[str]) -> Caller:
    def check(tenant: TenantId) -> None:
        asked.append(tenant)
        if tenant == ACME:
            raise ForbiddenError("it is leaving")

    return Caller("root", frozenset({Role.ADMIN}), GLOBEX, cross_tenant=True, check_tenant=check)


def test_who_may_write_to_every_tenant_does_not_write_to_one_that_leaves() -> None:
    asked: list[str] = []

    with pytest.raises(ForbiddenError, match="it is leaving"):
        root(asked).writes("acme")
    # Nobody can have asked for it when the caller was admitted, as a caller without a home.
    with pytest.raises(ForbiddenError):
        replace(root(asked), tenant_id=None).writes("acme")


def test_its_own_tenant_and_the_platforms_are_not_asked_for_again() -> None:
    asked: list[str] = []

    assert root(asked).writes() == GLOBEX
    assert root(asked).writes("globex") == GLOBEX
    assert root(asked).writes("system") == SYSTEM
    assert asked == []


def test_a_request_of_who_leaves_is_counted_as_nobodys() -> None:
    written: list[tuple[str, str]] = []

    class Kept:
        def add(self, pk: str, sk: str, numbers: Any) -> None:
            written.append((pk, sk))

    tally, caller = Tally(Kept()), Caller("anna", frozenset({Role.ADMIN}), ACME)
    caller.trail.is_leaving = True
    tally.count("command-center", "/events/recent", 403, caller)
    tally.flush()

    assert {pk for pk, _ in written} == {"*#requests", "system#requests"}
