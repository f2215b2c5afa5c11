"""Many events at once: every one is answered, kept and listed, and none twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from tests.e2e.deployed import Answer, Api, envelope

EVENTS = 5_000
CONNECTIONS = 8


def test_five_thousand_events_over_eight_connections(api: Api, tenant: str, source: str) -> None:
    since = datetime.now(UTC).isoformat()
    wanted = [f"{source}-{number}" for number in range(EVENTS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = [wanted[n::CONNECTIONS] for n in range(CONNECTIONS)]
        answers = [
            answer
            for share in pool.map(lambda ids: _publish(api, tenant, source, ids), shares)
            for answer in share
        ]
    assert Counter(answer.status for answer in answers) == {200: EVENTS}
    assert all(answer.body["stored"] and not answer.body["duplicate"] for answer in answers)

    listed = api.own(tenant, since=since)
    assert Counter(event["event_id"] for event in listed) == Counter(wanted)
    assert [e["timestamp"] for e in listed] == sorted(
        (e["timestamp"] for e in listed), reverse=True
    )

    again = api.publish(tenant, source, event_id=wanted[EVENTS // 2], severity="info")
    assert again["duplicate"] is True
    assert len(api.own(tenant, since=since)) == EVENTS


def _publish(api: Api, tenant: str, source: str, ids: list[str]) -> list[Answer]:
    connection = api.connect()
    try:
        return [
            connection.call(
                "POST",
                "/events/publish",
                envelope(source, event_id=event_id, severity="info"),
                tenant=tenant,
            )
            for event_id in ids
        ]
    finally:
        connection.close()
