"""Steps of events that come late: kept for as long as their own hits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3

from tests.component.conftest import Stack
from tests.component.test_alerts import made


def test_a_step_of_long_ago_is_kept_as_long_as_the_hits_that_it_adds_up(stack: Stack) -> None:
    made(stack, tenant="acme", event_type=None, measure="sum", field="payload.n", threshold=10,
         window_seconds=60)  # fmt: skip
    long_ago = datetime.now(UTC) - timedelta(hours=20)
    stack.publish("lead.created", tenant="acme", payload={"n": 4}, timestamp=long_ago.isoformat())
    stack.relay()

    kept = boto3.client("dynamodb").scan(TableName="projections-test")["Items"]
    ends = {
        kind: [int(item["expires_at"]["N"]) for item in kept if f"#{kind}#" in item["pk"]["S"]]
        for kind in ("hits", "steps")
    }
    assert len(ends["hits"]) == len(ends["steps"]) == 1
    # Else TTL takes the sum away while the hit still says that it was added.
    assert ends["steps"][0] >= ends["hits"][0] > datetime.now(UTC).timestamp()
