"""A rule and where it stands, in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.alerts.condition import Measure
from aetherlink.alerts.machine import Phase, Watch
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from aetherlink.alerts.condition import Span
    from aetherlink.alerts.model import Rule


def sentence(rule: Rule) -> str:
    """What the rule waits for, as one would say it."""
    about = {
        Measure.COUNT: "the number of events",
        Measure.DISTINCT: f"the number of different {rule.field}",
        Measure.SUM: f"the sum of {rule.field}",
        Measure.AVERAGE: f"the average of {rule.field}",
        Measure.RATIO: "the share of events among those of `of`",
    }
    if rule.measure is Measure.ABSENCE:
        said = f"fewer than {rule.threshold:g} events in {rule.window_seconds} s"
    else:
        word = "at least" if rule.comparison == "at_least" else "at most"
        said = f"{about[rule.measure]} in {rule.window_seconds} s is {word} {rule.threshold:g}"
    if rule.confirm_window_seconds:
        said += f", and in the last {rule.confirm_window_seconds} s as well"
    if rule.for_seconds:
        said += f", for {rule.for_seconds} s on end"
    if rule.group_by:
        said += f", for each {', '.join(rule.group_by)}"
    return said


def because(rule: Rule, watch: Watch, value: float, span: Span | None) -> str:
    """Why a group is in the state that it is in."""
    if not rule.enabled:
        return "the rule is disabled"
    found = f"{value:g} now, {_wanted(rule)}"
    if watch.phase is Phase.FIRING:
        keep = rule.keep_firing_for_seconds
        kept = f", but it is kept firing for {keep} s after it ends"
        return f"firing: {found}" if span else f"still firing: {found}{kept}"
    if watch.phase is Phase.PENDING:
        return f"pending: {found}, and has to hold for {rule.for_seconds} s"
    if span and watch.settled_until and watch.settled_until > span.start:
        return f"not yet: {found}; what was before {to_text(watch.settled_until)} is settled"
    tail = ", and the next judgement will see it" if span else ""
    return f"{'not yet' if span else 'not firing'}: {found}{tail}"


def _wanted(rule: Rule) -> str:
    if rule.measure is Measure.ABSENCE:
        return f"fires below {rule.threshold:g}"
    word = "from" if rule.comparison == "at_least" else "up to"
    return f"fires {word} {rule.threshold:g}"
