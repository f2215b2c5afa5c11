"""Send again what ended in a dead-letter queue or was set aside.

    make redrive                                    the local stack
    python -m tools.local.redrive [STACK]           a stack on AWS, by the credentials at hand (boto3)

Deliveries that were given up go back to their queue, where the first attempt is made at once. Event
records that the relay could not read go through it once more; those that fail again are set aside
again. Steps of jobs go back to the jobs queue, and the work goes on where it stopped. The keeper is
run once if any of its runs failed. Failed evaluator runs need nothing: the next minute's run does
their work, so they are dropped.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3

from tools.local.place import STACK

# Long enough to deal with a full queue; until then nobody else receives what we have in hand.
HELD_SECONDS = 900


def received(queue_url: str) -> list[dict[str, Any]]:
    """What a queue holds now; the caller deletes what it has dealt with.

    All of it before any is dealt with: what fails again comes back to the queue as a new message, and
    must wait for the next redrive.
    """
    sqs, found = boto3.client("sqs"), dict[str, dict[str, Any]]()
    while messages := sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=HELD_SECONDS,
        WaitTimeSeconds=1,
    ).get("Messages"):
        found.update((message["MessageId"], dict(message)) for message in messages)
    return list(found.values())


def deliveries(outputs: dict[str, str]) -> int:
    sqs, moved = boto3.client("sqs"), 0
    dead = outputs["NotificationsDeadLetterUrl"]
    for message in received(dead):
        sqs.send_message(QueueUrl=outputs["NotificationsQueueUrl"], MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return moved


def jobs(outputs: dict[str, str], queue: str) -> int:
    sqs, moved = boto3.client("sqs"), 0
    dead = outputs["JobsDeadLetterUrl"]
    for message in received(dead):
        sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return moved


def keeper_runs(outputs: dict[str, str], keeper: str) -> int:
    """How many failed runs of the keeper there were; a single one makes up for all of them."""
    sqs, dead = boto3.client("sqs"), outputs["KeeperDeadLetterUrl"]
    messages = received(dead)
    if messages:
        # It runs for minutes: nobody waits for it, and what fails again comes back to the queue.
        boto3.client("lambda").invoke(FunctionName=keeper, InvocationType="Event", Payload=b"{}")
    for message in messages:
        sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
    return len(messages)


def records(outputs: dict[str, str], relay: str) -> tuple[int, int]:
    """How many event records went through the relay, and how many did not."""
    sqs, done, failed = boto3.client("sqs"), 0, 0
    aside = outputs["RelayAsideUrl"]
    for message in received(aside):
        # One that was removed meanwhile needs nothing more.
        keys = [k for k in _keys(json.loads(message["Body"])) if _is_there(outputs, k)]
        payload = json.dumps({"redrive": keys}).encode()
        answer = boto3.client("lambda").invoke(FunctionName=relay, Payload=payload)
        result = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            print(f"The relay failed on {keys}: {result}; the message stays where it is")
            sqs.change_message_visibility(
                QueueUrl=aside, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
            failed += len(keys)
            continue
        sqs.delete_message(QueueUrl=aside, ReceiptHandle=message["ReceiptHandle"])
        done += result["redriven"]
        failed += len(result["failed"])
    return done, failed


def _is_there(outputs: dict[str, str], key: dict[str, str]) -> bool:
    found = boto3.client("dynamodb").get_item(
        TableName=outputs["EventsTableName"],
        Key={name: {"S": value} for name, value in key.items()},
        ProjectionExpression="pk",
        ConsistentRead=True,
    )
    return "Item" in found


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

    def physical(resource: str) -> str:
        found = cloudformation.describe_stack_resource(StackName=name, LogicalResourceId=resource)
        return found["StackResourceDetail"]["PhysicalResourceId"]

    print(f"deliveries sent again: {deliveries(outputs)}")
    done, failed = records(outputs, physical("EventsRelay"))
    print(f"event records relayed: {done}, set aside again: {failed}")
    # The id of a queue is its URL.
    print(f"steps of jobs sent again: {jobs(outputs, physical('Jobs'))}")
    print(f"keeper runs made up for: {keeper_runs(outputs, physical('RetentionKeeper'))}")
    # The next run of each does the same work.
    for queue in ("EvaluatorDeadLetterUrl", "SealerDeadLetterUrl", "HealerDeadLetterUrl"):
        boto3.client("sqs").purge_queue(QueueUrl=outputs[queue])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
