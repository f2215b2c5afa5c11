"""Ready-made rules: what most teams would write first, and SLO burn rates, which few get right."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from aetherlink.kernel.errors import Flaw, NotFoundError, UnprocessableError
from aetherlink.kernel.shape import Given, Shape


class Template(Shape):
    """A draft with a name. `parameters` are what it needs besides, with their defaults."""

    id: str
    title: str
    description: str
    rule: dict[str, Any]
    parameters: dict[str, Any] = Field(default={})


class Materials(Given):
    """The body of POST /alerts/templates/{id}/materialize; may be empty."""

    overrides: dict[str, Any] = Field(default={}, description="Fields of the rule, in its stead")
    parameters: dict[str, Any] = Field(default={}, description="Of a burn rate: its objective")


def _plain(id: str, title: str, description: str, **rule: Any) -> Template:  # noqa: A002 - its name
    return Template(id=id, title=title, description=description, rule={"name": title, **rule})


def _burn(
    id: str,  # noqa: A002 - its name
    title: str,
    factor: float,
    *,
    long_seconds: int,
    short_seconds: int,
    severity: str,
) -> Template:
    """Google's SRE Workbook, chapter 5: a budget of 30 days that burns `factor` times too fast, over
    a long window, and still does, over a short one."""
    hours = long_seconds // 3600
    share = factor * long_seconds / (30 * 86_400)
    return Template(
        id=id,
        title=title,
        description=(
            f"Errors use up {share:.0%} of a month's error budget within {hours} h. Set objective "
            "(0.999) in parameters, and the events that are errors and that are all in overrides"
        ),
        parameters={"objective": 0.999, "factor": factor},
        rule={
            "name": title,
            "measure": "ratio",
            "event_type": "http.request.failed",
            "of": {},
            "window_seconds": long_seconds,
            "confirm_window_seconds": short_seconds,
            "group_by": ["source"],
            "alert_severity": severity,
            "labels": {"slo": "availability"},
        },
    )


TEMPLATES: Final[dict[str, Template]] = {
    template.id: template
    for template in (
        _plain(
            "delivery-failures",
            "Delivery failures",
            "Notifications were given up: somebody is not hearing of alerts",
            event_type="ops.alert.delivery.failed",
            window_seconds=900,
            threshold=1,
            alert_severity="error",
        ),
        _plain(
            "error-spike",
            "Error spike",
            "Many events of severity error from one source in five minutes",
            severity="error",
            window_seconds=300,
            threshold=10,
            group_by=["source"],
            alert_severity="error",
        ),
        _plain(
            "critical-events",
            "Critical events",
            "Any event of severity critical",
            severity="critical",
            window_seconds=60,
            threshold=1,
            group_by=["source", "event_type"],
        ),
        _plain(
            "autoheal-failures",
            "Auto-heal failures",
            "Healing a service failed three times in fifteen minutes",
            event_type="autoheal.failed",
            window_seconds=900,
            threshold=3,
            group_by=["payload.service"],
        ),
        _plain(
            "heartbeat-missing",
            "Heartbeat missing",
            "A source that published before has been silent for five minutes",
            measure="absence",
            window_seconds=300,
            threshold=1,
            group_by=["source"],
            alert_severity="error",
        ),
        _burn(
            "slo-burn-fast",
            "SLO burns fast (14.4x over 1 h and 5 min)",
            14.4,
            long_seconds=3600,
            short_seconds=300,
            severity="critical",
        ),
        _burn(
            "slo-burn-slow",
            "SLO burns slowly (6x over 6 h and 30 min)",
            6,
            long_seconds=6 * 3600,
            short_seconds=1800,
            severity="warning",
        ),
    )
}


def template(template_id: str) -> Template:
    found = TEMPLATES.get(template_id)
    if found is None:
        raise NotFoundError(
            f"Template '{template_id[:64]}' not found; there are {', '.join(TEMPLATES)}"
        )
    return found


def draft_of(template_id: str, materials: Materials) -> dict[str, Any]:
    """The body of the rule that the template makes, to be checked like any other.

    The threshold of a burn rate is the share of errors at which the budget burns `factor` times too
    fast: factor x (1 - objective).
    """
    chosen = template(template_id)
    body = {**chosen.rule}
    if chosen.parameters:
        given = {**chosen.parameters, **materials.parameters}
        body["threshold"] = burn_threshold(given)
        body["annotations"] = {"objective": str(given["objective"])}
    return {**body, **materials.overrides}


def burn_threshold(given: dict[str, Any]) -> float:
    objective, factor = given.get("objective"), given.get("factor")
    for name, value, top in (("objective", objective, 1), ("factor", factor, 1000)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < top:
            raise _wrong(f"/parameters/{name}", f"must be a number between 0 and {top}")
    threshold = round(float(factor or 0) * (1 - float(objective or 0)), 9)
    if threshold >= 1:
        raise _wrong(
            "/parameters/objective",
            f"burns {factor} times too fast only beyond 100 % errors; a tighter objective, or a "
            "smaller factor, can be reached",
        )
    return threshold


def _wrong(pointer: str, detail: str) -> Exception:
    return UnprocessableError((Flaw(pointer, detail),))
