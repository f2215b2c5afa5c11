"""One message of each kind, whole: what the vendor gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aetherlink.notify.kinds import Kind, render
from aetherlink.notify.notice import Digest, Link, Notice

KEY = "0123456789abcdef0123456789abcdef"
LINK = Link("Acknowledge <now>", "https://a.example/alerts/act?ticket=x.y")


def an_alert(event_type: str = "ops.alert.raised") -> dict[str, Any]:
    return {
        "event_id": "e1.raised",
        "event_type": event_type,
        "source": "aether-command-center",
        "tenant_id": "acme",
        "severity": "critical",
        "timestamp": "2026-11-23T12:00:00.000000Z",
        "payload": {
            "rule_name": "heal_*<spike>",
            "rule_id": "r1",
            "episode_id": "e1",
            "matched_count": 3,
            "threshold": 2,
            "window_seconds": 300,
            "filters": {"event_type": "autoheal.failed", "source": None, "severity": "error"},
            "group": {"source": "crm"},
        },
    }


def a_digest() -> Notice:
    event = {**an_alert(), "event_id": "ep1.digest-1", "event_type": "ops.alert.digest"}
    event |= {"severity": "info", "payload": {}}
    told = Digest(2, "2026-11-23T12:00:00Z", "2026-11-23T12:01:00Z", (an_alert(), an_alert()))
    return Notice(event, "msg_1", digest=told)


def sent(kind: Kind, notice: Notice) -> Any:
    return json.loads(render(kind, notice, {"routing_key": KEY}))


def test_slack_of_an_alert_with_a_group_and_links() -> None:
    assert render(Kind.SLACK, Notice(an_alert(), "", (LINK,)), {}) == (
        r'{"text": ":rotating_light: *AetherLink Alert Triggered*\n\n'
        r"*Rule:* `heal_*&lt;spike&gt;`\n*Severity:* `CRITICAL`\n"
        r"*Source:* `aether-command-center`\n*Tenant:* `acme`\n"
        r"*Threshold:* 3/2 events in 300s\n\n*Group:*\n  • source: `crm`\n\n"
        r"*Filters:*\n  • Event Type: `autoheal.failed`\n  • Severity: `error`\n\n"
        r"*Timestamp:* 2026-11-23T12:00:00Z\n\n"
        r'<https://a.example/alerts/act?ticket=x.y|Acknowledge &lt;now&gt;>"}'
    )


def test_slack_of_an_alerts_end_of_another_event_and_of_a_digest() -> None:
    end = sent(Kind.SLACK, Notice(an_alert("ops.alert.resolved"), ""))["text"]
    other = {**an_alert("lead.created"), "severity": "info", "payload": {"name": "A&B"}}
    line = "  • 2026-11-23T12:00:00Z [acme] heal_*&lt;spike&gt; raised (source=crm)"

    assert end.startswith(":white_check_mark: *AetherLink Alert Resolved*\n\n*Rule:* `heal_*")
    assert sent(Kind.SLACK, Notice(other, ""))["text"] == (
        ":bell: *[acme] lead.created: aether-command-center*\n\n*Event:* `lead.created`\n"
        "*Severity:* `INFO`\n*Source:* `aether-command-center`\n*Tenant:* `acme`\n"
        "*name:* `A&amp;B`\n\n*Timestamp:* 2026-11-23T12:00:00Z"
    )
    assert sent(Kind.SLACK, a_digest())["text"] == (
        f":package: *[acme] 2 notifications at once*\n\n{line}\n{line}"
    )


def test_teams_of_an_alert() -> None:
    body = sent(Kind.TEAMS, Notice(an_alert(), "", (LINK,)))

    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["contentUrl"] is None
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, facts = card["body"]
    assert title["text"] == r"\[acme\] heal\_\*\<spike\> raised"
    assert (title["color"], facts["type"]) == ("attention", "FactSet")
    assert facts["facts"][0] == {"title": "Rule", "value": r"heal\_\*\<spike\>"}
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": "Acknowledge <now>", "url": LINK.url}
    ]


@pytest.mark.parametrize(
    ("event_type", "severity", "colour", "teams"),
    [
        ("ops.alert.raised", "critical", 0xE01E5A, "attention"),
        ("ops.alert.raised", "error", 0xE8912D, "attention"),
        ("ops.alert.raised", "warning", 0xECB22E, "warning"),
        ("lead.created", "info", 0x3B82F6, "accent"),
        ("ops.alert.resolved", "critical", 0x2EB67D, "good"),
    ],
)
def test_colours_are_by_severity_and_green_when_it_is_over(
    event_type: str, severity: str, colour: int, teams: str
) -> None:
    notice = Notice({**an_alert(event_type), "severity": severity}, "")

    assert sent(Kind.DISCORD, notice)["embeds"][0]["color"] == colour
    card = sent(Kind.TEAMS, notice)["attachments"][0]["content"]
    assert card["body"][0]["color"] == teams


def test_discord_of_an_alert() -> None:
    body = sent(Kind.DISCORD, Notice(an_alert(), "", (Link("Open", LINK.url),)))

    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    assert embed["title"] == r"\[acme\] heal\_\*\<spike\> raised"
    assert embed["description"] == f"[Open]({LINK.url})"
    assert embed["fields"][0] == {"name": "Rule", "value": r"heal\_\*\<spike\>", "inline": True}


def test_pagerduty_of_an_alert_from_its_beginning_to_its_end() -> None:
    began = sent(Kind.PAGERDUTY, Notice(an_alert(), "", (LINK,)))
    ended = sent(Kind.PAGERDUTY, Notice(an_alert("ops.alert.resolved"), ""))
    payload = began["payload"]

    assert (began["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert (began["dedup_key"], ended["dedup_key"]) == ("e1", "e1")
    assert (began["routing_key"], began["client"]) == (KEY, "AetherLink")
    assert began["links"] == [{"href": LINK.url, "text": LINK.text}]
    assert payload.pop("custom_details")["Threshold"] == "3/2 events in 300s"
    assert payload.items() >= {
        ("summary", "[acme] heal_*<spike> raised"),
        ("source", "aether-command-center"),
        ("severity", "critical"),
        ("timestamp", "2026-11-23T12:00:00.000000Z"),
        ("group", "acme"),
        ("class", "heal_*<spike>"),
    }


def test_pagerduty_of_another_event_and_of_a_digest_is_a_trigger_of_its_own() -> None:
    other = sent(Kind.PAGERDUTY, Notice({**an_alert("lead.created"), "payload": {}}, ""))
    digest = sent(Kind.PAGERDUTY, a_digest())

    assert (other["event_action"], other["dedup_key"]) == ("trigger", "e1.raised")
    assert (digest["event_action"], digest["dedup_key"]) == ("trigger", "ep1.digest-1")
    assert digest["payload"]["custom_details"]["count"] == 2


def test_generic_has_the_event_whole_with_links_and_digest_beside() -> None:
    event = an_alert()
    body = sent(Kind.GENERIC, Notice(event, "msg_1", (LINK,)))
    told = sent(Kind.GENERIC, a_digest())["data"]["digest"]

    assert (body["type"], body["timestamp"]) == ("ops.alert.raised", event["timestamp"])
    assert body["data"] == {**event, "links": [{"text": LINK.text, "url": LINK.url}]}
    assert told == {
        "count": 2,
        "since": "2026-11-23T12:00:00Z",
        "until": "2026-11-23T12:01:00Z",
        "events": [an_alert(), an_alert()],
    }


def test_a_generic_digest_of_huge_events_is_bounded_and_still_counts_all() -> None:
    huge = {**an_alert(), "payload": {"blob": "x" * 250_000}}
    digest = Digest(100, "", "", (huge,) * 100)
    body = render(Kind.GENERIC, Notice(an_alert("ops.alert.digest"), "", digest=digest), {})

    told = json.loads(body)["data"]["digest"]
    assert (told["count"], len(told["events"])) == (100, 3)
    assert len(body) < 1_100_000


@pytest.mark.parametrize("kind", list(Kind))
def test_no_time_breaks_a_message_or_becomes_markup(kind: Kind) -> None:
    body = render(kind, Notice({**an_alert(), "timestamp": "\ud800\n\x00"}, ""), {})

    assert json.loads(body.encode())


def test_pagerduty_names_the_component_that_is_in_trouble() -> None:
    assert sent(Kind.PAGERDUTY, Notice(an_alert(), ""))["payload"]["component"] == "crm"
