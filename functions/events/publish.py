"""HTTP edge of publishing. One AWS call for an event."""

from __future__ import annotations

from aetherlink.events.model import Published
from aetherlink.events.service import Publisher
from aetherlink.kernel.time import utc_now
from aetherlink.platform.http import By, create_app, serve
from aetherlink.wiring import event_store, keeping

app = create_app()
publisher = Publisher(event_store(), keeping(), utc_now)


# The body is taken as it is: what is wrong with an envelope has the contract's own answers.
@app.post("/events/publish", summary="Publish an event")
def publish(by: By) -> Published:
    return publisher.publish(by, app.current_event.json_body)


lambda_handler = serve(app, "command-center")
