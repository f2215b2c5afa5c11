"""Every AWS call that a function makes in these tests is one that its policy in the template allows.

moto allows everything, and so does the local cloud unless it is asked not to: what a policy lacks
would else be found by the first user on AWS.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from threading import RLock
from types import FrameType
from typing import Any

from botocore.client import BaseClient

from tools.local import template

# The operations that are called otherwise in policies (Service Authorization Reference).
_ACTIONS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sns:PublishBatch": "sns:Publish",
}
_MEMBERS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem",
            "ConditionCheck": "ConditionCheckItem"}  # fmt: skip

refused: list[str] = []
_one_at_a_time = RLock()
_acting: list[str] = []


@contextmanager
def acting_as(function: str) -> Iterator[None]:
    """What is called meanwhile, the function of that logical id calls."""
    _acting.append(function)
    try:
        yield
    finally:
        _acting.pop()


def watch() -> None:
    """Look at every call from now on; what is not allowed is in `refused`."""
    client_class: Any = BaseClient
    send = client_class._make_api_call
    if getattr(send, "is_watched", False):
        return

    def watched(client: Any, operation: str, params: dict[str, Any]) -> Any:
        function = _acting[-1] if _acting else _function_of(sys._getframe(1))
        if function:
            service = str(client.meta.service_model.service_name)
            for action, resource, key in _wanted(service, operation, params):
                if not _allows(function, action, resource, key):
                    of = f" of {key}" if key else ""
                    refused.append(f"{function} may not {action} {resource}{of}")
        # moto's tables are plain dicts: two threads at once break them now and then.
        with _one_at_a_time:
            return send(client, operation, params)

    client_class._make_api_call = watched
    client_class._make_api_call.is_watched = True


def _wanted(service: str, operation: str, params: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The actions of a call, the table, the index or "" for what is no table, and the leading key that a
    policy's condition may be about."""
    if operation == "TransactWriteItems":
        for member in params["TransactItems"]:
            for kind, write in member.items():
                yield f"dynamodb:{_MEMBERS[kind]}", _table(write["TableName"]), _leading(write)
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        for name, wanted in params["RequestItems"].items():
            for key in _leading_of_many(wanted):
                yield f"dynamodb:{operation}", _table(name), key
    elif service == "dynamodb":
        index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
        yield f"dynamodb:{operation}", _table(params["TableName"]) + index, _leading(params)
    else:
        version = "Version" if operation == "DeleteObject" and "VersionId" in params else ""
        action = f"{service}:{operation}{version}"
        yield _ACTIONS.get(action, action), "", ""


def _leading(params: dict[str, Any]) -> str:
    """The value of the partition key that a call names; "" for a scan."""
    item = params.get("Item") or params.get("Key")
    if item:
        return str(item.get("pk", {}).get("S", ""))
    found = re.match(r"#?\w+ = (:\w+)", params.get("KeyConditionExpression", ""))
    values = params.get("ExpressionAttributeValues", {})
    return str(values.get(found[1], {}).get("S", "")) if found else ""


def _leading_of_many(wanted: Any) -> set[str]:
    if isinstance(wanted, dict):
        return {_leading({"Key": key}) for key in wanted["Keys"]}
    return {
        _leading({"Item": v.get("Item"), "Key": v.get("Key")}) for w in wanted for v in w.values()
    }


def _table(name: str) -> str:
    """`events-test` is EventsTable."""
    return f"{name.removesuffix('-test').capitalize()}Table"


@cache
def _allows(function: str, action: str, resource: str, key: str) -> bool:
    for policy in template.load()["Resources"][function]["Properties"].get("Policies", []):
        for statement in policy["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            named = resources if isinstance(resources, list) else [resources]
            if (
                action in ([actions] if isinstance(actions, str) else actions)
                and (not resource or any(_is(one, resource) for one in named))
                and _holds(statement.get("Condition", {}), key)
            ):
                return True
    return False


def _holds(condition: dict[str, Any], key: str) -> bool:
    """Conditions on the leading key; others are not looked at."""
    for operator, wanted in condition.items():
        patterns = wanted.get("dynamodb:LeadingKeys")
        if patterns is None:
            continue
        fits = fnmatchcase if operator.endswith("StringLike") else str.__eq__
        if not any(fits(key, pattern) for pattern in patterns):
            return False
    return True


def _is(named: dict[str, str], resource: str) -> bool:
    """`{"GetAtt": "EventsTable.Arn"}` is EventsTable, `{"Sub": "${EventsTable.Arn}/index/*"}` its
    indexes."""
    if "GetAtt" in named:
        return named["GetAtt"].removesuffix(".Arn") == resource
    pattern = re.sub(r"\$\{(\w+)\.Arn\}", r"\1", named.get("Sub", ""))
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), resource) is not None


def _function_of(frame: FrameType | None) -> str | None:
    """The function whose module is in the stack of calls; None of a test's own call."""
    while frame:
        found = _by_module().get(str(frame.f_globals.get("__name__")))
        if found and frame.f_code.co_name != "<module>":
            return found
        frame = frame.f_back
    return None


@cache
def _by_module() -> dict[str, str]:
    return {
        str(properties["Handler"]).removesuffix(".lambda_handler"): name
        for name, properties in template.of_type("AWS::Serverless::Function")
    }
