"""Which stores stand on which tables: built once per process, for the handler modules alone."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from aetherlink.events.keeping import Keeping, PolicyStore
from aetherlink.events.store import EventStore, OverviewStore
from aetherlink.kernel.time import utc_now
from aetherlink.platform.config import config
from aetherlink.platform.dynamo import Table

if TYPE_CHECKING:
    from aetherlink.alerts.judge import Judge
    from aetherlink.alerts.service import Alerting
    from aetherlink.events.count_store import CountStore
    from aetherlink.events.journal import Journal
    from aetherlink.registry.service import Registry


@cache
def control_table() -> Table:
    return Table(config().control_table)


@cache
def keeping() -> Keeping:
    return Keeping(
        PolicyStore(control_table()),
        default=timedelta(days=config().event_retention_days),
        is_archiving=config().archive_enabled,
        now=utc_now,
    )


@cache
def projections_table() -> Table:
    return Table(config().projections_table)


@cache
def event_store() -> EventStore:
    return EventStore(Table(config().events_table), keeping(), shards=config().timeline_shards)


@cache
def overview_store() -> OverviewStore:
    return OverviewStore(projections_table(), keeping(), shards=config().timeline_shards)


@cache
def count_store() -> CountStore:
    from aetherlink.events.count_store import CountStore  # noqa: PLC0415

    return CountStore(projections_table())


@cache
def journal() -> Journal:
    from aetherlink.events.journal import Journal  # noqa: PLC0415

    return Journal(projections_table(), keeping(), utc_now)


# A function imports what it uses: each domain is loaded by the one handler that asks for it.
def registry() -> Registry:
    from aetherlink.registry.service import Registry  # noqa: PLC0415
    from aetherlink.registry.store import RegistryStore  # noqa: PLC0415

    return Registry(RegistryStore(control_table(), event_store()), now=utc_now)


def judge() -> Judge:
    from aetherlink.alerts.judge import Judge  # noqa: PLC0415
    from aetherlink.alerts.store import HitStore, RuleStore, WatchStore  # noqa: PLC0415

    return Judge(
        RuleStore(control_table()),
        WatchStore(control_table(), event_store()),
        HitStore(projections_table()),
        utc_now,
    )


def alerting() -> Alerting:
    from aetherlink.alerts.service import Alerting  # noqa: PLC0415
    from aetherlink.alerts.store import HitStore, RuleStore, WatchStore  # noqa: PLC0415
    from aetherlink.events.service import Reading  # noqa: PLC0415

    return Alerting(
        RuleStore(control_table()),
        WatchStore(control_table(), event_store()),
        HitStore(projections_table()),
        Reading(event_store(), overview_store(), keeping(), utc_now),
        utc_now,
    )
