"""Who is told of an alert, when, and how often: whatever is redelivered, or breaks off half-way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest

from aetherlink.alerts.announcing import DEPENDENCY_WAIT, SOURCE, Announcer, beneath
from aetherlink.alerts.episode import Episode, Mute, State
from aetherlink.alerts.silence import Silence
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.ids import tenant_bound, token_of
from aetherlink.kernel.tenancy import TenantId
from tests.unit.alerts.world import NOON, a_rule, at

ACME = TenantId("acme")


class BrokenError(Exception):
    """The process dies, or the topic does not answer."""


class Office:
    """Episodes, silences, services, stored events and a topic, in memory, under a clock that is set."""

    def __init__(self, **depends_on: Sequence[str]) -> None:
        self.now = NOON
        self.kept: dict[str, Episode] = {}
        self.markers: set[str] = set()
        self.silences: list[Silence] = []
        self.stored: dict[str, Event] = {}
        self.topic: list[str] = []
        self.notices: list[Event] = []
        self.alarms: list[datetime] = []
        self.breaks = 0
        services: Mapping[str, Sequence[str]] = depends_on
        self.announce = Announcer(
            episodes=self,
            silences=_Silences(self),
            dependencies=lambda _: services,
            events=self,
            publish=self._publish,
            alarm=self.alarms.append,
            now=lambda: self.now,
        )

    def raise_(self, name: str = "a", *, service: str = "", **given: Any) -> Event:
        """An episode and its event, stored and not relayed yet."""
        rule = a_rule(name=f"rule of {name}")
        facts = {
            "id": _id(name), "tenant_id": ACME, "rule_id": rule.id, "rule_name": rule.name,
            "state": State.FIRING, "severity": Severity.ERROR,
            "group": {"payload.service": service} if service else {}, "labels": {},
            "annotations": {}, "source": None, "event_type": None, "matched": 3, "threshold": 3,
            "window_seconds": 60, "started_at": self.now, "raised_at": self.now,
        }  # fmt: skip
        episode = Episode.model_validate({**facts, **given})
        self.kept[episode.id] = episode
        return self._event(episode.id, "raised")

    def resolve(self, name: str = "a") -> Event:
        self._change(_id(name), state=State.RESOLVED, resolved_at=self.now)
        return self._event(_id(name), "resolved")

    def silence(self, **given: Any) -> Silence:
        settings = {
            "id": "s1", "tenant_id": ACME, "reason": "maintenance", "starts_at": NOON,
            "ends_at": at(3600), "schedule": None, "notify_before_seconds": 900,
            "created_by": "ada", "created_at": NOON,
            "matchers": [{"name": "severity", "value": "error"}],
        }  # fmt: skip
        made = Silence.model_validate({**settings, **given})
        self.silences.append(made)
        return made

    def muted_by(self, name: str) -> tuple[str, str] | None:
        mute = self.kept[_id(name)].muted
        return (mute.kind, mute.by) if mute else None

    def _event(self, episode_id: str, word: Literal["raised", "resolved"]) -> Event:
        event = announce(
            f"ops.alert.{word}", source=SOURCE, tenant_id=ACME, now=self.now,
            payload={"episode_id": episode_id}, event_id=f"{episode_id}.{word}",
        )  # fmt: skip
        self.stored[event.event_id] = event
        return event

    def _publish(self, event: Event) -> None:
        if self.breaks:
            self.breaks -= 1
            raise BrokenError
        token = str(event.payload["episode_id"])
        self.topic.append(f"{_name(token)} {event.event_type.rpartition('.')[2]}")

    def _change(self, episode_id: str, **values: Any) -> None:
        if episode_id in self.kept:
            self.kept[episode_id] = self.kept[episode_id].model_copy(update=values)

    # ---- episodes
    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None:
        return self.kept.get(episode_id)

    def open_of(self, tenant_id: TenantId) -> list[Episode]:
        return [e for e in self.kept.values() if e.state is not State.RESOLVED]

    def mute(self, episode: Episode, mute: Mute) -> None:
        self.markers.add(episode.id)
        self._change(episode.id, muted=mute)

    def tell(self, episode: Episode, at: datetime) -> None:
        # What was told in the end is not shown as muted (alerts/store.py).
        self._change(episode.id, notified_at=at, muted=None)

    def forget_mute(self, episode_id: str) -> None:
        self.markers.discard(episode_id)

    def muted(self) -> list[str]:
        return sorted(self.markers)

    # ---- stored events
    def find(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None:
        return self.stored.get(event_id)


class _Silences:
    def __init__(self, office: Office) -> None:
        self._office = office

    def of(self, tenant_id: TenantId) -> list[Silence]:
        return [s for s in self._office.silences if s.tenant_id == tenant_id]

    def ending(self, now: datetime) -> Iterable[Silence]:
        return [s for s in self._office.silences if s.wants_notice(now)]

    def notice(self, silence: Silence, announcing: Event) -> None:
        kept = self._office.silences
        kept[[s.id for s in kept].index(silence.id)] = silence
        self._office.notices.append(announcing)


def _id(name: str) -> str:
    return tenant_bound(ACME, name)


def _name(episode_id: str) -> str:
    return token_of(episode_id)


# ---- once


def test_an_alert_is_told_and_so_is_its_end() -> None:
    office = Office()

    office.announce(office.raise_())
    office.announce(office.resolve())

    assert office.topic == ["a raised", "a resolved"]


def test_what_comes_again_is_published_again_for_the_delivery_to_drop() -> None:
    office = Office()
    raised = office.raise_()
    office.announce(raised)
    office.now = at(5)
    office.announce(raised)

    assert office.topic == ["a raised", "a raised"]
    assert office.kept[_id("a")].notified_at == NOON


def test_a_silence_that_is_made_later_does_not_take_back_what_was_told() -> None:
    office = Office()
    raised = office.raise_()
    office.announce(raised)
    office.silence()
    office.announce(raised)
    office.announce(office.resolve())

    assert office.topic == ["a raised", "a raised", "a resolved"]
    assert office.markers == set()


def test_a_topic_that_does_not_answer_is_asked_again_with_the_record() -> None:
    office = Office()
    raised = office.raise_()
    office.breaks = 1

    with pytest.raises(BrokenError):
        office.announce(raised)
    office.announce(raised)

    assert office.topic == ["a raised"]


def test_an_alert_of_an_earlier_release_is_told() -> None:
    office = Office()
    raised = office.raise_()
    office.kept.clear()

    office.announce(raised)

    assert office.topic == ["a raised"]


def test_an_event_without_an_episode_is_told() -> None:
    office = Office()
    strange = announce(
        "ops.alert.raised", source=SOURCE, tenant_id=ACME, now=NOON,
        payload={"episode_id": ""}, event_id="e",
    )  # fmt: skip

    office.announce(strange)

    assert len(office.topic) == 1


# ---- silences


def test_a_muted_alert_is_told_to_nobody_and_neither_is_its_end() -> None:
    office = Office()
    office.silence()

    office.announce(office.raise_())
    office.announce(office.resolve())

    assert office.topic == []
    assert office.markers == set()


def test_what_mutes_is_noted_once_however_often_the_record_comes() -> None:
    office = Office()
    office.silence()
    raised = office.raise_()
    office.announce(raised)
    office.now = at(30)
    office.announce(raised)

    mute = office.kept[_id("a")].muted
    assert mute is not None
    assert (mute.kind, mute.by, mute.since) == ("silence", "s1", NOON)


def test_when_a_silence_is_lifted_what_still_fires_is_told_once() -> None:
    office = Office()
    office.silence()
    office.announce(office.raise_())
    office.announce(office.raise_("b"))
    office.resolve("b")

    office.silences.clear()
    for _ in range(3):
        office.announce.revisit()

    assert office.topic == ["a raised"]
    assert office.markers == set()


def test_when_a_silence_ends_what_still_fires_is_told_and_then_its_end() -> None:
    office = Office()
    office.silence()
    office.announce(office.raise_())
    office.now = at(3599)
    office.announce.revisit()
    assert office.topic == []

    office.now = at(3600)
    office.announce.revisit()
    office.announce(office.resolve())

    assert office.topic == ["a raised", "a resolved"]


def test_a_topic_that_does_not_answer_when_a_silence_ends_loses_nothing() -> None:
    office = Office()
    office.silence()
    office.announce(office.raise_())
    office.silences.clear()
    office.breaks = 1

    with pytest.raises(BrokenError):
        office.announce.revisit()
    office.announce.revisit()

    assert office.topic == ["a raised"]
    assert office.markers == set()


def test_one_silence_after_another_keeps_it_muted_and_says_by_which() -> None:
    office = Office()
    office.silence()
    office.announce(office.raise_())
    office.silences.clear()
    office.silence(id="s2")

    office.announce.revisit()

    assert office.topic == []
    assert office.muted_by("a") == ("silence", "s2")


def test_the_platforms_silences_mute_a_tenants_alerts() -> None:
    office = Office()
    office.silence(tenant_id="system")

    office.announce(office.raise_())

    assert office.topic == []


def test_another_tenants_silence_mutes_nothing() -> None:
    office = Office()
    office.silence(tenant_id="globex")

    office.announce(office.raise_())

    assert office.topic == ["a raised"]


def test_notice_is_given_once_and_says_how_many_alerts_are_muted() -> None:
    office = Office()
    office.silence()
    office.announce(office.raise_())

    for second in (2699, 2700, 2760):
        office.now = at(second)
        office.announce.revisit()

    (notice,) = office.notices
    assert notice.event_type == "ops.alert.silence.ending"
    assert (notice.payload["silence_id"], notice.payload["alerts_muted"]) == ("s1", 1)


def test_a_silence_that_was_prolonged_gives_notice_of_its_new_end_under_another_id() -> None:
    office = Office()
    silence = office.silence()
    office.now = at(3000)
    office.announce.revisit()
    # What PUT stores.
    office.silences = [silence.model_copy(update={"ends_at": at(7200)})]
    office.now = at(7000)
    office.announce.revisit()

    first, second = office.notices
    assert first.event_id != second.event_id


# ---- what depends on what


def test_an_alert_about_a_dependant_waits_and_is_told_alone() -> None:
    office = Office(api=["db"])

    office.announce(office.raise_(service="api"))

    assert office.muted_by("a") == ("held", "")
    assert office.alarms == [NOON + DEPENDENCY_WAIT]
    office.now = NOON + DEPENDENCY_WAIT - timedelta(milliseconds=1)
    office.announce.revisit()
    assert office.topic == []
    office.now = NOON + DEPENDENCY_WAIT
    office.announce.revisit()
    assert office.topic == ["a raised"]


def test_the_wait_does_not_begin_anew_with_each_look() -> None:
    office = Office(api=["db"])
    raised = office.raise_(service="api")
    for second in (0, 4, 8, 11):
        office.now = at(second)
        office.announce(raised)

    assert office.topic == ["a raised"]


def test_what_is_over_before_the_wait_is_told_to_nobody() -> None:
    office = Office(api=["db"])
    office.announce(office.raise_(service="api"))
    office.announce(office.resolve())
    office.now = at(60)
    office.announce.revisit()

    assert office.topic == []
    assert office.markers == set()


def test_a_cause_however_far_down_explains_its_dependants() -> None:
    office = Office(web=["api"], api=["db"], batch=["db"])
    for name, service in (("w", "web"), ("a", "api"), ("b", "batch"), ("d", "db")):
        office.announce(office.raise_(name, service=service))
    office.now = at(60)
    for _ in range(2):
        office.announce.revisit()

    assert office.topic == ["d raised"]
    assert {office.muted_by(name) for name in "wab"} == {("inhibition", _id("d"))}


def test_a_cause_that_ends_first_leaves_its_dependant_to_be_told() -> None:
    office = Office(api=["db"])
    office.announce(office.raise_("d", service="db"))
    office.announce(office.raise_("a", service="api"))
    office.now = at(60)
    office.announce(office.resolve("d"))
    for second in (60, 75):
        office.now = at(second)
        office.announce.revisit()
    office.announce(office.resolve("a"))

    assert office.topic == ["d raised", "d resolved", "a raised", "a resolved"]


def test_a_lesser_alert_explains_no_graver_one() -> None:
    office = Office(api=["db"])
    office.announce(office.raise_("d", service="db", severity=Severity.WARNING))
    office.announce(office.raise_("a", service="api", severity=Severity.CRITICAL))
    office.now = at(11)
    office.announce.revisit()

    assert office.topic == ["d raised", "a raised"]


def test_a_pending_alert_explains_nothing() -> None:
    office = Office(api=["db"])
    office.raise_("d", service="db", state=State.PENDING)
    office.announce(office.raise_("a", service="api"))
    office.now = at(11)
    office.announce.revisit()

    assert office.topic == ["a raised"]


def test_a_cause_that_is_silenced_silences_what_it_explains() -> None:
    office = Office(api=["db"])
    office.silence(matchers=[{"name": "service", "value": "db"}])
    office.announce(office.raise_("d", service="db"))
    office.announce(office.raise_("a", service="api"))
    office.now = at(60)
    office.announce.revisit()

    assert office.topic == []
    assert office.muted_by("a") == ("inhibition", _id("d"))


def test_services_in_a_circle_do_not_silence_each_other() -> None:
    office = Office(a=["b"], b=["c"], c=["a"], web=["a"])
    for name in ("a", "b", "c", "web"):
        office.announce(office.raise_(name, service=name))
    office.now = at(11)
    office.announce.revisit()

    # They explain what stands on the circle, and not each other: else nobody would hear of any.
    assert sorted(office.topic) == ["a raised", "b raised", "c raised"]
    assert (office.muted_by("web") or ("", ""))[0] == "inhibition"


def test_a_service_that_depends_on_itself_is_told_of() -> None:
    office = Office(a=["a"])

    office.announce(office.raise_("a", service="a"))

    assert office.topic == ["a raised"]


@pytest.mark.parametrize(
    ("depends_on", "expected"),
    [
        ({}, set()),
        ({"a": ["b"], "b": ["c", "d"]}, {"b", "c", "d"}),
        ({"a": ["b"], "b": ["a"]}, {"b"}),
        ({"a": ["b", "b"], "b": ["c"], "c": ["b"]}, {"b", "c"}),
        ({"b": ["a"]}, set()),
    ],
)
def test_everything_that_a_service_stands_on(
    depends_on: dict[str, list[str]], expected: set[str]
) -> None:
    assert beneath(depends_on, "a") == expected


# ---- out of order


def test_an_alert_that_was_over_when_its_record_came_is_told_whole() -> None:
    office = Office()
    raised, resolved = office.raise_(), office.resolve()

    office.announce(raised)
    office.announce(resolved)

    # The end is said with the beginning, and again for its own record, which the delivery drops.
    assert list(dict.fromkeys(office.topic)) == ["a raised", "a resolved"]


def test_whoever_hears_the_end_first_hears_of_both() -> None:
    """The records of two events are in two shards of the stream, which keep no order between them."""
    office = Office()
    raised, resolved = office.raise_(), office.resolve()

    office.announce(resolved)
    office.announce(raised)

    assert set(office.topic) == {"a raised", "a resolved"}


def test_a_record_that_comes_again_after_the_end_of_a_muted_alert_tells_nobody() -> None:
    office = Office()
    office.silence()
    raised = office.raise_()
    office.announce(raised)
    office.announce(office.resolve())
    office.silences.clear()

    office.announce(raised)

    assert office.topic == []


def test_an_end_that_is_stored_while_people_are_told_of_the_beginning_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office()
    raised = office.raise_()
    why_muted = office.announce.why_muted

    def meanwhile(episode: Episode) -> Mute | None:
        """Between reading the episode and noting that it is told, its end comes and goes."""
        office.announce(office.resolve())
        return why_muted(episode)

    monkeypatch.setattr(office.announce, "why_muted", meanwhile)
    office.announce(raised)

    assert office.topic == ["a raised", "a resolved"]
