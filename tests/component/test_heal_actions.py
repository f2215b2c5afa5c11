"""The actions: a hook as a receiver sees it, and AWS as moto sees it."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from standardwebhooks import Webhook

from aetherlink.heal.actions import Actions, aws
from aetherlink.heal.actions.hook import Hook
from aetherlink.heal.model import Pending, Target
from aetherlink.heal.service import target_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import utc_now
from aetherlink.notify.signing import new_secret
from aetherlink.platform.outbound import Outbound, parse_allow_list
from aetherlink.registry.model import Registration, admit
from aetherlink.registry.plan import ActionKind, Targets
from tests.component.test_dispatcher import Receiver, receiver

__all__ = ["receiver"]

NOW = datetime.now(UTC)
ATTEMPT = Pending("attempt-1", NOW, "x", NOW + timedelta(seconds=60))


def target(plan: dict[str, Any], secret: str | None = None) -> Target:
    registration = Registration.model_validate(
        {"name": "billing", "url": "https://billing.example", "heal": plan}
    )
    return target_of(
        admit(
            registration,
            TenantId("acme"),
            seen_at=NOW,
            earlier=None,
            token_hash=None,
            heal_secret=secret,
        )
    )


def actions(allowed: str = "") -> Actions:
    hook = Hook(Outbound(parse_allow_list("127.0.0.0/8")), utc_now)
    kinds: dict[ActionKind, Any] = {
        ActionKind.HTTP: hook,
        ActionKind.ECS: aws.EcsDeployment(),
        ActionKind.LAMBDA: aws.LambdaFunction(),
        ActionKind.SSM: aws.SsmAutomation(),
    }
    return Actions(kinds, Targets(allowed))


def test_a_hook_is_signed_and_names_the_attempt(receiver: Receiver) -> None:
    secret = new_secret()
    done = actions().act(target({"action": "http", "url": receiver.url}, secret), ATTEMPT)

    assert (done.is_taken, done.said) == (True, "the hook answered 200")
    ((headers, _),), (body,) = receiver.got, receiver.raw
    assert headers["webhook-id"] == "attempt-1"
    Webhook(secret).verify(body, headers)
    assert json.loads(body)["data"] == {
        "service": "billing", "tenant_id": "acme", "attempt_id": "attempt-1", "action": "http",
    }  # fmt: skip


def test_a_hook_that_cannot_be_reached_says_so_and_raises_nothing() -> None:
    done = actions().act(target({"action": "http", "url": "http://127.0.0.1:9/"}), ATTEMPT)

    assert not done.is_taken
    assert "refused the connection" in done.said


@pytest.fixture
def account() -> Iterator[None]:
    # Without Docker, Lambda is asked and says yes.
    with mock_aws(config={"lambda": {"use_docker": False}}):
        aws._client.cache_clear()
        yield
    aws._client.cache_clear()


@pytest.mark.usefixtures("account")
def test_ecs_deploys_the_service_anew() -> None:
    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName="shop")
    container: Any = {"name": "web", "image": "x", "memory": 128}
    ecs.register_task_definition(family="web", containerDefinitions=[container])
    ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=1)
    plan = {"action": "ecs", "cluster": "shop", "service": "web"}
    done = actions("acme=ecs:shop/web").act(target(plan), ATTEMPT)

    assert (done.is_taken, done.said) == (True, "ECS deploys web anew")


@pytest.mark.usefixtures("account")
def test_lambda_is_invoked() -> None:
    role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}", Path="/")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("f.py", "def handler(event, context): return event")
    boto3.client("lambda").create_function(
        FunctionName="fix", Runtime="python3.12", Role=role["Role"]["Arn"], Handler="f.handler",
        Code={"ZipFile": archive.getvalue()},
    )  # fmt: skip
    sent: list[dict[str, Any]] = []
    events = aws._client("lambda").meta.events
    events.register(
        "provide-client-params.lambda.Invoke", lambda params, **_: sent.append(dict(params))
    )
    done = actions("acme=lambda:fix").act(target({"action": "lambda", "function": "fix"}), ATTEMPT)

    assert (done.is_taken, done.said) == (True, "Lambda runs fix")
    assert (sent[0]["FunctionName"], sent[0]["InvocationType"]) == ("fix", "Event")
    assert json.loads(sent[0]["Payload"])["data"]["attempt_id"] == "attempt-1"


@pytest.mark.usefixtures("account")
def test_ssm_starts_an_automation_once_for_an_attempt() -> None:
    sent: list[dict[str, Any]] = []
    events = aws._client("ssm").meta.events
    events.register(
        "provide-client-params.ssm.StartAutomationExecution",
        lambda params, **_: sent.append(dict(params)),
    )
    plan = {"action": "ssm", "document": "Restart", "parameters": {"InstanceId": ["i-1"]}}
    actions("acme=ssm:Restart").act(target(plan), ATTEMPT)

    token = sent[0].pop("ClientToken")
    assert sent[0] == {"DocumentName": "Restart", "Parameters": {"InstanceId": ["i-1"]}}
    assert str(uuid.UUID(token)) == token
    actions("acme=ssm:Restart").act(target(plan), ATTEMPT)
    assert sent[1]["ClientToken"] == token


@pytest.mark.usefixtures("account")
def test_what_aws_refuses_is_said() -> None:
    plan = {"action": "ecs", "cluster": "none", "service": "web"}
    done = actions("acme=ecs:none/web").act(target(plan), ATTEMPT)

    assert not done.is_taken
    assert done.said == "ECS refused: ClusterNotFoundException"


def test_what_the_parameter_does_not_name_may_not_be_acted_on() -> None:
    plan = {"action": "lambda", "function": "fix"}

    assert "HealTargets" in str(actions().why_not(target(plan)))
    assert actions("acme=lambda:fix").why_not(target(plan)) is None
