"""Where this deployment is reached from outside: what links in messages begin with.

In an SSM parameter, since a function's environment may not refer to the API that the function is
itself a part of; and whoever puts the API behind a domain of their own changes one value.
"""

from __future__ import annotations

from functools import cache

import boto3

from aetherlink.platform.dynamo import StorageError, call
from aetherlink.platform.telemetry import logger


@cache
def _read(name: str) -> str:
    answer = call(lambda: boto3.client("ssm").get_parameter(Name=name))
    return str(answer["Parameter"]["Value"]).rstrip("/")


def public_url(name: str) -> str | None:
    """The API's URL without a slash at its end, as long as this process lives; None if it cannot be
    had: then messages go without links rather than not at all."""
    if not name:
        return None
    try:
        return _read(name)
    except StorageError:
        logger.exception("the API's URL could not be read", parameter=name)
        return None
