"""Ready-made rules, and the thresholds of burn rates."""

from __future__ import annotations

from typing import Any

import pytest

from aetherlink.alerts.condition import step_of
from aetherlink.alerts.model import RuleDraft
from aetherlink.alerts.templates import (
    TEMPLATES,
    Materials,
    burn_threshold,
    draft_of,
    template,
)
from aetherlink.events.model import Severity
from aetherlink.kernel.errors import NotFoundError, UnprocessableError
from tests.unit.alerts.world import a_rule


def a_draft(template_id: str, **given: Any) -> RuleDraft:
    return RuleDraft.model_validate(draft_of(template_id, Materials.model_validate(given)))


@pytest.mark.parametrize("template_id", TEMPLATES)
def test_every_template_is_a_rule_as_it_stands(template_id: str) -> None:
    draft = a_draft(template_id)

    assert draft.name == TEMPLATES[template_id].title
    assert draft.enabled


@pytest.mark.parametrize(
    ("objective", "factor", "threshold"),
    [
        # A hundredth of a month's budget in an hour would be 7.2 times too fast.
        (0.999, 14.4, 0.0144),
        (0.999, 6, 0.006),
        (0.99, 14.4, 0.144),
        (0.9, 6, 0.6),
        (0.9999, 14.4, 0.00144),
        (0.99999, 14.4, 0.000144),
    ],
)
def test_the_threshold_is_the_share_of_errors_that_burns_so_fast(
    objective: float, factor: float, threshold: float
) -> None:
    assert burn_threshold({"objective": objective, "factor": factor}) == threshold


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"objective": 1}, "/parameters/objective"),
        ({"objective": 0}, "/parameters/objective"),
        ({"objective": 99.9}, "/parameters/objective"),
        ({"objective": True}, "/parameters/objective"),
        ({"objective": "0.99"}, "/parameters/objective"),
        ({"objective": None}, "/parameters/objective"),
        ({"objective": float("nan")}, "/parameters/objective"),
        ({"factor": 0}, "/parameters/factor"),
        ({"factor": -1}, "/parameters/factor"),
        ({"factor": 1000}, "/parameters/factor"),
        # 14.4 times 7 % is more than all.
        ({"objective": 0.93}, "/parameters/objective"),
    ],
)
def test_a_burn_that_cannot_be_is_refused(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        draft_of("slo-burn-fast", Materials(parameters=given))

    assert [flaw.pointer for flaw in refused.value.flaws] == [pointer]


def test_a_burn_of_everything_but_a_little_can_be() -> None:
    assert a_draft("slo-burn-fast", parameters={"objective": 0.9306}).threshold < 1


@pytest.mark.parametrize(
    ("template_id", "windows", "severity", "share"),
    [
        ("slo-burn-fast", (3600, 300), Severity.CRITICAL, "2%"),
        ("slo-burn-slow", (21_600, 1800), Severity.WARNING, "5%"),
    ],
)
def test_burn_rates_are_those_of_the_workbook(
    template_id: str, windows: tuple[int, int], severity: Severity, share: str
) -> None:
    draft = a_draft(template_id)

    assert (draft.window_seconds, draft.confirm_window_seconds) == windows
    assert draft.alert_severity is severity
    assert share in template(template_id).description
    assert draft.annotations == {"objective": "0.999"}


def test_the_short_window_of_a_burn_rate_has_ten_steps() -> None:
    rule = a_rule(**{**draft_of("slo-burn-fast", Materials()), "tenant": None})

    assert rule.step == step_of(rule.window, rule.confirm_window)
    assert rule.step is not None
    assert rule.step.total_seconds() == 30


def test_overrides_win_over_whatever_the_template_says() -> None:
    draft = a_draft(
        "slo-burn-fast",
        parameters={"objective": 0.99},
        overrides={"threshold": 0.5, "source": "checkout", "of": {"source": "checkout"}},
    )

    assert (draft.threshold, draft.source) == (0.5, "checkout")
    assert draft.of is not None
    assert draft.of.source == "checkout"


def test_a_template_is_not_changed_by_what_is_made_of_it() -> None:
    before = template("critical-events").model_dump()
    draft_of("critical-events", Materials(overrides={"group_by": [], "name": "mine"}))

    assert template("critical-events").model_dump() == before


def test_a_template_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="error-spike"):
        template("no-such")
