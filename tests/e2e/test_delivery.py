"""Alerts reach a webhook that is broken for a while, and wait for one that refuses them for good.

The local stack's retries come after 1, 2, 5, 10, 20, 40 and 60 seconds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.e2e.deployed import Api, Aws, make, unique, wait_for
from tests.e2e.receiver import HANG, HANG_SECONDS

if TYPE_CHECKING:
    from tests.e2e.conftest import RuleMaker
    from tests.e2e.receiver import Receiver


def test_a_receiver_that_answers_500_gets_the_alert_again(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    receiver.answer_next(source, 500, 500)
    make_rule(tenant, source)
    api.publish(tenant, source)
    wait_for(lambda: receiver.delivered(source), 20, "the third attempt")
    got = receiver.with_text(source)
    assert [request.status for request in got] == [500, 500, 200]
    assert len({request.headers["webhook-id"] for request in got}) == 1
    assert len({request.text for request in got}) == 1
    waits = [(b.at - a.at).total_seconds() for a, b in pairwise(got)]
    assert waits[0] >= 0.9
    assert waits[1] >= 1.9


def test_a_receiver_that_is_down_gets_the_alert_when_it_is_up(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    receiver.close()
    rule = make_rule(tenant, source)
    api.publish(tenant, source)
    wait_for(lambda: api.alerts(tenant, rule["id"]), 10, "the alert was raised")
    receiver.open()
    wait_for(lambda: receiver.delivered(source), 30, "it arrived all the same")
    _settled(api, tenant, receiver, make_rule)
    assert len(receiver.with_text(source)) == 1


def test_a_receiver_that_hangs_gets_the_alert_again(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    receiver.answer_next(source, HANG)
    make_rule(tenant, source)
    api.publish(tenant, source)
    wait_for(lambda: receiver.delivered(source), 30, "the second attempt")
    hung, delivered = receiver.with_text(source)
    assert hung.headers["webhook-id"] == delivered.headers["webhook-id"]
    # It was left before it gave up by itself.
    assert (delivered.at - hung.at).total_seconds() < HANG_SECONDS


def test_an_alert_that_is_refused_for_good_waits_for_a_redrive(
    api: Api,
    aws: Aws,
    stack: dict[str, Any],
    tenant: str,
    source: str,
    receiver: Receiver,
    make_rule: RuleMaker,
) -> None:
    dead = stack["outputs"]["NotificationsDeadLetterUrl"]
    receiver.answer_always(source, 400)
    rule = make_rule(tenant, source)
    api.publish(tenant, source)
    failed = wait_for(lambda: _failures(api, tenant, rule["id"]), 20, "the delivery was given up")
    [told] = failed
    assert told["severity"] == "error"
    assert told["payload"]["attempts"] == 1
    assert told["payload"]["last_status"] == 400
    delivery = told["payload"]["delivery_id"]
    assert delivery in _deliveries(aws, dead)
    # Once, since a 400 is no "not now".
    assert len(receiver.with_text(source)) == 1

    # Refused again, it is given up again: it is never lost, and the redrive comes to an end.
    again = make("redrive")
    assert again.returncode == 0, again.stdout + again.stderr
    wait_for(lambda: len(_failures(api, tenant, rule["id"])) == 2, 20, "given up once more")
    assert _deliveries(aws, dead).count(delivery) == 1

    receiver.reset()
    redriven = make("redrive")
    assert redriven.returncode == 0, redriven.stdout + redriven.stderr
    [delivered] = wait_for(lambda: receiver.delivered(source), 20, "the redriven alert")
    first = receiver.with_text(source)[0]
    assert delivered.headers["webhook-id"] == first.headers["webhook-id"]
    assert delivered.text == first.text
    assert delivery not in _deliveries(aws, dead)


def _failures(api: Api, tenant: str, rule_id: str) -> list[Any]:
    found = api.recent(tenant, event_type="ops.alert.delivery.failed")
    return [event for event in found if event["payload"]["rule_id"] == rule_id]


def _deliveries(aws: Aws, dead: str) -> list[str]:
    return [body["delivery_id"] for body in aws.bodies(dead) if "delivery_id" in body]


def _settled(api: Api, tenant: str, receiver: Receiver, make_rule: RuleMaker) -> None:
    """A later alert has arrived, hence whatever a first one made twice would have, too."""
    later = unique("later")
    make_rule(tenant, later)
    api.publish(tenant, later)
    wait_for(lambda: receiver.with_text(later), 20, "the later alert")
