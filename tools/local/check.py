"""Check the deployed stack against the template, part by part; name what is missing.

An emulator reports a successful deploy and leaves things out, so each is looked up by itself.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.local import template
from tools.local.place import STAGE
from tools.local.settle import outputs, resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Physical = dict[str, str]


def routes(physical: Physical) -> Iterator[str]:
    gateway = boto3.client("apigateway")
    pages = gateway.get_paginator("get_resources").paginate(
        restApiId=physical["Api"], embed=["methods"], PaginationConfig={"PageSize": 500}
    )
    found: dict[tuple[str, str], Any] = {}
    for page in pages:
        for item in page["items"]:
            for method in item.get("resourceMethods") or {}:
                found[method, item["path"]] = item["id"]
    for function, _, event in template.triggers("Api"):
        method, path = event["Method"].upper(), event["Path"]
        if (method, path) not in found:
            yield f"route: {method} {path}"
            continue
        integration = gateway.get_integration(
            restApiId=physical["Api"], resourceId=found[method, path], httpMethod=method
        )
        if physical[function] not in integration.get("uri", ""):
            yield f"route: {method} {path} does not lead to {function}"


def functions(physical: Physical) -> Iterator[str]:
    client = boto3.client("lambda")
    for name, _ in template.of_type("AWS::Serverless::Function"):
        try:
            found = client.get_function_configuration(FunctionName=physical[name])
            state = str(found.get("State") or "Active")
        except (ClientError, KeyError):
            state = "missing"
        if state != "Active":
            yield f"function: {name} ({state})"


def tables(physical: Physical) -> Iterator[str]:
    client = boto3.client("dynamodb")
    for name, properties in template.of_type("AWS::DynamoDB::Table"):
        table = client.describe_table(TableName=physical[name])["Table"]
        indexes = {index.get("IndexName") for index in table.get("GlobalSecondaryIndexes", [])}
        for index in properties.get("GlobalSecondaryIndexes", []):
            if index["IndexName"] not in indexes:
                yield f"index: {index['IndexName']} of {name}"
        if "StreamSpecification" in properties and not table.get("LatestStreamArn"):
            yield f"stream: of {name}"
        if "TimeToLiveSpecification" in properties:
            ttl = client.describe_time_to_live(TableName=physical[name])["TimeToLiveDescription"]
            wanted = properties["TimeToLiveSpecification"]["AttributeName"]
            is_on = ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
            if not is_on or ttl.get("AttributeName") != wanted:
                yield f"TTL: {wanted} of {name}"


def mappings(physical: Physical) -> Iterator[str]:
    client = boto3.client("lambda")
    for kind, source in (("DynamoDB", "Stream"), ("SQS", "Queue")):
        for function, event_name, event in template.triggers(kind):
            resource = template.referred(event[source])
            # A queue's physical id is its URL, a table's its name; both end in the name.
            name = physical[resource].rsplit("/", 1)[-1]
            found = client.list_event_source_mappings(FunctionName=physical[function])
            fits = [m for m in found["EventSourceMappings"] if name in m["EventSourceArn"]]
            if not fits:
                yield f"trigger: {function} {event_name} on {resource}"
            elif fits[0].get("State") not in ("Enabled", "Enabling", "Creating", "Updating"):
                yield f"trigger: {function} {event_name} on {resource} is {fits[0].get('State')}"


def schedules(physical: Physical) -> Iterator[str]:
    client = boto3.client("events")
    rules = [
        rule for page in client.get_paginator("list_rules").paginate() for rule in page["Rules"]
    ]
    for function, event_name, event in template.triggers("Schedule"):
        logical = f"{function}{event_name}"
        rule = next((r for r in rules if r["Name"] == physical.get(logical)), None)
        if rule is None or rule["State"] != "ENABLED":
            yield f"schedule: {logical}"
            continue
        if rule.get("ScheduleExpression") != event["Schedule"]:
            yield f"schedule: {logical} is not {event['Schedule']}"
        targets = client.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        if not any(physical[function] in target["Arn"] for target in targets):
            yield f"schedule: {logical} has no target {function}"


def subscriptions(physical: Physical) -> Iterator[str]:
    client = boto3.client("sns")
    for name, properties in template.of_type("AWS::SNS::Subscription"):
        topic = physical[template.referred(properties["TopicArn"])]
        queue = physical[template.referred(properties["Endpoint"])].rsplit("/", 1)[-1]
        found = client.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        fits = [s for s in found if s["Endpoint"].endswith(f":{queue}")]
        if not fits:
            yield f"subscription: {name}"
            continue
        arn = fits[0]["SubscriptionArn"]
        attributes = client.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        if attributes.get("RawMessageDelivery", "false").lower() != "true":
            yield f"subscription: {name} is not raw"


def queues(physical: Physical) -> Iterator[str]:
    client = boto3.client("sqs")
    for name, properties in template.of_type("AWS::SQS::Queue"):
        try:
            found = client.get_queue_attributes(QueueUrl=physical[name], AttributeNames=["All"])
        except ClientError:
            yield f"queue: {name}"
            continue
        policy = json.loads(found["Attributes"].get("RedrivePolicy", "{}"))
        if "RedrivePolicy" in properties:
            wanted = properties["RedrivePolicy"]
            dead = physical[template.referred(wanted["deadLetterTargetArn"])].rsplit("/", 1)[-1]
            if not str(policy.get("deadLetterTargetArn", "")).endswith(f":{dead}"):
                yield f"dead-letter queue: of {name}"


def gateway_responses(physical: Physical) -> Iterator[str]:
    client = boto3.client("apigateway")
    for name, properties in template.of_type("AWS::Serverless::Api"):
        for kind, wanted in properties.get("GatewayResponses", {}).items():
            found = client.get_gateway_response(restApiId=physical[name], responseType=kind)
            if found.get("responseTemplates") != wanted["ResponseTemplates"]:
                yield f"gateway response: {kind}"


def log_groups(physical: Physical) -> Iterator[str]:
    pages = boto3.client("logs").get_paginator("describe_log_groups").paginate()
    found = {group["logGroupName"] for page in pages for group in page["logGroups"]}
    for name, _ in template.of_type("AWS::Logs::LogGroup"):
        if physical.get(name) not in found:
            yield f"log group: {name}"


def answer(_physical: Physical) -> Iterator[str]:
    url = f"{os.environ['AWS_ENDPOINT_URL']}/restapis/{outputs()['ApiId']}/{STAGE}"
    url += "/_user_request_/ping"
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            if response.status != 200:
                yield f"answer: GET /ping says {response.status}"
    except urllib.error.HTTPError as error:
        yield f"answer: GET /ping says {error.code}: {error.read()[:300]!r}"
    except OSError as error:
        yield f"answer: GET /ping: {error}"


def chain(physical: Physical) -> Iterator[str]:
    """What stands between an event and a webhook runs, if with nothing to do, and is warm afterwards; the
    healer does its minute, so that the platform's own parts are registered."""
    nothing: dict[str, Any] = {"Records": []}
    given = {"EventsRelay": nothing, "NotifyDispatcher": nothing, "Healer": {}}
    for name, event in given.items():
        answer = boto3.client("lambda").invoke(
            FunctionName=physical[name], Payload=json.dumps(event).encode()
        )
        said = answer["Payload"].read().decode()
        if "FunctionError" in answer:
            yield f"function {name}: cannot run: {said[:300]}"


CHECKS: tuple[Callable[[Physical], Iterator[str]], ...] = (
    routes, functions, tables, mappings, schedules, subscriptions, queues, gateway_responses,
    log_groups, answer, chain,
)  # fmt: skip


def missing() -> list[str]:
    """What the deployed stack lacks, each with its kind and name; empty if nothing."""
    physical = resources()
    return [f"missing {lack}" for check in CHECKS for lack in check(physical)]


def main() -> int:
    try:
        lacks = missing()
    except (ClientError, BotoCoreError, KeyError) as error:
        print(f"The deployed stack could not be checked: {type(error).__name__}: {error}")
        return 1
    if lacks:
        # A deploy leaves alone what the template has not changed since the last one.
        print(
            "The deployed stack is not what the template says. Run `make up` again; if that does not "
            "help, `make clean` and `make up` (deletes the local state). Not as it should be:"
        )
        print("\n".join(f"  {lack}" for lack in lacks))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
