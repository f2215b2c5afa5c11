"""The check of the deployed stack names whatever is taken away from it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.deployed import Aws, wait_for
from tools.local.place import LOCAL, ROOT, emulator_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Physical = dict[str, str]

pytestmark = pytest.mark.alone


@contextmanager
def no_route(aws: Aws, physical: Physical) -> Iterator[None]:
    gateway, api, path = aws("apigateway"), physical["Api"], "/ops/services/{name}"
    pages = gateway.get_paginator("get_resources").paginate(restApiId=api)
    resource = next(i["id"] for page in pages for i in page["items"] if i["path"] == path)
    which = {"restApiId": api, "resourceId": resource, "httpMethod": "DELETE"}
    method, leads_to = gateway.get_method(**which), gateway.get_integration(**which)
    gateway.delete_method(**which)
    try:
        yield
    finally:
        gateway.put_method(**which, authorizationType=method["authorizationType"])
        gateway.put_integration(
            **which,
            type=leads_to["type"],
            uri=leads_to["uri"],
            integrationHttpMethod=leads_to.get("httpMethod", "POST"),
        )


@contextmanager
def no_trigger(aws: Aws, physical: Physical, function: str) -> Iterator[None]:
    client = aws("lambda")
    [mapping] = client.list_event_source_mappings(FunctionName=physical[function])[
        "EventSourceMappings"
    ]

    def switch(*, enabled: bool) -> None:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
        wanted = "Enabled" if enabled else "Disabled"
        wait_for(
            lambda: client.get_event_source_mapping(UUID=mapping["UUID"])["State"] == wanted, 60
        )

    switch(enabled=False)
    try:
        yield
    finally:
        switch(enabled=True)


@contextmanager
def no_ttl(aws: Aws, physical: Physical) -> Iterator[None]:
    dynamodb = aws("dynamodb")

    def switch(*, enabled: bool) -> None:
        dynamodb.update_time_to_live(
            TableName=physical["EventsTable"],
            TimeToLiveSpecification={"Enabled": enabled, "AttributeName": "expires_at"},
        )

    switch(enabled=False)
    try:
        yield
    finally:
        switch(enabled=True)


@contextmanager
def no_subscription(aws: Aws, physical: Physical) -> Iterator[None]:
    sns, topic = aws("sns"), physical["AlertsTopic"]
    [found] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    given = sns.get_subscription_attributes(SubscriptionArn=found["SubscriptionArn"])["Attributes"]
    kept = {
        name: given[name]
        for name in ("RawMessageDelivery", "RedrivePolicy", "FilterPolicy")
        if given.get(name)
    }
    sns.unsubscribe(SubscriptionArn=found["SubscriptionArn"])
    try:
        yield
    finally:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=found["Endpoint"], Attributes=kept)


@contextmanager
def no_raw_messages(aws: Aws, physical: Physical) -> Iterator[None]:
    sns = aws("sns")
    found = sns.list_subscriptions_by_topic(TopicArn=physical["AlertsTopic"])["Subscriptions"]

    def switch(value: str) -> None:
        sns.set_subscription_attributes(
            SubscriptionArn=found[0]["SubscriptionArn"],
            AttributeName="RawMessageDelivery",
            AttributeValue=value,
        )

    switch("false")
    try:
        yield
    finally:
        switch("true")


@contextmanager
def no_schedule(aws: Aws, physical: Physical) -> Iterator[None]:
    events, rule = aws("events"), physical["AlertsEvaluatorEveryMinute"]
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


@contextmanager
def no_target(aws: Aws, physical: Physical) -> Iterator[None]:
    events, rule = aws("events"), physical["AlertsEvaluatorEveryMinute"]
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
    try:
        yield
    finally:
        events.put_targets(Rule=rule, Targets=targets)


@contextmanager
def no_dead_letters(aws: Aws, physical: Physical) -> Iterator[None]:
    sqs, queue = aws("sqs"), physical["Notifications"]
    kept = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": ""})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=kept)


if TYPE_CHECKING:
    Removal = Callable[[Aws, Physical], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("remove", "named"),
    [
        (no_route, "route: DELETE /ops/services/{name}"),
        (
            lambda a, p: no_trigger(a, p, "EventsRelay"),
            "trigger: EventsRelay Stream on EventsTable",
        ),
        (
            lambda a, p: no_trigger(a, p, "NotifyDispatcher"),
            "trigger: NotifyDispatcher Queue on Notifications",
        ),
        (no_ttl, "TTL: expires_at of EventsTable"),
        (no_subscription, "subscription: AlertsTopicToNotifications"),
        (no_raw_messages, "subscription: AlertsTopicToNotifications is not raw"),
        (no_schedule, "schedule: AlertsEvaluatorEveryMinute"),
        (no_target, "schedule: AlertsEvaluatorEveryMinute has no target AlertsEvaluator"),
        (no_dead_letters, "dead-letter queue: of Notifications"),
    ],
    ids=["route", "stream", "queue", "ttl", "subscription", "raw", "schedule", "target", "dead"],
)
def test_what_is_missing_is_named(
    aws: Aws, stack: dict[str, Any], remove: Removal, named: str
) -> None:
    assert _check(stack) == (0, "")
    with remove(aws, aws.resources()):
        status, said = _check(stack)
    assert status == 1
    lines = [line.strip() for line in said.splitlines()[1:]]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"missing {named}")
    assert _check(stack) == (0, "")


def _check(stack: dict[str, Any]) -> tuple[int, str]:
    done = subprocess.run(
        [LOCAL / "venvs" / "cloud" / "bin" / "python", "-m", "tools.local.check"],
        cwd=ROOT,
        env=emulator_environment(stack["endpoint_url"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
