"""Whatever an event has in it: every kind gets JSON within its limits, and nobody is mentioned."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherlink.notify.kinds import Kind, kind_of, render
from aetherlink.notify.kinds.discord import limits as discord
from aetherlink.notify.kinds.grafana import limits as grafana
from aetherlink.notify.kinds.grafana.message import url_of
from aetherlink.notify.kinds.pagerduty import limits as pagerduty
from aetherlink.notify.kinds.slack import limits as slack
from aetherlink.notify.kinds.teams import limits as teams
from aetherlink.notify.notice import Digest, Link, Notice, plain, subject

SETTINGS = {"routing_key": "0" * 32}
LINKS = (
    Link("Acknowledge", "https://a.example/act?ticket=x"),
    Link("Silence", "https://a.example/s"),
)
ATTACKS = (
    "<!channel> <@U1> <https://evil.example|click>",
    "@everyone [click](https://evil.example) <@123> **b** ||s||",
    "`code` ``` *b* _i_ ~s~ <at>all</at> \\",
    "a\r\nb\u2028c\x00d\x1b[31m",
    "\ud800 half a character",
    "x" * 50_000,
)
# Text() has no halves of characters; JSON can bring them.
words = st.one_of(st.text(max_size=80), st.sampled_from(ATTACKS))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), words)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)
payloads = st.one_of(
    st.dictionaries(words, values, max_size=30),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("rule_name", "group", "filters", "threshold", "matched_count", "episode_id"), values
        ),
    ),
)
events = st.builds(
    lambda event_type, severity, payload, source: {
        "event_id": "e1",
        "event_type": event_type,
        "source": source,
        "tenant_id": "acme",
        "severity": severity,
        "timestamp": "2026-11-23T12:00:00.000000Z",
        "payload": payload,
    },
    st.sampled_from(["ops.alert.raised", "ops.alert.resolved", "lead.created"]),
    st.sampled_from(["info", "warning", "error", "critical"]),
    payloads,
    words,
)
notices = st.builds(
    lambda event, links, told: Notice(
        event, "msg_1", links, Digest(500, "", "", tuple(told)) if told else None
    ),
    events,
    st.sampled_from([(), LINKS]),
    st.lists(events, max_size=4).map(lambda some: some * 50),
)
anything = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def told(kind: Kind, notice: Notice) -> tuple[dict[str, Any], int]:
    body = render(kind, notice, SETTINGS).encode()
    return json.loads(body), len(body)


@anything
@given(notices)
def test_slack(notice: Notice) -> None:
    body, _ = told(Kind.SLACK, notice)

    assert set(body) == {"text"}
    assert len(body["text"]) <= slack.MAX_TEXT
    marked = re.findall(r"<([^>]*)>", body["text"])
    assert marked == [f"{link.url}|{link.text}" for link in notice.links]


@anything
@given(notices)
def test_teams(notice: Notice) -> None:
    body, size = told(Kind.TEAMS, notice)

    assert size <= teams.MAX_BYTES
    card = body["attachments"][0]["content"]
    assert card["type"] == "AdaptiveCard"
    texts = [block.get("text", "") for block in card["body"]]
    texts += [fact["value"] for block in card["body"] for fact in block.get("facts", [])]
    for text in texts:
        assert not re.search(r"(?<!\\)(\\\\)*[\[<*`]", text)
    assert [action["url"] for action in card["actions"]] == [link.url for link in notice.links]


@anything
@given(notices)
def test_discord(notice: Notice) -> None:
    body, _ = told(Kind.DISCORD, notice)

    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    fields = embed.get("fields", [])
    assert len(fields) <= discord.MAX_FIELDS
    assert len(embed["title"]) <= discord.MAX_TITLE
    assert len(embed["description"]) <= discord.MAX_DESCRIPTION
    for one in fields:
        assert 1 <= len(one["name"]) <= discord.MAX_FIELD_NAME
        assert 1 <= len(one["value"]) <= discord.MAX_FIELD_VALUE
    total = sum(len(one["name"]) + len(one["value"]) for one in fields)
    assert total + len(embed["title"]) + len(embed["description"]) <= discord.MAX_TOTAL


@anything
@given(notices)
def test_grafana(notice: Notice) -> None:
    body, _ = told(Kind.GRAFANA, notice)

    assert body["time"] == 1_795_435_200_000
    assert len(body["text"]) <= grafana.MAX_TEXT
    assert all(len(tag) <= grafana.MAX_TAG for tag in body["tags"])
    assert body["tags"][:2] == ["aetherlink", notice.event_type]
    # It is shown as HTML.
    assert not re.search(r"[<>]", body["text"])


@anything
@given(notices)
def test_pagerduty(notice: Notice) -> None:
    body, size = told(Kind.PAGERDUTY, notice)

    assert size <= pagerduty.MAX_BYTES
    assert body["event_action"] == ("resolve" if notice.is_resolved else "trigger")
    assert 1 <= len(body["dedup_key"]) <= pagerduty.MAX_KEY
    assert 1 <= len(body["payload"]["summary"]) <= pagerduty.MAX_SUMMARY
    assert body["payload"]["severity"] in ("critical", "error", "warning", "info")
    assert body["routing_key"] == SETTINGS["routing_key"]


@anything
@given(notices)
def test_generic_has_the_event_whole(notice: Notice) -> None:
    body, _ = told(Kind.GENERIC, notice)

    kept = {name: body["data"][name] for name in notice.event}
    assert kept == json.loads(json.dumps(notice.event))
    assert body["type"] == notice.event["event_type"]
    assert body["text"]


@anything
@given(notices)
def test_mail(notice: Notice) -> None:
    assert re.fullmatch(r"[ -~]{1,100}", subject(notice))
    assert plain(notice).encode()


@pytest.mark.parametrize(
    "base", ["https://g.example/x", "https://g.example/x/", "https://g.example/x/api/annotations"]
)
def test_annotations_go_below_where_grafana_is(base: str) -> None:
    assert url_of(base) == "https://g.example/x/api/annotations"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://hooks.slack.com/services/T/B/x", Kind.SLACK),
        ("https://HOOKS.SLACK.COM./services/T/B/x", Kind.SLACK),
        ("https://hooks.slack.com.evil.test/x", Kind.GENERIC),
        ("https://evil.test/hooks.slack.com", Kind.GENERIC),
        ("https://acme.webhook.office.com/webhookb2/x", Kind.TEAMS),
        ("https://outlook.office.com/webhook/x", Kind.TEAMS),
        ("https://prod-1.westeurope.logic.azure.com/workflows/x", Kind.TEAMS),
        ("https://notlogic.azure.com.evil.test/", Kind.GENERIC),
        ("https://discord.com/api/webhooks/1/x", Kind.DISCORD),
        ("https://canary.discord.com/api/webhooks/1/x", Kind.DISCORD),
        ("https://ptb.discordapp.com/api/webhooks/1/x", Kind.DISCORD),
        ("https://events.eu.pagerduty.com/v2/enqueue", Kind.PAGERDUTY),
        ("http://127.0.0.1:8099/alerts", Kind.GENERIC),
        ("https://[::1", Kind.GENERIC),
    ],
)
def test_the_kind_is_as_the_host_says(url: str, kind: Kind) -> None:
    assert kind_of(url) is kind
