"""What is told in words: titles, e-mail subjects and plain text, of alerts and of any other event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.notify.notice import MAX_FACTS, MAX_TITLE, Digest, Link, Notice, plain, subject


def an_event(event_type: str = "ops.alert.raised", **given: Any) -> dict[str, Any]:
    payload = given.pop("payload", {"rule_name": "errors", "rule_id": "r1", "episode_id": "e1"})
    return {
        "event_id": "ev1",
        "event_type": event_type,
        "tenant_id": "acme",
        "source": "crm",
        "severity": "error",
        "timestamp": "2026-11-23T12:00:00.123456Z",
        "payload": payload,
        **given,
    }


@pytest.mark.parametrize(
    ("event", "title", "line"),
    [
        (an_event(), "[acme] errors raised", "(!!) [acme] errors raised"),
        (
            an_event("ops.alert.resolved", severity="info"),
            "[acme] errors resolved",
            "(ok) [acme] errors resolved",
        ),
        (
            an_event("lead.created", severity="info", payload={"message": "Ada wants a quote"}),
            "[acme] lead.created: Ada wants a quote",
            "(i) [acme] lead.created: Ada wants a quote",
        ),
        (
            an_event("lead.created", severity="warning", payload={}),
            "[acme] lead.created: crm",
            "(!) [acme] lead.created: crm",
        ),
    ],
)
def test_titles_and_subjects(event: dict[str, Any], title: str, line: str) -> None:
    notice = Notice(event, "msg_1")

    assert (notice.title, subject(notice)) == (title, line)


def test_a_digest_says_how_many() -> None:
    told = Digest(40, "2026-11-23T12:00:00Z", "2026-11-23T12:01:00Z", (an_event(),))
    notice = Notice(an_event("ops.alert.digest", payload={}), "msg_1", digest=told)

    assert notice.title == "[acme] 40 notifications at once"
    assert "2026-11-23T12:00:00Z [acme] errors raised" in plain(notice).split("\n")


def test_which_events_are_alerts_and_of_which_episode() -> None:
    raised, resolved = Notice(an_event(), ""), Notice(an_event("ops.alert.resolved"), "")
    other = Notice(an_event("lead.created", payload={}), "")

    assert (raised.is_raised, raised.is_resolved, raised.episode_id) == (True, False, "e1")
    assert (resolved.is_raised, resolved.is_resolved, resolved.episode_id) == (False, True, "e1")
    assert (other.is_alert, other.episode_id) == (False, None)


@pytest.mark.parametrize("payload", [None, [], "text", 3])
def test_a_payload_of_another_shape_is_as_an_empty_one(payload: object) -> None:
    notice = Notice(an_event("lead.created", payload=payload), "msg_1")

    assert (notice.payload, notice.title) == ({}, "[acme] lead.created: crm")


def test_plain_text_of_an_event_that_is_no_alert() -> None:
    payload = {"name": "Ada", "value": 3.5, "is_new": True, "tags": ["a"], "more": {"x": 1}}
    notice = Notice(
        an_event("lead.created", severity="info", payload=payload),
        "msg_1",
        (Link("Open", "https://a.example/lead"),),
    )

    assert plain(notice) == (
        "[acme] lead.created: crm\n\nEvent: lead.created\nSeverity: INFO\nSource: crm\n"
        "Tenant: acme\nname: Ada\nvalue: 3.5\nis_new: True\nTimestamp: 2026-11-23T12:00:00Z\n"
        "Open: https://a.example/lead"
    )


def test_of_many_fields_the_first_are_shown_and_the_time_always() -> None:
    payload = {f"field{n}": n for n in range(100)}
    facts = Notice(an_event("lead.created", payload=payload), "").facts()

    assert len(facts) == MAX_FACTS + 1
    assert facts[-1] == ("Timestamp", "2026-11-23T12:00:00Z")


@given(st.text(), st.text(), st.text())
def test_no_value_makes_a_line_of_its_own(name: str, tenant: str, source: str) -> None:
    """A header smuggled into a subject, or a forged line into a text, would need a line break."""
    payload = {"rule_name": name, "group": {name: source}}
    notice = Notice(an_event(payload=payload, tenant_id=tenant, source=source), "")

    assert len(notice.title) <= MAX_TITLE
    assert len([notice.title, *notice.title.splitlines()]) == 2
    assert len(plain(notice).splitlines()) == len(notice.facts()) + 2


@given(st.text(max_size=300))
def test_an_e_mails_subject_is_what_sns_takes(name: str) -> None:
    """ASCII, no control characters, begins with no space (API reference of Publish, "Subject")."""
    line = subject(Notice(an_event(payload={"rule_name": name}), ""))

    assert 1 <= len(line) <= 100
    assert all(" " <= char <= "~" for char in line)
    assert not line.startswith(" ")
