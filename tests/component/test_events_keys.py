"""Whatever stands in a path or a query: no request with a key that DynamoDB refuses."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from aetherlink.events.model import Filters
from aetherlink.events.service import Reading
from aetherlink.kernel.errors import NotFoundError
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import TenantId
from tests.component.conftest import Stack

# AWS's limits, in bytes of UTF-8 (moto holds writes to them alone).
_MAX_PARTITION, _MAX_SORT = 2048, 1024
LONG = ("x" * 3000, "ü" * 1500, "x" * 1025, "🚀" * 257)


@pytest.fixture(autouse=True)
def _real_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    make = BaseClient._make_api_call  # type: ignore[attr-defined] # botocore's own seam

    def call(client: Any, operation: str, arguments: Any) -> Any:
        for text, limit in _keys(arguments):
            if not 0 < len(text.encode()) <= limit:
                wrong = {"Error": {"Code": "ValidationException", "Message": "size of key"}}
                raise ClientError(wrong, operation)  # type: ignore[arg-type] # as AWS has it
        return make(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)


def _keys(arguments: dict[str, Any]) -> Iterator[tuple[str, int]]:
    wanted = [arguments.get("Key", {})]
    for table in arguments.get("RequestItems", {}).values():
        wanted += table.get("Keys", []) if isinstance(table, dict) else []
    for key in wanted:
        for name, value in key.items():
            yield value["S"], _MAX_PARTITION if name == "pk" else _MAX_SORT
    if condition := arguments.get("KeyConditionExpression"):
        partition = condition.split(" AND ")[0].rpartition(":")[2]
        for name, value in arguments["ExpressionAttributeValues"].items():
            yield value["S"], _MAX_PARTITION if name == f":{partition}" else _MAX_SORT


@pytest.fixture
def reading(stack: Stack) -> Reading:
    """Asked directly: the edge refuses the longest values before it."""
    stack.publish(event_id="e1", tenant="acme")
    stack.relay()
    found: Reading = importlib.import_module("functions.events.api").reading
    return found


@pytest.mark.parametrize("view", [TenantId("acme"), None])
@pytest.mark.parametrize("text", LONG)
def test_there_is_no_event_with_so_long_an_id_or_source(
    reading: Reading, view: TenantId | None, text: str
) -> None:
    for event_id, source in ((text, None), ("e1", text)):
        with pytest.raises(NotFoundError) as refused:
            reading.one(view, event_id, source)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("view", [TenantId("acme"), None])
@pytest.mark.parametrize("name", ["event_type", "source", "severity"])
@pytest.mark.parametrize("text", LONG)
def test_nothing_fits_a_filter_that_is_longer_than_anything(
    reading: Reading, view: TenantId | None, name: str, text: str
) -> None:
    page = reading.recent(view, Filters(**{name: text}), limit=50, cursor=None)  # type: ignore[arg-type] # one of its texts

    assert (page.count, page.next_cursor) == (0, None)


@pytest.mark.parametrize("tenant", ["acme", None])
@pytest.mark.parametrize("text", ["x" * 129, "x" * 900, "ü" * 300])
def test_a_value_that_is_too_long_is_404_or_an_empty_list(
    stack: Stack, tenant: str | None, text: str
) -> None:
    stack.publish(event_id="e1", tenant="acme")

    assert stack.call("GET", f"/events/{quote(text)}", tenant=tenant).status == 404
    assert stack.call("GET", "/events/e1", tenant=tenant, query={"source": text}).status == 404
    for name in ("event_type", "source", "severity"):
        assert stack.recent(tenant, **{name: text}) == []


@pytest.mark.parametrize("tenant", ["acme", None])
@pytest.mark.parametrize(
    "name", [*LONG, "order.placed#v1", "#taken", "a b", "a/b", "ü", "\x00", "-a", "x" * 129]
)
def test_a_name_that_no_type_can_have_is_unknown(
    stack: Stack, tenant: str | None, name: str
) -> None:
    body = {"type": "object"}
    stack.call("PUT", "/events/schema/order.placed", roles="admin", tenant="acme", body=body)

    answer = stack.call("GET", f"/events/schema/{quote(name, safe='')}", tenant=tenant)
    assert (answer.status, answer.body["title"]) == (404, "Not found")


@pytest.mark.parametrize("text", [*LONG, "a b", "a#b", "é", "-a"])
def test_a_tenant_that_cannot_be_one_is_422(stack: Stack, text: str) -> None:
    for path in ("/events/recent", "/events/e1", "/events/stats", "/events/schema",
                 "/events/schema/x", "/events/archive"):  # fmt: skip
        assert stack.call("GET", path, query={"tenant_id": text}).status == 422


@pytest.mark.parametrize("tenant", ["acme", None])
@pytest.mark.parametrize(
    "place",
    ["", "\x00", "\ud800", "acme", "acme#", "acme#a b", "acme#a#v1", "acme#" + "x" * 1025],
)
def test_a_cursor_of_types_with_a_made_up_place_is_400(
    stack: Stack, tenant: str | None, place: str
) -> None:
    cursor = encode_cursor(place, tenant or "*", "types")

    answer = stack.call("GET", "/events/schema", tenant=tenant, query={"cursor": cursor})
    assert answer.status == 400


def test_a_cursor_of_types_leads_to_no_other_tenant(stack: Stack) -> None:
    body = {"type": "object"}
    stack.call("PUT", "/events/schema/zebra", roles="admin", tenant="globex", body=body)
    cursor = encode_cursor("globex#a", "acme", "types")

    answer = stack.call("GET", "/events/schema", tenant="acme", query={"cursor": cursor})
    assert answer.status == 400
