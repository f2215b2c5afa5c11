"""The kinds of endpoints, one folder each: its limits, and how it is told something."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.notify.notice import Notice


class Kind(StrEnum):
    SLACK = "slack"
    TEAMS = "teams"
    DISCORD = "discord"
    PAGERDUTY = "pagerduty"
    GRAFANA = "grafana"
    GENERIC = "generic"


# Hosts, and domains whose every host it is. Teams: connectors, and workflows of Power Automate.
_HOSTS = {
    "hooks.slack.com": Kind.SLACK,
    "hooks.slack-gov.com": Kind.SLACK,
    "outlook.office.com": Kind.TEAMS,
    "discord.com": Kind.DISCORD,
    "ptb.discord.com": Kind.DISCORD,
    "canary.discord.com": Kind.DISCORD,
    "discordapp.com": Kind.DISCORD,
    "ptb.discordapp.com": Kind.DISCORD,
    "canary.discordapp.com": Kind.DISCORD,
    "events.pagerduty.com": Kind.PAGERDUTY,
    "events.eu.pagerduty.com": Kind.PAGERDUTY,
}
_DOMAINS = {
    ".webhook.office.com": Kind.TEAMS,
    ".logic.azure.com": Kind.TEAMS,
    ".powerplatform.com": Kind.TEAMS,
}


def kind_of(url: str) -> Kind:
    """The kind that a URL's host stands for; generic for every host that is nobody's."""
    try:
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return Kind.GENERIC
    for domain, kind in _DOMAINS.items():
        if host.endswith(domain):
            return kind
    return _HOSTS.get(host, Kind.GENERIC)


def render(kind: Kind, notice: Notice, settings: Mapping[str, str]) -> str:
    """The request body, JSON within the kind's limits, whatever the event has in it.

    `settings` has what the kind needs besides: `routing_key` of pagerduty.
    """
    # Each for itself: a dispatcher tells one kind far more often than all of them.
    if kind is Kind.SLACK:
        from aetherlink.notify.kinds.slack import message as slack  # noqa: PLC0415

        return slack.render(notice)
    if kind is Kind.TEAMS:
        from aetherlink.notify.kinds.teams import message as teams  # noqa: PLC0415

        return teams.render(notice)
    if kind is Kind.DISCORD:
        from aetherlink.notify.kinds.discord import message as discord  # noqa: PLC0415

        return discord.render(notice)
    if kind is Kind.PAGERDUTY:
        from aetherlink.notify.kinds.pagerduty import message as pagerduty  # noqa: PLC0415

        return pagerduty.render(notice, settings.get("routing_key", ""))
    if kind is Kind.GRAFANA:
        from aetherlink.notify.kinds.grafana import message as grafana  # noqa: PLC0415

        return grafana.render(notice)
    from aetherlink.notify.kinds.generic import message as generic  # noqa: PLC0415

    return generic.render(notice)
