"""GET /audit/stats: every request counted, each tenant's its own, on any instance."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from aetherlink.audit.statistics import Tallied, summed
from aetherlink.platform import tally
from tests.component.conftest import Answer, Stack


def stats(stack: Stack, *, tenant: str | None = None, **query: str) -> dict[str, Any]:
    answer = stack.call("GET", "/audit/stats", tenant=tenant, query=query)
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["detail"]


def test_every_request_is_counted_by_path_and_status(stack: Stack) -> None:
    stack.publish()
    stack.publish()
    stack.publish("no.such.type")
    stack.call("GET", "/events/recent", roles="viewer")
    stack.call("GET", "/events/recent", roles=None)
    stack.call("GET", "/ping", roles=None)
    stack.call("GET", "/no/such/path", roles=None)

    found = stats(stack)

    assert found == {
        "total_requests": 7,
        "denied_401_unauthorized": 1,
        "denied_403_forbidden": 1,
        "refused_429": 0,
        "by_path": {"/events/publish": 3, "/events/recent": 2, "/ping": 1, "/{proxy+}": 1},
        "by_status": {"200": 3, "400": 1, "401": 1, "403": 1, "404": 1},
        "by_service": {"command-center": 7},
    }


def test_paths_are_templates_and_show_nobodys_data(stack: Stack) -> None:
    stack.call("GET", "/events/secret-id", tenant="acme")
    stack.call("GET", "/jobs/acme.secret", tenant="acme")
    stack.call("GET", "/secret/elsewhere", roles=None)

    found = stats(stack)

    assert set(found["by_path"]) == {"/events/{event_id}", "/jobs/{job_id}", "/{proxy+}"}


def test_a_tenant_sees_its_own_requests_and_nobodys(stack: Stack) -> None:
    stack.publish(tenant="acme")
    stack.publish(tenant="acme")
    stack.publish(tenant="globex")
    stack.call("GET", "/events/recent", roles=None)
    tally.flush()

    # Each also sees its own question of a moment ago.
    assert stats(stack, tenant="acme")["by_status"] == {"200": 2, "401": 1}
    assert stats(stack, tenant="globex")["by_status"] == {"200": 1, "401": 1}
    assert stats(stack)["by_status"] == {"200": 5, "401": 1}


def test_who_sees_all_tenants_may_name_one_and_others_may_not(stack: Stack) -> None:
    stack.publish(tenant="acme")
    stack.publish(tenant="globex")

    assert stats(stack, tenant_id="acme")["by_path"] == {"/events/publish": 1}
    assert stats(stack, tenant_id="nobody")["total_requests"] == 0
    denied = stack.call(
        "GET", "/audit/stats", roles="agent", tenant="acme",
        query={"service": "ai-orchestrator", "tenant_id": "globex"},
    )  # fmt: skip
    assert denied.status == 403


def test_the_view_of_system_is_that_of_nobodys_requests_once(stack: Stack) -> None:
    stack.call("GET", "/ping", roles=None)

    assert stats(stack, tenant_id="system")["total_requests"] == 1


def test_a_service_has_its_own_figures(stack: Stack) -> None:
    for _ in range(2):
        tally.count("ai-orchestrator", "/orchestrate", 502, None)
    stack.call("GET", "/ping", roles=None)

    assert stats(stack, service="ai-orchestrator")["by_path"] == {"/orchestrate": 2}
    assert stats(stack, service="command-center")["by_path"] == {"/audit/stats": 1, "/ping": 1}
    assert stats(stack, service="crm")["total_requests"] == 0


def test_an_unknown_service_is_refused_with_the_list(stack: Stack) -> None:
    answer = stack.call("GET", "/audit/stats", query={"service": "billing"})

    assert answer.status == 422
    assert answer.body["errors"] == [
        {
            "pointer": "query/service",
            "detail": "must be one of command-center, ai-orchestrator, auto-heal, crm, "
            "notifications, console, got 'billing'",
        }
    ]


@pytest.mark.parametrize("service", [None, "command-center", "billing"])
def test_an_agent_sees_the_orchestrators_figures_alone(stack: Stack, service: str | None) -> None:
    query = {"service": service} if service else None

    denied = stack.call("GET", "/audit/stats", roles="agent", query=query)

    assert problem(denied) == (
        403,
        "Insufficient permissions. Required roles: operator, admin",
    )
    allowed = {"service": "ai-orchestrator"}
    assert stack.call("GET", "/audit/stats", roles="agent", query=allowed).status == 200


def test_a_viewer_sees_none(stack: Stack) -> None:
    query = {"service": "ai-orchestrator"}

    assert stack.call("GET", "/audit/stats", roles="viewer", query=query).status == 403


def test_counts_of_other_instances_are_in_the_answer(stack: Stack) -> None:
    stack.call("GET", "/ping", roles=None)
    tally.flush()
    boto3.client("dynamodb").update_item(
        TableName="control-test",
        Key={"pk": {"S": "*#requests"}, "sk": {"S": "command-center#/ping"}},
        UpdateExpression="ADD s200 :n",
        ExpressionAttributeValues={":n": {"N": "41"}},
    )

    assert stats(stack)["by_path"] == {"/ping": 42}


def test_counts_outlive_the_process(stack: Stack) -> None:
    stack.call("GET", "/ping", roles=None)
    stats(stack)
    # What this process had in memory.
    tally.forget()

    assert stats(stack)["by_path"]["/ping"] == 1


def test_ten_paths_are_shown_the_first_by_name_of_equals() -> None:
    found = summed(Tallied("crm", f"/p{n:02}", {200: 1 if n < 11 else 5}) for n in range(12))

    assert list(found.by_path) == ["/p11", *(f"/p{n:02}" for n in range(9))]
    assert found.total_requests == 16
