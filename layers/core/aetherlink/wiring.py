"""Which stores stand on which tables: built once per process, for the handler modules alone."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from aetherlink.events.keeping import Keeping, PolicyStore
from aetherlink.events.store import EventStore, OverviewStore
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import utc_now
from aetherlink.platform.config import config
from aetherlink.platform.dynamo import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.ai.adapters import Adapter
    from aetherlink.ai.service import Orchestrator
    from aetherlink.alerts.alarm import QueueAlarm
    from aetherlink.alerts.announcing import Announcer
    from aetherlink.alerts.backtest import Backtests
    from aetherlink.alerts.judge import Judge, Window
    from aetherlink.alerts.one_click import OneClick
    from aetherlink.alerts.people import People
    from aetherlink.alerts.service import Alerting
    from aetherlink.archive.keeper import Keeper
    from aetherlink.archive.service import Archive
    from aetherlink.archive.store import DueStore
    from aetherlink.audit.reading import Reading as AuditReading
    from aetherlink.audit.sealer import Sealer
    from aetherlink.audit.statistics import Statistics as RequestStatistics
    from aetherlink.audit.store import AuditStore
    from aetherlink.audit.verifier import Verifier
    from aetherlink.events.count_store import CountStore
    from aetherlink.events.journal import Journal
    from aetherlink.events.model import Event
    from aetherlink.events.service import Reading
    from aetherlink.events.slots import Slots
    from aetherlink.events.stream import Stream
    from aetherlink.events.tickets import Tickets
    from aetherlink.events.types import Catalogue, Types
    from aetherlink.events.upkeep_store import UpkeepStore
    from aetherlink.heal.actions import Action
    from aetherlink.heal.live import Live
    from aetherlink.heal.managing import Managing as HealManaging
    from aetherlink.heal.model import Target
    from aetherlink.heal.prober import Prober
    from aetherlink.heal.reading import Reading as HealReading
    from aetherlink.heal.service import Healing
    from aetherlink.heal.store import HealStore
    from aetherlink.identity.service import Keys
    from aetherlink.ingest.monitors import Monitors
    from aetherlink.ingest.service import Intake
    from aetherlink.jobs.model import Step
    from aetherlink.jobs.service import Jobs
    from aetherlink.jobs.store import JobStore
    from aetherlink.notify.endpoint_store import EndpointStore
    from aetherlink.notify.rule_store import RuleStore
    from aetherlink.notify.store import DeliveryStore
    from aetherlink.notify.subscriptions import Subscriptions
    from aetherlink.platform.objects import Bucket
    from aetherlink.registry.service import Registry
    from aetherlink.registry.store import RegistryStore
    from aetherlink.retention.keeper import Keeper as RetentionKeeper
    from aetherlink.retention.pruning import Pruning
    from aetherlink.retention.service import Retention
    from aetherlink.tenants.offboarding import Offboarding
    from aetherlink.tenants.service import Tenancy


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
def types() -> Types:
    from aetherlink.events.type_store import TypeStore  # noqa: PLC0415
    from aetherlink.events.types import Types  # noqa: PLC0415

    return Types(TypeStore(control_table()))


def catalogue() -> Catalogue:
    from aetherlink.events.type_store import TypeStore  # noqa: PLC0415
    from aetherlink.events.types import Catalogue  # noqa: PLC0415

    return Catalogue(TypeStore(control_table()), utc_now)


def stream() -> Stream:
    import time  # noqa: PLC0415

    from aetherlink.events.arrivals import ArrivalStore  # noqa: PLC0415
    from aetherlink.events.stream import Stream  # noqa: PLC0415

    return Stream(ArrivalStore(projections_table()), event_store(), keeping(), utc_now, time.sleep)


def stream_slots() -> Slots:
    import secrets  # noqa: PLC0415

    from aetherlink.events.slots import Slots  # noqa: PLC0415
    from aetherlink.platform.config import stream_config  # noqa: PLC0415

    return Slots(control_table(), stream_config().max_streams, utc_now, secrets.token_hex)


def tickets() -> Tickets:
    from aetherlink.events.tickets import Tickets  # noqa: PLC0415

    return Tickets(control_table(), utc_now)


def keys() -> Keys:
    from aetherlink.identity.service import Keys  # noqa: PLC0415
    from aetherlink.identity.store import KeyStore  # noqa: PLC0415
    from aetherlink.platform.credentials import KEY, Mint  # noqa: PLC0415

    return Keys(KeyStore(control_table()), Mint(KEY), utc_now)


def registry() -> Registry:
    from aetherlink.heal.reading import seen_by  # noqa: PLC0415
    from aetherlink.notify.signing import new_secret  # noqa: PLC0415
    from aetherlink.platform.config import registry_config  # noqa: PLC0415
    from aetherlink.platform.credentials import REGISTRATION, Mint  # noqa: PLC0415
    from aetherlink.registry.plan import Targets  # noqa: PLC0415
    from aetherlink.registry.service import Registry  # noqa: PLC0415

    kept = heal_store()
    return Registry(
        service_store(),
        Mint(REGISTRATION),
        health=lambda view: seen_by(kept, view),
        past=stored_events(),
        targets=Targets(registry_config().heal_targets),
        new_secret=new_secret,
        now=utc_now,
    )


def service_store() -> RegistryStore:
    from aetherlink.registry.store import RegistryStore  # noqa: PLC0415

    return RegistryStore(control_table(), event_store())


def heal_store() -> HealStore:
    from aetherlink.heal.store import HealStore  # noqa: PLC0415

    return HealStore(control_table(), event_store())


def monitored_services() -> tuple[Target, ...]:
    from aetherlink.heal.service import configured  # noqa: PLC0415
    from aetherlink.platform.config import heal_config  # noqa: PLC0415

    return configured(heal_config().monitored_services)


def heal_reading() -> HealReading:
    from aetherlink.heal.reading import Reading  # noqa: PLC0415

    return Reading(heal_store(), service_store(), monitored_services(), utc_now)


def heal_managing() -> HealManaging:
    from aetherlink.heal.managing import Managing  # noqa: PLC0415

    return Managing(heal_store(), service_store(), monitored_services(), intake(), utc_now)


@cache
def prober() -> Prober:
    from aetherlink.heal.prober import Prober  # noqa: PLC0415
    from aetherlink.platform.outbound import Outbound, parse_allow_list  # noqa: PLC0415

    return Prober(Outbound(parse_allow_list(config().outbound_allow)), utc_now)


def own_url() -> str | None:
    """Where this deployment is reached, as it was at most a minute ago."""
    from aetherlink.platform.config import heal_config  # noqa: PLC0415
    from aetherlink.platform.public_url import public_url  # noqa: PLC0415

    return public_url(heal_config().api_url_parameter)


def heal_live() -> Live:
    from aetherlink.heal.live import Live  # noqa: PLC0415

    return Live(service_store(), prober(), monitored_services(), own_url, utc_now)


def healing() -> Healing:
    import time  # noqa: PLC0415

    from aetherlink.heal.actions import Actions  # noqa: PLC0415
    from aetherlink.heal.actions.aws import (  # noqa: PLC0415
        EcsDeployment,
        LambdaFunction,
        SsmAutomation,
    )
    from aetherlink.heal.actions.hook import Hook  # noqa: PLC0415
    from aetherlink.heal.service import Healing  # noqa: PLC0415
    from aetherlink.platform.config import heal_config  # noqa: PLC0415
    from aetherlink.platform.outbound import Outbound, parse_allow_list  # noqa: PLC0415
    from aetherlink.registry.plan import ActionKind, Targets  # noqa: PLC0415

    outbound = Outbound(parse_allow_list(config().outbound_allow))
    kinds: dict[ActionKind, Action] = {
        ActionKind.HTTP: Hook(outbound, utc_now),
        ActionKind.ECS: EcsDeployment(),
        ActionKind.LAMBDA: LambdaFunction(),
        ActionKind.SSM: SsmAutomation(),
    }
    return Healing(
        service_store(),
        heal_store(),
        prober(),
        Actions(kinds, Targets(heal_config().heal_targets)),
        intake(),
        registering=registry(),
        monitored=monitored_services(),
        api_url=own_url,
        now=utc_now,
        sleep=time.sleep,
    )


def alarm() -> QueueAlarm:
    from aetherlink.alerts.alarm import QueueAlarm  # noqa: PLC0415
    from aetherlink.platform.config import alerts_config  # noqa: PLC0415
    from aetherlink.platform.messaging import Queue  # noqa: PLC0415

    return QueueAlarm(Queue(alerts_config().alerts_due_queue), utc_now)


def announcer() -> Announcer:
    from aetherlink.alerts.announcing import Announcer  # noqa: PLC0415
    from aetherlink.alerts.episode_store import EpisodeStore, SilenceStore  # noqa: PLC0415

    return Announcer(
        episodes=EpisodeStore(control_table()),
        silences=SilenceStore(control_table(), event_store()),
        dependencies=service_store().dependencies,
        events=event_store(),
        publish=outlet(),
        alarm=alarm(),
        now=utc_now,
    )


@cache
def outlet() -> Callable[[Event], None]:
    from aetherlink.notify import fanout  # noqa: PLC0415
    from aetherlink.platform.config import alerts_config  # noqa: PLC0415
    from aetherlink.platform.messaging import Topic  # noqa: PLC0415

    return fanout.outlet(Topic(alerts_config().alerts_topic))


@cache
def endpoint_store(webhooks: str = "") -> EndpointStore:
    """`webhooks` is parameter AlertWebhooks, where a function is given it."""
    from aetherlink.notify.endpoint import configured  # noqa: PLC0415
    from aetherlink.notify.endpoint_store import EndpointStore  # noqa: PLC0415

    return EndpointStore(control_table(), event_store(), configured(webhooks))


@cache
def notification_rules() -> RuleStore:
    from aetherlink.notify.rule_store import RuleStore  # noqa: PLC0415

    return RuleStore(control_table(), utc_now)


@cache
def subscriptions() -> Subscriptions:
    from aetherlink.notify.subscriptions import Subscriptions  # noqa: PLC0415

    return Subscriptions(endpoint_store(), notification_rules().recent, utc_now)


def delivery_store() -> DeliveryStore:
    from aetherlink.notify.store import DeliveryStore  # noqa: PLC0415

    return DeliveryStore(control_table(), event_store())


@cache
def one_click_key() -> bytes:
    from aetherlink.platform.own_key import own_key  # noqa: PLC0415

    return own_key(control_table(), "one-click")


@cache
def one_click() -> OneClick:
    from aetherlink.alerts.one_click import OneClick, Signer  # noqa: PLC0415
    from aetherlink.platform.config import links_config  # noqa: PLC0415
    from aetherlink.platform.public_url import public_url  # noqa: PLC0415

    signer = Signer(one_click_key, utc_now)
    return OneClick(signer, lambda: public_url(links_config().api_url_parameter), utc_now)


def people() -> People:
    from aetherlink.alerts.episode_store import EpisodeStore, SilenceStore  # noqa: PLC0415
    from aetherlink.alerts.people import People  # noqa: PLC0415

    return People(
        EpisodeStore(control_table()),
        SilenceStore(control_table(), event_store()),
        why_muted=announcer().why_muted,
        alarm=alarm(),
        now=utc_now,
    )


def intake() -> Intake:
    from aetherlink.alerts.episode_store import EpisodeStore  # noqa: PLC0415
    from aetherlink.ingest.incident_store import IncidentStore  # noqa: PLC0415
    from aetherlink.ingest.service import Intake  # noqa: PLC0415

    return Intake(
        IncidentStore(control_table(), event_store()), EpisodeStore(control_table()), utc_now
    )


def monitors() -> Monitors:
    import secrets  # noqa: PLC0415

    from aetherlink.ingest.monitor_store import MonitorStore  # noqa: PLC0415
    from aetherlink.ingest.monitors import Monitors  # noqa: PLC0415

    return Monitors(
        MonitorStore(control_table()),
        intake(),
        alarm=alarm(),
        token=lambda: secrets.token_hex(16),
        now=utc_now,
    )


def in_hand() -> Callable[[str, str], bool]:
    """Whether somebody has an alert in hand, or it is over: then nobody else need be told of it."""
    from aetherlink.alerts.episode import State  # noqa: PLC0415
    from aetherlink.alerts.episode_store import EpisodeStore  # noqa: PLC0415

    episodes = EpisodeStore(control_table())

    def is_in_hand(tenant: str, episode_id: str) -> bool:
        episode = episodes.get(TenantId(tenant), episode_id)
        if episode is None:
            return False
        has_somebody = episode.acknowledged and episode.acknowledged.holds_at(utc_now())
        return bool(has_somebody) or episode.state is State.RESOLVED

    return is_in_hand


def backtests() -> Backtests:
    from aetherlink.alerts.backtest import Backtests  # noqa: PLC0415

    return Backtests(stored_events(), jobs(), utc_now)


def judge(window: Window | None = None) -> Judge:
    """`window` is for the sweep, which looks at stored events before it believes a silence."""
    from aetherlink.alerts.judge import Judge  # noqa: PLC0415
    from aetherlink.alerts.store import HitStore, RuleStore, WatchStore  # noqa: PLC0415

    return Judge(
        RuleStore(control_table()),
        WatchStore(control_table(), event_store(), utc_now),
        HitStore(projections_table()),
        utc_now,
        window=window,
        alarm=alarm(),
    )


def stored_events() -> Reading:
    from aetherlink.events.service import Reading  # noqa: PLC0415

    return Reading(event_store(), overview_store(), keeping(), utc_now)


def alerting() -> Alerting:
    from aetherlink.alerts.episode_store import EpisodeStore  # noqa: PLC0415
    from aetherlink.alerts.service import Alerting  # noqa: PLC0415
    from aetherlink.alerts.store import HitStore, RuleStore, WatchStore  # noqa: PLC0415

    return Alerting(
        RuleStore(control_table()),
        WatchStore(control_table(), event_store(), utc_now),
        HitStore(projections_table()),
        stored_events(),
        utc_now,
        episodes=EpisodeStore(control_table()),
        alarm=alarm(),
    )


@cache
def job_store() -> JobStore:
    from aetherlink.jobs.store import JobStore  # noqa: PLC0415

    return JobStore(control_table())


def jobs(kinds: Mapping[str, Step] | None = None) -> Jobs:
    """Without `kinds` it only starts jobs."""
    from aetherlink.jobs.service import Jobs  # noqa: PLC0415
    from aetherlink.platform.config import jobs_config  # noqa: PLC0415
    from aetherlink.platform.messaging import Queue  # noqa: PLC0415

    return Jobs(job_store(), Queue(jobs_config().jobs_queue), kinds or {}, utc_now)


def job_kinds() -> dict[str, Step]:
    """The step of each kind of work that a job may be."""
    from aetherlink.alerts.backtest import KIND as BACKTEST  # noqa: PLC0415
    from aetherlink.alerts.backtest import Playing  # noqa: PLC0415
    from aetherlink.archive.service import RESTORE, VERIFY  # noqa: PLC0415
    from aetherlink.archive.steps import Restoration, Verification  # noqa: PLC0415
    from aetherlink.archive.store import ManifestStore  # noqa: PLC0415
    from aetherlink.retention.applying import Applying  # noqa: PLC0415
    from aetherlink.retention.pruning import Rest  # noqa: PLC0415
    from aetherlink.retention.service import APPLY, PRUNE  # noqa: PLC0415
    from aetherlink.tenants.service import KIND as OFFBOARD  # noqa: PLC0415

    manifests, bucket = ManifestStore(control_table()), _archive_bucket()
    return {
        APPLY: Applying(upkeep_store(), count_store(), keeping(), utc_now).step,
        PRUNE: Rest(pruning()).step,
        BACKTEST: Playing(stored_events(), _bucket(), utc_now).step,
        OFFBOARD: _offboarding().step,
        VERIFY: Verification(manifests, bucket),
        RESTORE: Restoration(
            manifests,
            bucket,
            event_store(),
            terms=keeping(),
            policies=PolicyStore(control_table()),
            now=utc_now,
        ),
    }


def tenancy() -> Tenancy:
    from aetherlink.tenants.service import Tenancy  # noqa: PLC0415
    from aetherlink.tenants.store import TenantStore  # noqa: PLC0415

    store = TenantStore(control_table(), projections_table())
    return Tenancy(store, jobs(), job_store().get, utc_now)


def _offboarding() -> Offboarding:
    from aetherlink.events.type_store import TypeStore  # noqa: PLC0415
    from aetherlink.kernel.reach import AUDIT, CONTROL, EVENTS, PROJECTIONS  # noqa: PLC0415
    from aetherlink.platform.auditing import append_own  # noqa: PLC0415
    from aetherlink.tenants.offboarding import Offboarding  # noqa: PLC0415
    from aetherlink.tenants.store import TenantStore, TraceStore  # noqa: PLC0415
    from aetherlink.tenants.trace import TABLES  # noqa: PLC0415

    def record(tenant: TenantId, result: Mapping[str, object]) -> None:
        append_own("platform", "tenant.removed", f"tenant/{tenant}", SYSTEM, result)

    stores = {
        EVENTS: TraceStore(Table(config().events_table)),
        PROJECTIONS: TraceStore(projections_table(), count_store().remove),
        AUDIT: TraceStore(Table(config().audit_table)),
        CONTROL: TraceStore(
            control_table(), lambda tenant, _: TypeStore(control_table()).uncount(tenant)
        ),
    }
    return Offboarding(
        {table: stores[table] for table in TABLES},
        _bucket(),
        TenantStore(control_table(), projections_table()),
        record=record,
        now=utc_now,
    )


@cache
def due_store() -> DueStore:
    from aetherlink.archive.store import DueStore  # noqa: PLC0415

    return DueStore(control_table())


def archive() -> Archive:
    from aetherlink.archive.filing import Filing  # noqa: PLC0415
    from aetherlink.archive.service import Archive  # noqa: PLC0415
    from aetherlink.archive.store import ManifestStore  # noqa: PLC0415

    manifests, bucket = ManifestStore(control_table()), _archive_bucket()
    return Archive(
        event_store(),
        due_store(),
        manifests,
        Filing(event_store(), manifests, bucket, utc_now) if bucket else None,
        jobs(),
        directory=f"s3://{bucket.name}/events" if bucket else None,
        now=utc_now,
    )


def keeper() -> Keeper:
    from aetherlink.archive.keeper import Keeper  # noqa: PLC0415

    return Keeper(
        archive(), due_store(), count_store(), journal(), stage=config().stage, now=utc_now
    )


def pruning() -> Pruning:
    from aetherlink.retention.pruning import Pruning  # noqa: PLC0415
    from aetherlink.retention.store import ReportedStore  # noqa: PLC0415

    return Pruning(
        events=event_store(),
        upkeep=upkeep_store(),
        counts=count_store(),
        tenants=journal(),
        reported=ReportedStore(projections_table()),
        archiving=archive() if config().archive_enabled else None,
        keeping=keeping(),
        now=utc_now,
    )


@cache
def audit_store() -> AuditStore:
    from aetherlink.audit.store import AuditStore  # noqa: PLC0415

    return AuditStore(Table(config().audit_table), control_table())


def sealer() -> Sealer:
    from aetherlink.audit.sealer import Sealer  # noqa: PLC0415

    return Sealer(audit_store(), event_store(), utc_now, stage=config().stage)


@cache
def orchestrator() -> Orchestrator:
    """Built with the first question: descriptor and adapters take longer than a ping may.

    Raises UnavailableError for a descriptor or a ProviderOrder that makes no sense."""
    import json  # noqa: PLC0415
    import random  # noqa: PLC0415
    import time  # noqa: PLC0415

    from aetherlink.ai.adapters.anthropic import Anthropic  # noqa: PLC0415
    from aetherlink.ai.adapters.ollama import Ollama  # noqa: PLC0415
    from aetherlink.ai.adapters.openai import OpenAi  # noqa: PLC0415
    from aetherlink.ai.adapters.wire import Wire  # noqa: PLC0415
    from aetherlink.ai.breakers import Breakers  # noqa: PLC0415
    from aetherlink.ai.cache import Cache  # noqa: PLC0415
    from aetherlink.ai.descriptor import DescriptorError, Kind, load, parse_order  # noqa: PLC0415
    from aetherlink.ai.keys import Keys  # noqa: PLC0415
    from aetherlink.ai.purse import Purse  # noqa: PLC0415
    from aetherlink.ai.router import Router  # noqa: PLC0415
    from aetherlink.ai.service import Orchestrator  # noqa: PLC0415
    from aetherlink.events.schemas import Validator  # noqa: PLC0415
    from aetherlink.platform import rates  # noqa: PLC0415
    from aetherlink.platform.config import ai_config  # noqa: PLC0415
    from aetherlink.platform.outbound import Outbound, parse_allow_list  # noqa: PLC0415

    settings = ai_config()
    try:
        descriptor = load(config().stage, urls=settings.provider_urls)
        ranks = parse_order(settings.provider_order, descriptor)
    except DescriptorError as error:
        raise UnavailableError(str(error), 60) from error
    outbound = Outbound(parse_allow_list(config().outbound_allow))
    keys = Keys(settings.ai_secrets)
    adapters: dict[Kind, Adapter] = {
        kind: Wire(outbound, form, keys.get, keys.forget, utc_now)
        for kind, form in (
            (Kind.ANTHROPIC, Anthropic()),
            (Kind.OPENAI, OpenAi()),
            (Kind.OLLAMA, Ollama()),
        )
    }
    if any(provider.type is Kind.BEDROCK for rank in ranks for provider in rank):
        from aetherlink.ai.adapters.bedrock import Bedrock  # noqa: PLC0415

        adapters[Kind.BEDROCK] = Bedrock()
    breakers = Breakers(control_table(), descriptor.breaker, utc_now)
    purse = Purse(control_table(), utc_now)
    validators: dict[str, Validator] = {}

    def validator(schema: Mapping[str, Any]) -> Validator:
        text = json.dumps(schema, sort_keys=True)
        if text not in validators:
            validators[text] = Validator(dict(schema))
        return validators[text]

    router = Router(
        ranks,
        adapters,
        breakers,
        purse,
        deadline_seconds=descriptor.deadline_seconds,
        now=utc_now,
        clock=time.monotonic,
        draw=random.random,
    )
    return Orchestrator(
        descriptor,
        ranks,
        router,
        purse=purse,
        cache=Cache(control_table(), utc_now),
        events=event_store(),
        breakers=breakers,
        standing_of=rates.standing_of,
        validator=validator,
        daily_budget_usd=settings.ai_daily_budget,
        now=utc_now,
    )


def verifier() -> Verifier:
    from aetherlink.audit.verifier import Verifier  # noqa: PLC0415

    return Verifier(audit_store(), utc_now)


def audit_reading() -> AuditReading:
    from aetherlink.audit.reading import Reading  # noqa: PLC0415

    return Reading(audit_store(), utc_now, retention_days=config().audit_retention_days)


def request_statistics() -> RequestStatistics:
    from aetherlink.audit.statistics import Statistics  # noqa: PLC0415
    from aetherlink.audit.tally_store import TallyStore  # noqa: PLC0415
    from aetherlink.platform import tally  # noqa: PLC0415

    return Statistics(TallyStore(control_table()), tally.flush)


def upkeep_store() -> UpkeepStore:
    from aetherlink.events.upkeep_store import UpkeepStore  # noqa: PLC0415

    return UpkeepStore(Table(config().events_table), shards=config().timeline_shards)


def retention() -> Retention:
    from aetherlink.retention.service import Retention  # noqa: PLC0415

    bucket = _archive_bucket()
    return Retention(
        PolicyStore(control_table()),
        keeping(),
        pruning,
        jobs(),
        utc_now,
        archive_dir=f"s3://{bucket.name}/events" if bucket else None,
    )


def retention_keeper() -> RetentionKeeper:
    from aetherlink.retention.keeper import Keeper  # noqa: PLC0415
    from aetherlink.retention.store import ReportedStore  # noqa: PLC0415

    return Keeper(pruning(), keeping(), ReportedStore(projections_table()), jobs(), utc_now)


@cache
def _archive_bucket() -> Bucket | None:
    """None where the archive is off."""
    return _bucket() if config().archive_enabled else None


def _bucket() -> Bucket:
    """There also where the archive is off."""
    from aetherlink.platform.config import archive_config  # noqa: PLC0415
    from aetherlink.platform.objects import Bucket  # noqa: PLC0415

    return Bucket(archive_config().archive_bucket)
