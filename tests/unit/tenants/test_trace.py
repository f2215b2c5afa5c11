"""What of the tables is a tenant's, and what of that it takes along."""

from __future__ import annotations

from typing import Any

import pytest

from aetherlink.kernel.tenancy import TenantId
from aetherlink.tenants.trace import Fate, exported, kind_of, trace_of

ACME = TenantId("acme")


def item(pk: str, sk: str = "x", **more: Any) -> dict[str, Any]:
    return {"pk": pk, "sk": sk, **more}


def fate(table: str, found: dict[str, Any], tenant: str = "acme") -> Fate | None:
    trace = trace_of(TenantId(tenant), table, found)
    return trace.fate if trace else None


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("events", item("acme#e-1", "billing")),
        ("projections", item("acme#seen#2026-11-23T10:00")),
        ("projections", item("acme#hits#r-1#f", "at")),
        ("audit", item("acme#2026-11-23")),
        ("audit", item("acme#2026-11-23#seals", "00000001")),
        ("control", item("acme#audit", "head#2026-11-23")),
        ("control", item("acme#types", "acme.thing")),
        ("control", item("system#retention", "acme")),
        ("control", item("system#retention", "acme#restored")),
        ("control", item("*#archive-due", "2026-11-23T10#acme")),
        ("control", item("*#archive-since", "acme")),
        ("control", item("system#watches", "r#f", group={"tenant_id": "acme"})),
        ("projections", item("*#tenants", "acme")),
    ],
)
def test_what_is_the_tenants_goes(table: str, found: dict[str, Any]) -> None:
    assert fate(table, found) is Fate.GOES


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("events", item("acme2#e-1")),
        ("events", item("system#acme", "acme")),
        ("control", item("acmeish#keys")),
        ("control", item("system#retention", "acmeish")),
        ("control", item("*#archive-due", "2026-11-23T10#globex")),
        ("control", item("system#watches", "r#f", group={"source": "acme"})),
        ("control", item("system#jobs", "j-1", params='{"tenant_id":"acme"}')),
        ("control", item("globex#keys", "k", tenants=["globex"])),
        # An audit record says whom its caller may act for, and it is sealed.
        ("audit", item("globex#2026-11-23", tenants=["acme", "globex"])),
        ("projections", item("*#tenants", "globex")),
        ("projections", item("*#counts#30", "hour#2026-11-23T10")),
        ("projections", item("*#timeline#0", refs=[["p", "globex", "e", "acme", "t", "info"]])),
    ],
)
def test_what_is_somebody_elses_stays(table: str, found: dict[str, Any]) -> None:
    assert trace_of(ACME, table, found) is None


@pytest.mark.parametrize(
    ("tenant", "table", "found"),
    [
        # An event's id may be anything, also what a partition of another table is called.
        ("acme", "events", item("system#retention", "acme")),
        ("acme", "events", item("system#archive-since", "acme")),
        # A tenant's, too: an hour, or the word behind another's name.
        ("2026-11-23T10", "control", item("*#archive-due", "2026-11-23T10#globex")),
        ("restored", "control", item("system#retention", "globex#restored")),
    ],
)
def test_a_name_in_another_place_is_no_trace(
    tenant: str, table: str, found: dict[str, Any]
) -> None:
    assert fate(table, found, tenant) is None


def test_the_record_stays_and_an_event_of_the_same_key_does_not() -> None:
    assert fate("control", item("acme#tenant", "record")) is None
    assert fate("events", item("acme#tenant", "record")) is Fate.GOES


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("projections", item("acme#counts", "hour#2026-11-23T10")),
        ("control", item("acme#types", "#taken", taken=2)),
    ],
)
def test_what_is_counted_over_all_tenants_is_subtracted(table: str, found: dict[str, Any]) -> None:
    assert fate(table, found) is Fate.IS_SUBTRACTED


REFS = [["p1", "acme", "e", "s", "t", "info"], ["p2", "globex", "e", "s", "t", "info"]]


@pytest.mark.parametrize("place", ["timeline#0", "type#0#lead.created", "severity#1#error"])
def test_a_page_of_many_tenants_keeps_the_others(place: str) -> None:
    trace = trace_of(ACME, "projections", item(f"*#{place}", refs=REFS))

    assert trace is not None
    assert (trace.fate, trace.change) == (Fate.IS_SHORTENED, {"refs": [REFS[1]]})
    assert fate("projections", item(f"*#{place}", refs=REFS[:1])) is Fate.GOES


def test_a_page_of_arrivals_stays_where_it_is_although_it_is_empty() -> None:
    trace = trace_of(ACME, "projections", item("*#arrivals", "17", refs=REFS[:1]))

    assert trace is not None
    assert (trace.fate, trace.change) == (Fate.IS_SHORTENED, {"refs": []})


def test_a_key_for_several_tenants_is_for_the_others() -> None:
    for found in (
        item("globex#keys", "k", tenants=["globex", "acme", "initech"]),
        item("system#credential#5e", tenant_id="globex", tenants=["globex", "acme", "initech"]),
    ):
        trace = trace_of(ACME, "control", found)
        assert trace is not None
        assert trace.change == {"tenants": ["globex", "initech"]}


def test_a_key_whose_home_is_the_tenant_ends() -> None:
    found = item("system#credential#5e", tenant_id="acme", tenants=["acme", "globex"])

    assert fate("control", found) is Fate.GOES
    assert fate("control", item("acme#keys", "k", tenants=["acme", "globex"])) is Fate.GOES


@pytest.mark.parametrize(
    ("table", "found", "kind"),
    [
        ("events", item("acme#e-1"), "events"),
        ("audit", item("acme#2026-11-23"), "records"),
        ("audit", item("acme#2026-11-23#seals"), "seals"),
        ("control", item("acme#rules"), "rules"),
        ("control", item("system#retention", "acme"), "retention"),
        ("projections", item("acme#counts"), "counts"),
        # Worked out from the events, or of no use to anybody.
        ("projections", item("acme#seen#2026-11-23T10:00"), None),
        ("projections", item("acme#arrivals", refs=[]), None),
        ("projections", item("*#tenants", "acme"), None),
        ("control", item("acme#tickets", "5e"), None),
        ("control", item("system#credential#5e", tenants=["acme"]), None),
    ],
)
def test_an_export_has_what_cannot_be_made_again_and_no_secrets(
    table: str, found: dict[str, Any], kind: str | None
) -> None:
    trace = trace_of(ACME, table, found)

    assert trace is not None
    assert kind_of(ACME, table, trace) == kind


def test_hashes_of_secrets_are_left_out() -> None:
    key = item("acme#keys", "k", hash="5e", previous_hash="6f", name="ci")

    assert exported(key) == item("acme#keys", "k", name="ci")
