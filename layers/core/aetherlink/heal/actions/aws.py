"""Acting on AWS: a new deployment of an ECS service, a Lambda function, an SSM Automation.

Each needs its own permission, which the template grants only for what its parameter names (HealEcsServices,
HealLambdaFunctions, HealSsmDocuments); parameter HealTargets says which tenant may use which of them.
"""

from __future__ import annotations

import json
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from aetherlink.heal.actions import Done
from aetherlink.kernel.ids import digest
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.heal.model import Pending, Target
    from aetherlink.registry.plan import HealPlan

# A healer's minute is short; what was not taken on is tried again by the policy, not by the client.
_SETTINGS = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)


@cache
def _client(name: str) -> Any:
    return boto3.client(name, config=_SETTINGS)  # type: ignore[call-overload]


class EcsDeployment:
    """ECS replaces the tasks one by one, as the service's deployment configuration says."""

    def act(self, target: Target, plan: HealPlan, attempt: Pending) -> Done:  # noqa: ARG002 - one shape
        def call() -> str:
            answer = _client("ecs").update_service(
                cluster=plan.cluster, service=plan.service, forceNewDeployment=True
            )
            return f"ECS deploys {answer['service']['serviceName']} anew"

        return _done("ECS", call)


class LambdaFunction:
    """Asynchronously: Lambda takes it on at once, and does it twice more if it fails."""

    def act(self, target: Target, plan: HealPlan, attempt: Pending) -> Done:
        payload = {
            "type": "autoheal.attempted",
            "timestamp": to_text(attempt.at),
            "data": {
                "service": target.name,
                "tenant_id": target.tenant_id,
                "attempt_id": attempt.id,
            },
        }

        def call() -> str:
            _client("lambda").invoke(
                FunctionName=plan.function,
                InvocationType="Event",
                Payload=json.dumps(payload).encode(),
            )
            return f"Lambda runs {plan.function}"

        return _done("Lambda", call)


class SsmAutomation:
    """`ClientToken`, which has to be a UUID, makes it once for an attempt, however often it is asked."""

    def act(self, target: Target, plan: HealPlan, attempt: Pending) -> Done:  # noqa: ARG002 - one shape
        def call() -> str:
            answer = _client("ssm").start_automation_execution(
                DocumentName=plan.document,
                Parameters=plan.parameters,
                ClientToken=str(uuid.UUID(hex=digest(attempt.id, length=32))),
            )
            return f"SSM runs {plan.document} as {answer['AutomationExecutionId']}"

        return _done("SSM", call)


def _done(who: str, call: Callable[[], str]) -> Done:
    try:
        return Done(is_taken=True, said=call())
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "?")
        return Done(is_taken=False, said=f"{who} refused: {code}")
    except BotoCoreError as error:
        return Done(is_taken=False, said=f"{who} could not be reached: {type(error).__name__}")
