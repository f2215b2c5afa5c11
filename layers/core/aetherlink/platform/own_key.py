"""A key of the deployment's own, made when it is first needed: nobody has to set one up.

pk  system#keys    sk  <what it is for>    (control table)
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from aetherlink.platform.boundary import within
from aetherlink.platform.dynamo import ConditionFailedError

if TYPE_CHECKING:
    from aetherlink.platform.dynamo import Table

_PARTITION = "system#keys"
_BYTES = 32


def own_key(table: Table, name: str) -> bytes:
    """The key for `name`, the same in every process. Removing its item makes another."""
    # Whoever's request asks first: the key is no tenant's, and nothing of it is shown.
    with within(None):
        return _key(table, name)


def _key(table: Table, name: str) -> bytes:
    item = table.get(_PARTITION, name)
    if item is None:
        made = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
        try:
            table.put(
                {"pk": _PARTITION, "sk": name, "key": made}, only_if="attribute_not_exists(pk)"
            )
        except ConditionFailedError:
            return _key(table, name)
        return base64.b64decode(made)
    return base64.b64decode(item["key"])
