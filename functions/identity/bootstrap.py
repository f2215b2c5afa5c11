"""The first admin's key. No route leads here: the account's IAM decides who may invoke it."""

from __future__ import annotations

from typing import Any

from aetherlink.identity.bootstrap import Wanted, first_key
from aetherlink.platform import auditing
from aetherlink.platform.telemetry import logger
from aetherlink.wiring import keys as build

keys = build()


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    made = first_key(keys, Wanted.model_validate(event or {}))
    key = made["key"]
    auditing.append_own(
        "bootstrap", "bootstrap", f"key/{key['key_id']}", key["tenant_id"] or "system", key
    )
    logger.info("first key made", key_id=key["key_id"], roles=key["roles"])
    return made
