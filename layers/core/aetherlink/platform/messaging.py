"""SNS and SQS: the topic that announces, the queues that wait."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from aetherlink.platform.dynamo import call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sns.client import SNSClient
    from mypy_boto3_sqs.client import SQSClient

# SQS delays a message by 15 minutes at most; longer waits are chained.
MAX_DELAY_SECONDS = 900
# SNS takes 100 ASCII characters as a subject (for e-mail subscribers).
MAX_SUBJECT = 100


@cache
def _sns() -> SNSClient:
    return boto3.client("sns")


@cache
def _sqs() -> SQSClient:
    return boto3.client("sqs")


class Topic:
    def __init__(self, arn: str) -> None:
        self._arn = arn

    def publish(
        self,
        message: str,
        *,
        subject: str,
        attributes: Mapping[str, str],
        texts: Mapping[str, str],
    ) -> None:
        """Send to every subscriber; `texts` are in the stead of `message` for some protocols ("email",
        "sms"). Raises StorageError (try again) if SNS does not take it."""
        printable = "".join(c if " " <= c <= "~" else " " for c in subject)[:MAX_SUBJECT]
        typed: Any = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
        call(
            lambda: _sns().publish(
                TopicArn=self._arn,
                Message=json.dumps({"default": message, **texts}, ensure_ascii=False),
                MessageStructure="json",
                Subject=printable.strip() or "AetherLink",
                MessageAttributes=typed,
            )
        )


class Queue:
    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: str, *, delay_seconds: int = 0) -> None:
        """Enqueue, visible after a delay of at most 15 minutes. Raises StorageError if refused."""
        delay = min(max(delay_seconds, 0), MAX_DELAY_SECONDS)
        call(
            lambda: _sqs().send_message(QueueUrl=self._url, MessageBody=message, DelaySeconds=delay)
        )
