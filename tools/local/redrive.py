"""Send again what ended in a dead-letter queue or was set aside.

    make redrive                                    the local stack
    python -m tools.local.redrive [STACK]           a stack on AWS, by the credentials at hand (boto3)

Deliveries that were given up go back to their queue, where the first attempt is made at once. Event
records that the relay could not read go through it once more; those that fail again are set aside
again. Failed evaluator runs need nothing: the next minute's run does their work, so they are dropped.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import boto3

from tools.local.place import STACK

if TYPE_CHECKING:
    from collections.abc import Iterator


def received(queue_url: str) -> Iterator[dict[str, Any]]:
    """Each message of a queue once; the caller deletes what it has dealt with."""
    sqs, seen = boto3.client("sqs"), set[str]()
    while messages := sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=60, WaitTimeSeconds=1
    ).get("Messages"):
        fresh = [m for m in messages if m["MessageId"] not in seen]
        if not fresh:
            return
        for message in fresh:
            seen.add(message["MessageId"])
            yield dict(message)


def deliveries(outputs: dict[str, str]) -> int:
    sqs, moved = boto3.client("sqs"), 0
    dead = outputs["NotificationsDeadLetterUrl"]
    for message in received(dead):
        sqs.send_message(QueueUrl=outputs["NotificationsQueueUrl"], MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return moved


def records(outputs: dict[str, str], relay: str) -> tuple[int, int]:
    """How many event records went through the relay, and how many were set aside once more."""
    sqs, done, failed = boto3.client("sqs"), 0, 0
    for message in received(outputs["RelayAsideUrl"]):
        keys = _keys(json.loads(message["Body"]))
        payload = json.dumps({"redrive": keys}).encode()
        answer = boto3.client("lambda").invoke(FunctionName=relay, Payload=payload)
        result = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            print(f"The relay failed on {keys}: {result}; the message stays where it is")
            continue
        sqs.delete_message(
            QueueUrl=outputs["RelayAsideUrl"], ReceiptHandle=message["ReceiptHandle"]
        )
        done += result["redriven"]
        failed += len(result["failed"])
    return done, failed


def _keys(body: dict[str, Any]) -> list[dict[str, str]]:
    """The keys in a message: ours, or AWS's own for a batch that failed to the end.

    AWS names a range of the stream rather than keys; the records are read from there while it has
    them (a day).
    """
    if "pk" in body:
        return [{"pk": body["pk"], "sk": body["sk"]}]
    batch = body["DDBStreamBatchInfo"]
    streams = boto3.client("dynamodbstreams")
    start = streams.get_shard_iterator(
        StreamArn=batch["streamArn"],
        ShardId=batch["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=batch["startSequenceNumber"],
    )["ShardIterator"]
    found = streams.get_records(ShardIterator=start, Limit=int(batch["batchSize"]))["Records"]
    keys = [record["dynamodb"]["Keys"] for record in found]
    return [{"pk": key["pk"]["S"], "sk": key["sk"]["S"]} for key in keys]


def main(arguments: list[str]) -> int:
    name = arguments[0] if arguments else STACK
    cloudformation = boto3.client("cloudformation")
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
    relay = cloudformation.describe_stack_resource(StackName=name, LogicalResourceId="EventsRelay")[
        "StackResourceDetail"
    ]["PhysicalResourceId"]
    print(f"deliveries sent again: {deliveries(outputs)}")
    done, failed = records(outputs, relay)
    print(f"event records relayed: {done}, set aside again: {failed}")
    boto3.client("sqs").purge_queue(QueueUrl=outputs["EvaluatorDeadLetterUrl"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
