"""Whatever is done to the audit's items after they were sealed is found, and nothing else is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherlink import wiring
from aetherlink.audit import sealer as sealer_module
from aetherlink.audit import verifier as verifier_module
from aetherlink.audit.sealer import Delivered, Sealer
from aetherlink.audit.sealing import Head, Seal
from aetherlink.audit.store import AuditStore
from aetherlink.audit.verification import Report
from aetherlink.audit.verifier import Verifier
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform import auditing
from aetherlink.platform.dynamo import Table

from .conftest import Stack

ACME = TenantId("acme")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY, DAY_BEFORE = "2026-11-20", "2026-11-19"
LATER = NOON + timedelta(days=2)
Item = dict[str, Any]


def append(*seconds: float, tenant: str = "acme", at: datetime = NOON) -> None:
    """A record so many seconds after noon."""
    for second in seconds:
        with patch.object(auditing, "utc_now", lambda s=second: at + timedelta(seconds=s)):
            auditing.append_own("ann", "thing.made", f"thing/{second}", tenant, {"n": second})


def seal(
    tenant: str = "acme", day: str = DAY, *, store: AuditStore | None = None, now: datetime = LATER
) -> None:
    """As the stream would have it, from the day's beginning."""
    chains = store or wiring.audit_store()
    outcome = Sealer(chains, wiring.event_store(), lambda: now, stage="local").take(
        [Delivered("INSERT", f"{tenant}#{day}", f"{day}T00:00:00.000000Z#x")]
    )
    assert outcome.failed == 0


def verify(view: str | None = "acme", *, now: datetime = LATER) -> Report:
    """Every page of it as one."""
    verifier = Verifier(wiring.audit_store(), lambda: now)
    tenant = TenantId(view) if view else None
    pages = [verifier.verify(tenant, None, None, None)]
    while pages[-1].next_cursor:
        pages.append(verifier.verify(tenant, None, None, pages[-1].next_cursor))
    bad = [b for page in pages for b in page.bad]
    return Report(
        valid=all(page.valid for page in pages),
        checked=sum(page.checked for page in pages),
        unsealed=sum(page.unsealed for page in pages),
        first_bad=bad[0] if bad else None,
        bad=bad,
        days=[day for page in pages for day in page.days],
        next_cursor=None,
    )


def problems(view: str | None = "acme") -> list[tuple[str, int | None]]:
    return [(str(bad.problem), bad.position) for bad in verify(view).bad]


@contextmanager
def small_seals() -> Iterator[None]:
    with patch.object(sealer_module, "MAX_ENTRIES", 3):
        yield


@pytest.fixture
def sealed(stack: Stack) -> Stack:
    """A day of seven records in three seals, after a day of two."""
    append(1, 2, at=NOON - timedelta(days=1))
    append(1, 2, 3, 4, 5, 6, 7)
    with small_seals():
        seal(day=DAY_BEFORE)
        seal()
    return stack


# ---------------------------------------------------------------- the tables, by hand


def items(table: str, pk: str) -> list[Item]:
    answer = boto3.client("dynamodb").query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
    )
    found: list[Any] = answer["Items"]
    return found


def records_of(day: str = DAY, tenant: str = "acme") -> list[Item]:
    return items("audit-test", f"{tenant}#{day}")


def seals_of(day: str = DAY, tenant: str = "acme") -> list[Item]:
    return items("audit-test", f"{tenant}#{day}#seals")


def head_of(day: str = DAY, tenant: str = "acme") -> Item:
    (head,) = [i for i in items("control-test", f"{tenant}#audit") if i["sk"]["S"] == f"head#{day}"]
    return head


def put(item: Item, table: str = "audit-test") -> None:
    boto3.client("dynamodb").put_item(TableName=table, Item=item)


def remove(item: Item, table: str = "audit-test") -> None:
    key = {name: item[name] for name in ("pk", "sk")}
    boto3.client("dynamodb").delete_item(TableName=table, Key=key)


def swap_contents(one: Item, other: Item) -> None:
    put({**other, "sk": one["sk"]})
    put({**one, "sk": other["sk"]})


# ---------------------------------------------------------------- sealing


def test_what_nobody_touched_is_valid(sealed: Stack) -> None:
    report = verify()

    assert (report.valid, report.checked, report.unsealed, report.first_bad) == (True, 9, 0, None)
    assert [(d.day, d.records, d.sealed, d.valid) for d in report.days] == [
        (DAY_BEFORE, 2, 2, True),
        (DAY, 7, 7, True),
    ]


def test_seals_are_made_in_the_order_of_records_and_each_names_the_one_before(
    sealed: Stack,
) -> None:
    seals = seals_of()

    assert [seal["first"]["N"] for seal in seals] == ["1", "4", "7"]
    assert [seal["prev"]["S"] for seal in seals[1:]] == [seal["hash"]["S"] for seal in seals[:2]]
    assert seals[0]["prev"] == head_of(DAY_BEFORE)["hash"]
    assert head_of()["hash"] == seals[-1]["hash"]


def test_a_batch_that_comes_twice_is_sealed_once(sealed: Stack) -> None:
    seal()
    seal()

    assert (len(seals_of()), verify().valid) == (3, True)


def test_a_record_that_comes_late_is_sealed_after_the_others(sealed: Stack) -> None:
    append(1.5)

    seal()

    last = json.loads(json.dumps(seals_of()[-1]))
    assert last["first"]["N"] == "8"
    assert "12:00:01.5" in last["entries"]["L"][0]["L"][0]["S"]
    assert verify().valid


def test_a_record_that_comes_after_the_next_day_was_sealed_moves_nothing(sealed: Stack) -> None:
    append(3, at=NOON - timedelta(days=1))

    seal(day=DAY_BEFORE)

    assert verify().valid
    assert verify().checked == 10


class Beaten(AuditStore):
    """Somebody else seals the same records just before us, as often as is said; and more come."""

    def __init__(self, times: int) -> None:
        super().__init__(Table("audit-test"), Table("control-test"))
        self.times = times

    def commit(self, seal_: Seal, head: Head, earlier: Head | None) -> bool:
        if self.times:
            self.times -= 1
            append(100 + self.times)
            seal()
            append(200 + self.times)
        return super().commit(seal_, head, earlier)


def test_two_sealers_at_once_make_one_chain(stack: Stack) -> None:
    append(1, 2, 3)

    with small_seals():
        seal(store=Beaten(3))

    assert verify().valid
    assert verify().checked == 9


def test_the_stream_s_records_are_sealed_with_what_else_is_there(stack: Stack) -> None:
    stack.call(
        "POST", "/ops/register", tenant="acme", body={"name": "a", "url": "https://a.example"}
    )
    stack.call("GET", "/events/recent", roles="viewer", tenant="globex")

    assert stack.seal()["sealed"] == 2
    # Its own seals come by the stream as well.
    assert stack.seal() == {"sealed": 0, "altered": 0, "failed": 0}
    body = stack.call("GET", "/audit/verify", roles="admin").body
    assert (body["status"], body["valid"], body["checked"]) == ("ok", True, 2)
    assert {day["tenant_id"] for day in body["days"]} == {"acme", "globex"}


def test_the_schedule_seals_what_the_stream_did_not_bring(stack: Stack) -> None:
    append(1, 2)
    append(3, tenant="globex")
    now = NOON + timedelta(minutes=3)

    sealer = Sealer(wiring.audit_store(), wiring.event_store(), lambda: now, stage="local")
    assert sealer.sweep().sealed == 3
    assert sealer.sweep().sealed == 0
    assert verify(None).valid


def test_the_schedule_finds_what_came_into_the_index_late(stack: Stack) -> None:
    now = [NOON]
    sealer = Sealer(wiring.audit_store(), wiring.event_store(), lambda: now[0], stage="local")
    sealer.sweep()
    append(-500)
    now[0] += timedelta(minutes=1)

    assert sealer.sweep().sealed == 1


def test_the_schedule_takes_a_backlog_in_parts(stack: Stack) -> None:
    append(*range(12))
    now = [NOON + timedelta(hours=2)]
    sealer = Sealer(wiring.audit_store(), wiring.event_store(), lambda: now[0], stage="local")

    with (
        patch.object(sealer_module, "_PAGE", 2),
        patch.object(sealer_module, "_MAX_INDEXED", 4),
    ):
        while (wiring.audit_store().watermark() or NOON) < now[0]:
            sealer.sweep()

    assert verify().valid
    assert verify().checked == 12


def test_a_run_stops_in_time_and_the_next_one_goes_on(stack: Stack) -> None:
    append(*range(7))
    clock = iter([NOON + timedelta(hours=1, seconds=20 * n) for n in range(100)])
    with small_seals():
        sealer = Sealer(
            wiring.audit_store(), wiring.event_store(), lambda: next(clock), stage="local"
        )
        place = Delivered("INSERT", f"acme#{DAY}", f"{DAY}T00:00:00.000000Z#x")
        first = sealer.take([place])

    assert first.failed > 0
    assert first.sealed < 7
    seal()
    assert verify().valid


def test_what_is_no_record_of_ours_does_not_stop_the_others(stack: Stack) -> None:
    append(1)
    put({"pk": {"S": "nonsense"}, "sk": {"S": "1"}})
    put({"pk": {"S": f"globex#{DAY}"}, "sk": {"S": "by hand"}, "day": {"S": DAY}})

    answer = stack.seal()

    assert answer["failed"] == 0
    assert answer["sealed"] == 2


def test_a_removed_or_altered_item_is_logged_and_counted_when_it_happens(
    sealed: Stack, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed.seal()
    put({**records_of()[0], "subject": {"S": "bob"}})
    remove(records_of()[1])

    assert sealed.seal()["altered"] == 2
    errors = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert errors == ["audit item altered", "audit item removed"]
    assert capsys.readouterr().out.count('"AuditAltered": 1') == 2


def test_what_ttl_removes_in_its_time_is_no_alarm(sealed: Stack) -> None:
    old = {**records_of()[0], "expires_at": {"N": str(int(NOON.timestamp()))}}
    put(old)
    remove(old)
    gone = Delivered("REMOVE", old["pk"]["S"], old["sk"]["S"], int(NOON.timestamp()))

    sealer = Sealer(wiring.audit_store(), wiring.event_store(), lambda: LATER, stage="local")

    assert sealer.take([gone]).altered == 0


def test_a_chain_that_does_not_fit_its_head_is_reported_and_left_as_it_is(sealed: Stack) -> None:
    remove(head_of(), "control-test")
    append(8)
    sealer = Sealer(wiring.audit_store(), wiring.event_store(), lambda: LATER, stage="local")

    outcome = sealer.take([Delivered("INSERT", f"acme#{DAY}", f"{DAY}T12:00:08.000000Z#0")])

    assert (outcome.sealed, outcome.altered) == (0, 1)
    assert len(seals_of()) == 3


# ---------------------------------------------------------------- repeated denials


def test_five_denials_within_a_minute_are_announced_once_however_often_the_sealer_runs(
    stack: Stack,
) -> None:
    for _ in range(7):
        assert stack.call("GET", "/events/recent", roles="viewer", tenant="acme").status == 403
    stack.seal()
    wiring.sealer().sweep()
    wiring.sealer().sweep()

    found = stack.recent("acme", event_type="security.rbac.violation")
    # Two where the minute changes in between.
    assert len(found) in (1, 2)
    assert found[0]["payload"]["subject"] == "dev:viewer"
    assert found[0]["payload"]["last_action"] == "GET /events/recent"
    assert (found[0]["severity"], found[0]["source"]) == ("warning", "aether-command-center")
    assert stack.recent("globex", event_type="security.rbac.violation") == []


# ---------------------------------------------------------------- each kind of tampering


def test_an_altered_record_is_named(sealed: Stack) -> None:
    record = records_of()[2]
    put({**record, "subject": {"S": "bob"}})

    (bad,) = verify().bad
    assert (bad.tenant_id, bad.day, bad.position, str(bad.problem)) == ("acme", DAY, 3, "altered")
    assert bad.id == record["id"]["S"]


@pytest.mark.parametrize("change", [{"extra": {"S": "x"}}, {"expires_at": {"N": "1"}}])
def test_an_attribute_that_is_not_ours_counts_too(sealed: Stack, change: Item) -> None:
    put({**records_of()[0], **change})

    assert problems() == [("altered", 1)]


def test_a_deleted_record_is_missing(sealed: Stack) -> None:
    remove(records_of()[3])

    assert problems() == [("missing", 4)]


def test_records_with_each_other_s_contents_are_reordered(sealed: Stack) -> None:
    swap_contents(records_of()[1], records_of()[4])

    assert problems() == [("reordered", 2), ("reordered", 5)]


def test_records_with_each_other_s_times_are_reordered(sealed: Stack) -> None:
    one, other = records_of()[1], records_of()[4]
    for a, b in ((one, other), (other, one)):
        remove(a)
        sk = f"{b['at']['S']}#{a['id']['S']}"
        put({**a, "sk": {"S": sk}, "at": b["at"]})

    found = problems()
    assert found[:2] == [("reordered", 2), ("reordered", 5)]
    assert {problem for problem, _ in found[2:]} == {"unsealed"}


def test_the_last_records_cut_off_are_a_truncation(sealed: Stack) -> None:
    for record in records_of()[4:]:
        remove(record)

    assert problems() == [("truncated", 5), ("truncated", 6), ("truncated", 7)]


def test_a_day_that_is_gone_from_its_table_is_known_to_its_head(sealed: Stack) -> None:
    for item in (*records_of(), *seals_of()):
        remove(item)

    assert problems() == [("truncated", None)]
    assert problems(None) == [("truncated", None)]


def test_a_day_that_is_gone_with_its_head_is_known_to_the_next_day(sealed: Stack) -> None:
    for item in (*records_of(DAY_BEFORE), *seals_of(DAY_BEFORE)):
        remove(item)
    remove(head_of(DAY_BEFORE), "control-test")

    assert problems() == [("broken_link", None)]


def test_a_record_that_was_never_sealed_is_found_after_two_minutes(sealed: Stack) -> None:
    append(30)

    assert problems() == [("unsealed", None)]
    young = verify(now=NOON + timedelta(seconds=90))
    assert (young.valid, young.unsealed) == (True, 1)
    assert not verify(now=NOON + timedelta(seconds=151)).valid


def test_an_altered_seal_is_forged(sealed: Stack) -> None:
    one = seals_of()[1]
    for change in ({"count": {"N": "2"}}, {"sealed_at": {"S": to_text(NOON)}}, {"more": {"N": "1"}},
                   {"hash": {"S": "0" * 64}}, {"prev": {"S": "0" * 64}}):  # fmt: skip
        put({**one, **change})
        assert ("forged_seal", 4) in problems()
    put({"pk": one["pk"], "sk": one["sk"]})
    assert ("forged_seal", None) in problems()


def test_a_deleted_seal_is_missing(sealed: Stack) -> None:
    remove(seals_of()[1])

    assert problems()[0] == ("missing_seal", None)


def test_swapped_seals_are_forged(sealed: Stack) -> None:
    swap_contents(seals_of()[0], seals_of()[1])

    assert problems()[0][0] == "forged_seal"


def test_the_last_seals_cut_off_are_a_truncation(sealed: Stack) -> None:
    remove(seals_of()[-1])

    assert problems()[0] == ("truncated", None)


def test_an_altered_head_is_forged(sealed: Stack) -> None:
    changes: list[Item] = [{"count": {"N": "6"}}, {"hash": {"S": "0" * 64}}, {"more": {"S": "x"}},
                           {"kind_key": {"S": "x"}}, {"seals": {"N": "2"}},
                           {"expires_at": {"N": "1"}}]  # fmt: skip
    for change in changes:
        head = head_of()
        put({**head, **change}, "control-test")
        assert problems() == [("forged_head", None)]
        put(head, "control-test")
    put({**head, "seals": {"N": "4"}}, "control-test")
    assert problems() == [("truncated", None)]


def test_a_deleted_head_is_missing(sealed: Stack) -> None:
    remove(head_of(), "control-test")

    assert problems() == [("missing_head", None)]
    assert problems(None) == [("missing_head", None)]


def test_a_chain_made_anew_over_altered_records_does_not_fit_the_head(sealed: Stack) -> None:
    for item in seals_of():
        remove(item)
    put({**records_of()[0], "subject": {"S": "bob"}})
    head = head_of()
    remove(head, "control-test")
    with small_seals():
        seal()
    put(head, "control-test")

    assert problems() == [("forged_head", None)]


# ---------------------------------------------------------------- how it is asked


def test_a_tenant_verifies_its_own_alone(sealed: Stack) -> None:
    append(1, tenant="globex")

    assert verify("acme").valid
    assert not verify("globex").valid
    assert [bad.tenant_id for bad in verify(None).bad] == ["globex"]


def test_a_long_walk_is_cut_and_goes_on_where_it_was(sealed: Stack) -> None:
    append(*range(1, 9), tenant="globex")
    with small_seals():
        seal("globex")
    put({**records_of()[0], "subject": {"S": "bob"}})

    with (
        patch.object(verifier_module, "MAX_CHECKED", 3),
        patch.object(verifier_module, "_TENANTS", 1),
        patch.object(verifier_module, "_STRAYS", 3),
    ):
        report = verify(None)
        first = Verifier(wiring.audit_store(), lambda: LATER).verify(None, None, None, None)

    assert first.next_cursor
    # A seal is never cut.
    assert first.checked < 3 + 3
    assert report.checked == 17
    assert [(bad.tenant_id, str(bad.problem)) for bad in report.bad] == [("acme", "altered")]
    assert [(d.tenant_id, d.day, d.valid) for d in report.days] == [
        ("acme", DAY_BEFORE, True),
        ("acme", DAY, False),
        ("globex", DAY, True),
    ]


@pytest.mark.parametrize(
    "query",
    [{"from": "yesterday"}, {"to": "2026-11-31"}, {"from": "2026-11-02", "to": "2026-11-01"},
     {"from": "2026-01-01", "to": "2026-03-01"}, {"from": "2026-W01-1"}],
)  # fmt: skip
def test_days_that_are_none_are_refused(stack: Stack, query: dict[str, str]) -> None:
    assert stack.call("GET", "/audit/verify", roles="admin", query=query).status == 422


def test_the_answer_names_the_first_bad_entry(stack: Stack) -> None:
    stack.call(
        "POST", "/ops/register", tenant="acme", body={"name": "a", "url": "https://a.example"}
    )
    stack.seal()
    (record,) = boto3.client("dynamodb").scan(
        TableName="audit-test", FilterExpression="attribute_exists(#d)",
        ExpressionAttributeNames={"#d": "day"},
    )["Items"]  # fmt: skip
    put({**record, "status": {"N": "201"}})

    body = stack.call("GET", "/audit/verify", roles="admin", tenant="acme").body

    assert (body["valid"], body["checked"]) == (False, 1)
    assert body["first_bad"] == {
        "tenant_id": "acme",
        "day": record["day"]["S"],
        "position": 1,
        "id": record["id"]["S"],
        "problem": "altered",
        "detail": "It is not what was sealed",
    }


def test_a_day_past_its_retention_is_not_missed(sealed: Stack) -> None:
    until = int(head_of()["expires_at"]["N"]) - 30 * 86_400
    for record in records_of():
        remove(record)
    then = datetime.fromtimestamp(until, UTC) + timedelta(hours=1)
    verifier = Verifier(wiring.audit_store(), lambda: then)

    assert verifier.verify(ACME, DAY, DAY, None).valid
    early = Verifier(wiring.audit_store(), lambda: then - timedelta(hours=2))
    assert not early.verify(ACME, DAY, DAY, None).valid


# ---------------------------------------------------------------- whatever is done

_COUNT = iter(range(1_000_000))


def changed(value: Any) -> Any:
    """Another attribute value of the same type."""
    ((kind, held),) = value.items()
    if kind == "N":
        return {kind: str(int(held) + 1)}
    if kind == "S":
        return {kind: held + "x"}
    return {kind: [*held, {"S": "x"}]}


def one_mutation(draw: Callable[[Any], Any], tenant: str) -> str:
    """Do one thing to one item of the tenant's day (or to two, where they change places)."""
    places = [
        ("audit-test", item) for item in (*records_of(tenant=tenant), *seals_of(tenant=tenant))
    ]
    places.append(("control-test", head_of(tenant=tenant)))
    table, item = draw(st.sampled_from(places))
    names = sorted(item.keys() - {"pk", "sk"})
    kind = draw(st.sampled_from(["delete", "alter", "drop", "add", "move", "insert", "swap"]))
    if kind == "delete":
        remove(item, table)
    elif kind == "alter":
        name = draw(st.sampled_from(names))
        put({**item, name: changed(item[name])}, table)
    elif kind == "drop":
        name = draw(st.sampled_from(names))
        put({n: value for n, value in item.items() if n != name}, table)
    elif kind == "add":
        put({**item, "more": draw(st.sampled_from([{"S": ""}, {"NULL": True}, {"N": "0"}]))}, table)
    elif kind == "move":
        remove(item, table)
        put({**item, "sk": {"S": item["sk"]["S"] + "x"}}, table)
    elif kind == "insert":
        put({**item, "sk": {"S": item["sk"]["S"] + "1"}}, "audit-test")
        if table == "control-test":
            # A head's copy among the records' partitions is nobody's.
            remove(item, table)
    else:
        kin: Sequence[Item] = (
            seals_of(tenant=tenant) if "#seals" in item["pk"]["S"] else records_of(tenant=tenant)
        )
        others = [one for one in kin if one["sk"] != item["sk"]]
        if not others or table == "control-test":
            remove(item, table)
            return "delete"
        swap_contents(item, draw(st.sampled_from(others)))
    return f"{kind} {item['pk']['S']} {item['sk']['S']}"


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_any_single_change_to_a_sealed_day_is_found_and_none_is_seen_where_there_is_none(
    stack: Stack, data: st.DataObject
) -> None:
    tenant = f"tenant-{next(_COUNT)}"
    order = data.draw(st.permutations(range(data.draw(st.integers(1, 8)))))
    chance = random.Random(data.draw(st.integers(0, 1_000)))
    with small_seals():
        for second in order:
            append(second, tenant=tenant)
            # Sealers come early, late, twice, and get into each other's way.
            for _ in range(chance.randint(0, 2)):
                seal(tenant, now=NOON + timedelta(minutes=1))
        seal(tenant)

    untouched = verify(tenant)
    assert (untouched.valid, untouched.checked) == (True, len(order))
    what = one_mutation(data.draw, tenant)
    assert not verify(tenant).valid, what
