"""HTTP edge of publishing: one event, many, and CloudEvents. One AWS call for an event."""

from __future__ import annotations

from time import monotonic

from aws_lambda_powertools.event_handler import Response

from aetherlink.events import batch, cloudevents
from aetherlink.events.batch import Batch
from aetherlink.events.keyed import Keyed
from aetherlink.events.model import Published
from aetherlink.events.service import Publisher
from aetherlink.kernel.time import utc_now
from aetherlink.platform.http import (
    AsSent,
    By,
    answered,
    create_app,
    item_problem,
    parse_json,
    serve,
)
from aetherlink.platform.idempotency import key_in
from aetherlink.wiring import catalogue, event_store, keeping

app = create_app()
publisher = Publisher(event_store(), catalogue(), keeping(), utc_now)
admission = cloudevents.Admission(publisher, parse_json)


# The body is taken as it is: what is wrong with an envelope has the contract's own answers.
@app.post("/events/publish", summary="Publish an event")
def publish(by: By, sent: AsSent) -> Published:
    body, key = app.current_event.json_body, key_in(sent.headers)
    return (Keyed(publisher, by, "publish", key) if key else publisher).publish(by, body)


@app.post("/events/batch", summary="Publish up to 500 events; 207 where some were not taken")
def publish_batch(by: By, sent: AsSent) -> Response[Batch]:
    bodies, key = batch.events_in(parse_json(sent.text)), key_in(sent.headers)
    keyed = Keyed(publisher, by, "batch", key) if key else None
    named = keyed.named(bodies) if keyed else bodies
    done = batch.publish_all(keyed or publisher, by, named, monotonic=monotonic)
    shown = batch.answer(done, item_problem)
    return answered(shown, 207 if shown.failed else 200)


@app.post("/events/cloudevents", summary="Publish CloudEvents 1.0: binary, structured or a batch")
def publish_cloudevents(by: By, sent: AsSent) -> Response[Published | Batch]:
    received = cloudevents.decode(sent.headers, sent.content_type, sent.text, parse_json)
    if not received.is_batch:
        return answered(admission.publish(by, received.events[0]), 202)
    done = batch.publish_all(admission, by, received.events, monotonic=monotonic, id_field="id")
    shown = batch.answer(done, item_problem)
    return answered(shown, 207 if shown.failed else 202)


lambda_handler = serve(app, "command-center", keys_may_be_cached=True)
