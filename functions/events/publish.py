"""HTTP edge of publishing. One AWS call for an event."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Body

from aetherlink.events.model import Published
from aetherlink.events.service import Publisher
from aetherlink.kernel.time import utc_now
from aetherlink.platform.http import By, create_app, serve
from aetherlink.wiring import event_store, retention

app = create_app()
publisher = Publisher(event_store(), retention=retention(), now=utc_now)


# Any JSON, since what is wrong with an envelope has the contract's own answers (400, then 422).
@app.post("/events/publish", summary="Publish an event")
def publish(envelope: Annotated[Any, Body()], by: By) -> Published:
    return publisher.publish(by, envelope)


lambda_handler = serve(app, "command-center")
