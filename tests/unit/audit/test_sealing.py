"""A seal covers everything that an item is, and nothing that it only looks like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aetherlink.audit.sealing import canonical, digest_of, head_after, link_to, next_seal
from aetherlink.kernel.tenancy import TenantId

NOW = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
DAY = "2026-11-23"
ACME = TenantId("acme")


def record(number: int, **more: Any) -> dict[str, Any]:
    sk = f"2026-11-23T08:{number // 60:02}:{number % 60:02}.000000Z#id-{number}"
    return {
        "pk": {"S": f"acme#{DAY}"},
        "sk": {"S": sk},
        "expires_at": {"N": "1800000000"},
        **more,
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"N": "1"}, "b": {"S": "x"}}, {"b": {"S": "x"}, "a": {"N": "1"}}),
        ({"a": {"N": "1"}}, {"a": {"N": "1.0"}}),
        ({"a": {"N": "100"}}, {"a": {"N": "1E+2"}}),
        ({"a": {"N": "0"}}, {"a": {"N": "-0.00"}}),
        ({"a": {"SS": ["x", "y"]}}, {"a": {"SS": ["y", "x"]}}),
        ({"a": {"NS": ["1", "2"]}}, {"a": {"NS": ["2.0", "1"]}}),
        ({"a": {"B": b"\x00\x01"}}, {"a": {"B": "AAE="}}),
    ],
)
def test_one_item_has_one_digest_however_it_is_spelt(one: Any, other: Any) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"N": "1"}}, {"a": {"S": "1"}}),
        ({"a": {"S": ""}}, {}),
        ({"a": {"NULL": True}}, {"a": {"BOOL": True}}),
        ({"a": {"L": [{"S": "x"}, {"S": "y"}]}}, {"a": {"L": [{"S": "y"}, {"S": "x"}]}}),
        ({"a": {"SS": ["x"]}}, {"a": {"L": [{"S": "x"}]}}),
        ({"a": {"M": {"b": {"N": "1"}}}}, {"a": {"M": {"b": {"N": "2"}}}}),
        (
            {"a": {"N": "1.0000000000000000000000000000000000001"}},
            {"a": {"N": "1.0000000000000000000000000000000000002"}},
        ),
    ],
)
def test_two_items_have_two_digests(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)


def test_a_seal_follows_the_head_and_makes_the_next_one() -> None:
    first = next_seal(ACME, DAY, [record(1), record(2)], head=None, link=None, now=NOW)
    second = next_seal(ACME, DAY, [record(3)], head=head_after(first), link=None, now=NOW)

    assert (first.seq, first.first, first.last, first.prev) == (1, 1, 2, "")
    assert (second.seq, second.first, second.last, second.prev) == (2, 3, 3, first.hash)
    assert (head_after(second).seals, head_after(second).count) == (2, 3)


def test_the_first_seal_of_a_day_hangs_on_the_day_before() -> None:
    before = next_seal(ACME, "2026-11-20", [record(1)], head=None, link=None, now=NOW)
    link = link_to(head_after(before))

    seal = next_seal(ACME, DAY, [record(2)], head=None, link=link, now=NOW)

    assert seal.prev == before.hash
    assert seal.link is not None
    assert seal.link.day == "2026-11-20"


def test_a_seal_outlives_the_last_of_all_records_sealed_so_far() -> None:
    late = record(1, expires_at={"N": "1900000000"})
    first = next_seal(ACME, DAY, [late], head=None, link=None, now=NOW)

    second = next_seal(ACME, DAY, [record(2)], head=head_after(first), link=None, now=NOW)

    assert second.records_until == 1_900_000_000
    assert second.expires_at == 1_900_000_000 + 30 * 86_400


def test_a_record_without_a_time_to_expire_is_sealed_all_the_same() -> None:
    odd = record(1, expires_at={"S": "never"})

    assert next_seal(ACME, DAY, [odd], head=None, link=None, now=NOW).records_until == 0
