"""The template, the access table, the handlers and the OpenAPI document say the same."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from aetherlink.kernel.access import ROUTES
from tools import openapi
from tools.local import template
from tools.local.place import ROOT

HTTP_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
RESOURCES: dict[str, Any] = template.load()["Resources"]
FUNCTIONS = dict(template.of_type("AWS::Serverless::Function"))


def template_routes() -> dict[tuple[str, str], str]:
    """Which function takes a route, by the template; the fallback's own left out."""
    return {
        (event["Method"], event["Path"]): function
        for function, _, event in template.triggers("Api")
        if "+}" not in event["Path"] and (event["Path"] != "/" or event["Method"] == "GET")
    }


def module_of(function: str) -> Any:
    return importlib.import_module(FUNCTIONS[function]["Handler"].removesuffix(".lambda_handler"))


def test_every_route_of_the_table_is_in_the_template_and_the_other_way_round() -> None:
    assert set(template_routes()) == set(ROUTES)


@pytest.mark.parametrize("route", sorted(ROUTES), ids=" ".join)
def test_the_function_that_the_template_names_answers_the_route(route: tuple[str, str]) -> None:
    method, path = route
    app = module_of(template_routes()[route]).app
    rules = {(r.method, r.path.replace("<", "{").replace(">", "}")) for r in app._static_routes}
    rules |= {(r.method, r.path.replace("<", "{").replace(">", "}")) for r in app._dynamic_routes}

    assert (method, path) in rules


def test_no_handler_has_a_route_that_is_not_in_the_table() -> None:
    found = {
        (r.method, r.path.replace("<", "{").replace(">", "}"))
        for name in openapi.HANDLERS
        for r in (
            *importlib.import_module(name).app._static_routes,
            *importlib.import_module(name).app._dynamic_routes,
        )
    }

    assert found == set(ROUTES)


@pytest.mark.parametrize("method", sorted(HTTP_METHODS | {"HEAD", "OPTIONS"}))
def test_whatever_is_no_route_reaches_the_fallback(method: str) -> None:
    fallback = {
        event["Method"]
        for function, _, event in template.triggers("Api")
        if function == "CenterApi" and event["Path"] == "/{proxy+}"
    }

    assert method in fallback


def test_the_openapi_document_is_what_the_routes_make() -> None:
    kept = json.loads(openapi.DOCUMENT.read_text())

    assert kept == json.loads(json.dumps(openapi.make())), "run `make openapi`"


def test_the_document_has_every_route_its_roles_and_its_refusals() -> None:
    document = json.loads(openapi.DOCUMENT.read_text())
    shown = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    assert {route: tuple(o["x-roles"]) for route, o in shown.items()} == {
        route: tuple(str(role) for role in roles) for route, roles in ROUTES.items()
    }
    assert all({"401", "403", "422", "503"} <= o["responses"].keys() for o in shown.values())
    assert all("default" not in o["responses"] for o in shown.values())


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_has_a_log_group_with_retention(name: str) -> None:
    group = template.referred(FUNCTIONS[name]["LoggingConfig"]["LogGroup"])

    assert RESOURCES[group]["Type"] == "AWS::Logs::LogGroup"
    assert "RetentionInDays" in RESOURCES[group]["Properties"]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_that_nobody_waits_for_ends_in_a_dead_letter_queue(name: str) -> None:
    properties = FUNCTIONS[name]
    for event in (properties.get("Events") or {}).values():
        given = event["Properties"]
        if event["Type"] == "DynamoDB":
            assert given["DestinationConfig"]["OnFailure"]["Type"] == "SQS"
        elif event["Type"] == "Schedule":
            assert "DeadLetterConfig" in given
            assert properties["DeadLetterQueue"]["Type"] == "SQS"
        elif event["Type"] == "SQS":
            queue = RESOURCES[template.referred(given["Queue"])]["Properties"]
            assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
            # AWS's own advice: six times the function's timeout.
            assert queue["VisibilityTimeout"] >= 6 * properties["Timeout"]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_policy_allows_every_action_or_every_resource(name: str) -> None:
    for policy in FUNCTIONS[name].get("Policies") or []:
        for statement in policy["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert not action.endswith("*"), f"{name} may do {action}"
            assert statement["Resource"] != "*", f"{name} may touch everything"


def test_the_parameter_of_the_url_is_named_as_policies_name_it() -> None:
    """`parameter/a` is the resource of a parameter `a`, and `parameter/a/b` that of `/a/b`: a policy can
    be right for one kind of name alone (seen with AUTH=true: no links in messages)."""
    resources = RESOURCES
    name = resources["ApiUrlParameter"]["Properties"]["Name"]
    assert ":parameter${ApiUrlParameter}" in str(resources["NotifyDispatcher"])
    assert ":parameter/${ApiUrlParameter}" not in str(resources)
    # A function of the API may not refer to what refers to the API: it goes by the same name.
    assert name == {"Sub": "/${AWS::StackName}/api-url"}
    runner = str(resources["HealRunner"])
    assert ":parameter/${AWS::StackName}/api-url" in runner
    assert "'/${AWS::StackName}/api-url'" in runner


def test_the_default_of_the_template_believes_no_headers() -> None:
    assert template.load()["Parameters"]["AuthMode"]["Default"] == "token"


def test_every_table_that_people_write_to_is_kept_and_backed_up() -> None:
    for name in ("EventsTable", "ControlTable"):
        table = RESOURCES[name]
        assert table["DeletionPolicy"] == "Retain"
        assert table["Properties"]["PointInTimeRecoverySpecification"]


def test_layers_are_built_from_the_pinned_packages() -> None:
    pinned = (ROOT / "requirements" / "runtime.txt").read_text()

    assert (ROOT / "layers" / "deps" / "requirements.txt").read_text() == pinned
