"""The alert state machine against its definition, and against being called in any other way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aetherlink.alerts.condition import Span, holding
from aetherlink.alerts.machine import Phase, Watch, advance, next_due, retire
from aetherlink.alerts.model import (
    Rule,
    RuleDraft,
    alert_tenant,
    draw_up,
    group_of,
    matches,
)
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.tenancy import TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_rule(**given: Any) -> Rule:
    tenant = given.pop("tenant", ACME)
    draft = RuleDraft.model_validate({"name": "r", "window_seconds": 60, "threshold": 3, **given})
    return draw_up(draft, "rule-1", tenant, NOON)


def an_event(event_type: str = "autoheal.failed", **given: Any) -> Event:
    settings: dict[str, Any] = {"source": "heal", "tenant_id": ACME, "payload": {}, "now": NOON}
    return announce(event_type, **{**settings, "event_id": "e-1", **given})


def spans_of(rule: Rule, seconds: list[float]) -> list[Span]:
    return holding([at(s) for s in seconds], int(rule.threshold), rule.window)


def told(rule: Rule, seconds: list[float], now: float) -> list[tuple[str, datetime]]:
    _, transitions = advance(rule, Watch(group={}), spans_of(rule, seconds), at(now))
    return [(t.kind, t.at) for t in transitions if t.is_told]


def test_it_holds_from_the_hit_that_completes_the_threshold_until_the_oldest_leaves() -> None:
    assert spans_of(a_rule(), [0, 10, 20]) == [Span(at(20), at(60))]


def test_hits_exactly_one_window_apart_are_not_in_the_same_window() -> None:
    assert spans_of(a_rule(threshold=2), [0, 60]) == []


def test_a_threshold_of_one_holds_for_a_window_after_each_hit() -> None:
    assert spans_of(a_rule(threshold=1), [0, 100]) == [Span(at(0), at(60)), Span(at(100), at(160))]


def test_one_episode_is_raised_once_and_resolved_once() -> None:
    assert told(a_rule(), [0, 10, 20, 21, 22, 23], now=300) == [
        ("raised", at(20)),
        ("resolved", at(81)),
    ]


def test_a_short_window_that_began_and_ended_since_the_last_look_is_not_lost() -> None:
    rule = a_rule(window_seconds=10, threshold=2)

    assert told(rule, [0, 1, 30, 31], now=60) == [
        ("raised", at(1)),
        ("resolved", at(10)),
        ("raised", at(31)),
        ("resolved", at(40)),
    ]


def test_for_seconds_must_be_held_through() -> None:
    assert told(a_rule(for_seconds=50), [0, 10, 20], now=300) == []
    assert told(a_rule(for_seconds=30), [0, 10, 20], now=300) == [
        ("raised", at(50)),
        ("resolved", at(60)),
    ]


def test_keep_firing_joins_what_comes_back_in_time() -> None:
    rule = a_rule(threshold=1, window_seconds=10, keep_firing_for_seconds=30)

    assert told(rule, [0, 35], now=60) == [("raised", at(0))]
    assert told(rule, [0, 35], now=75) == [("raised", at(0)), ("resolved", at(75))]


def test_phases_and_the_next_time_to_look() -> None:
    rule = a_rule(for_seconds=30, keep_firing_for_seconds=5)
    pending, _ = advance(rule, Watch(group={}), spans_of(rule, [0, 10, 20]), at(20))
    firing, _ = advance(rule, pending, [], at(50))
    over, _ = advance(rule, firing, [], at(65))

    assert (pending.phase, next_due(rule, pending)) == (Phase.PENDING, at(50))
    assert (firing.phase, next_due(rule, firing)) == (Phase.FIRING, at(65))
    assert (over.phase, next_due(rule, over)) == (Phase.INACTIVE, None)


def test_retiring_resolves_what_is_open_and_nothing_else() -> None:
    firing, _ = advance(a_rule(), Watch(group={}), [Span(at(0), at(60))], at(1))

    ended, transitions = retire(firing, at(2), "gone")

    assert [(t.kind, t.reason) for t in transitions] == [("resolved", "gone")]
    assert retire(ended, at(3), "gone")[1] == []


hits = st.lists(st.integers(0, 400), max_size=25)
rules = st.builds(
    a_rule,
    window_seconds=st.integers(1, 60),
    threshold=st.integers(1, 4),
    for_seconds=st.sampled_from([0, 0, 5, 20]),
    keep_firing_for_seconds=st.sampled_from([0, 0, 7, 30]),
)


@given(hits, rules)
def test_holding_is_what_the_definition_says_at_every_instant(
    seconds: list[int], rule: Rule
) -> None:
    spans = spans_of(rule, [float(s) for s in seconds])
    window = rule.window_seconds

    for instant in range(480):
        # Counted at this instant: hits in (instant - window, instant].
        holds = sum(instant - window < s <= instant for s in seconds) >= rule.threshold
        assert any(s.start <= at(instant) < s.end for s in spans) == holds, instant


@given(hits, rules, st.lists(st.integers(0, 500), max_size=12), st.randoms(use_true_random=False))
def test_looking_often_or_seldom_makes_the_same_transitions(
    seconds: list[int], rule: Rule, looks: list[int], random: Any
) -> None:
    """Records in order, redelivered and shuffled within a batch, and any number of sweeps between."""
    at_once = told(rule, [float(s) for s in seconds], now=600)

    watch, told_so_far = Watch(group={}), []
    for look in [*sorted(looks), 600]:
        known = [at(s) for s in seconds if s <= look]
        random.shuffle(known)
        spans = holding(
            [*known, *known[:3]] if rule.threshold == 1 else known, int(rule.threshold), rule.window
        )
        for _ in range(2):
            watch, made = advance(rule, watch, spans, at(look))
            told_so_far += [(t.kind, t.at) for t in made if t.is_told]

    assert told_so_far == at_once


@given(hits, rules, st.lists(st.integers(0, 500), max_size=6))
def test_raised_and_resolved_alternate_however_late_records_come(
    seconds: list[int], rule: Rule, looks: list[int]
) -> None:
    watch, kinds, known = Watch(group={}), [], 0
    for look in [*looks, 2000]:
        known += 5
        spans = spans_of(
            rule,
            [float(s) for s in seconds[:known]] if look != 2000 else [float(s) for s in seconds],
        )
        watch, made = advance(rule, watch, spans, at(max(look, 0)))
        kinds += [t.kind for t in made if t.is_told]

    assert kinds == ["raised", "resolved"] * (len(kinds) // 2)


def test_a_rule_counts_only_its_tenant_and_a_global_one_counts_all() -> None:
    other = an_event(tenant_id=TenantId("globex"))

    assert not matches(a_rule(), other)
    assert matches(a_rule(tenant=None), other)


@pytest.mark.parametrize("event_type", ["ops.alert.raised", "ops.alert.resolved"])
def test_no_rule_counts_alerts_themselves(event_type: str) -> None:
    assert not matches(a_rule(tenant=None), an_event(event_type))


def test_a_rule_does_not_count_the_failed_delivery_of_its_own_alert() -> None:
    own = an_event("ops.alert.delivery.failed", payload={"rule_id": "rule-1"})
    others = an_event("ops.alert.delivery.failed", payload={"rule_id": "rule-2"})

    assert (matches(a_rule(), own), matches(a_rule(), others)) == (False, True)


@pytest.mark.parametrize(
    ("given_filters", "fits"),
    [
        ({"event_type": "autoheal.failed"}, True),
        ({"event_type": "autoheal.succeeded"}, False),
        ({"source": "heal"}, True),
        ({"source": "other"}, False),
        ({"severity": "INFO"}, True),
        ({"severity": "error"}, False),
        ({"enabled": False}, False),
    ],
)
def test_each_filter_narrows(given_filters: dict[str, Any], fits: bool) -> None:
    assert matches(a_rule(**given_filters), an_event()) is fits


def test_groups_come_from_envelope_and_payload() -> None:
    rule = a_rule(group_by=["source", "payload.service", "payload.a.b", "payload.none"])
    event = an_event(payload={"service": "billing", "a": {"b": [1, 2]}})

    assert group_of(rule, event) == {
        "source": "heal",
        "payload.service": "billing",
        "payload.a.b": "[1, 2]",
        "payload.none": "",
    }


def test_whose_alert_it_is() -> None:
    assert alert_tenant(a_rule(), {}) == "acme"
    assert alert_tenant(a_rule(tenant=None), {}) == "system"
    assert alert_tenant(a_rule(tenant=None), {"tenant_id": "globex"}) == "globex"


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_seconds": 0},
        {"threshold": 0},
        {"threshold": 10_001},
        {"name": ""},
        {"severity": "loud"},
        {"group_by": ["payload."]},
        {"group_by": ["colour"]},
        {"unknown": 1},
        {"tenant_id": "no tenant"},
        {"no_data": "perhaps"},
    ],
)
def test_a_draft_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RuleDraft.model_validate({"name": "r", "window_seconds": 60, "threshold": 3, **wrong})


def test_a_span_already_settled_makes_no_second_episode() -> None:
    rule = a_rule()
    spans = spans_of(rule, [0, 10, 20])
    watch, _ = advance(rule, Watch(group={}), spans, at(100))

    assert advance(rule, replace(watch, version=7), spans, at(200))[1] == []


def test_severity_is_kept_in_lower_case() -> None:
    assert a_rule(severity="ERROR", alert_severity="Warning").severity is Severity.ERROR


@pytest.mark.parametrize(("given_threshold", "shown"), [(3, "3"), (3.0, "3")])
def test_a_whole_threshold_is_shown_as_it_was_written(given_threshold: float, shown: str) -> None:
    text = json.dumps(a_rule(threshold=given_threshold).shown()["threshold"])

    assert text == shown
