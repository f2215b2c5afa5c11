"""Where this deployment is reached from outside: what links in messages begin with.

In an SSM parameter, since a function's environment may not refer to the API that the function is
itself a part of; and whoever puts the API behind a domain of their own changes one value.
"""

from __future__ import annotations

import time

import boto3

from aetherlink.platform.dynamo import StorageError, call
from aetherlink.platform.telemetry import logger

# A change counts after so many seconds at the latest.
MAX_AGE = 60
_known: dict[str, tuple[float, str]] = {}


def public_url(name: str) -> str | None:
    """The API's URL without a slash at its end, as it was at most a minute ago; None if it cannot be
    had: then messages go without links rather than not at all."""
    if not name:
        return None
    read_at, url = _known.get(name, (None, ""))
    if read_at is not None and time.monotonic() - read_at < MAX_AGE:
        return url
    try:
        answer = call(lambda: boto3.client("ssm").get_parameter(Name=name))
    except StorageError:
        logger.exception("the API's URL could not be read", parameter=name)
        return url or None
    url = str(answer["Parameter"]["Value"]).rstrip("/")
    _known[name] = time.monotonic(), url
    return url
