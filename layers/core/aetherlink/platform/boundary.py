"""The second layer of tenancy: no request touches a partition that is not its tenants' or shared.

The first layer is the code above: stores take the tenant first, services ask the caller for it. This
one knows nothing of either. It stands on the DynamoDB client itself, so that nothing goes around it:
each call's keys are looked at before it is sent, and the items that an index finds before they come
back. Schedules, streams and queues act for no request, and are not bound.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from aetherlink.kernel.errors import TenantBreachError
from aetherlink.kernel.reach import (
    AUDIT,
    CONTROL,
    EVENTS,
    LED,
    PROJECTIONS,
    owner_of,
    shared,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from aetherlink.kernel.reach import Shared

    T = TypeVar("T")
    U = TypeVar("U")

_tenants: ContextVar[frozenset[str] | None] = ContextVar("tenants", default=None)

# Of the call's own context, to be found when it has been answered.
_TO_CHECK = "aetherlink_items_to_check"


@contextmanager
def within(tenants: frozenset[str] | None) -> Iterator[None]:
    """Bind what happens inside to some tenants (None: to none in particular, hence all)."""
    token = _tenants.set(tenants)
    try:
        yield
    finally:
        _tenants.reset(token)


def spread(work: Callable[[T], U], items: Iterable[T], *, workers: int) -> list[U]:
    """`work` on each item, many at the same time; a thread is bound as whoever asked for it is."""
    bound = [(copy_context(), item) for item in items]
    if not bound:
        return []
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only where it is needed

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda each: each[0].run(work, each[1]), bound))


def guard(events: Any) -> None:
    """Stand on a client: `events` is its `meta.events`."""
    events.register("provide-client-params.dynamodb", check_request)
    events.register("after-call.dynamodb", check_answer)


def check_request(params: Mapping[str, Any], model: Any, context: Any, **_: Any) -> None:
    """Raises TenantBreachError for a call that touches what is out of reach."""
    tenants = _tenants.get()
    if tenants is None:
        return
    operation = str(model.name)
    if operation == "Query":
        if _check_query(params, tenants):
            context[_TO_CHECK] = tenants, params["TableName"]
        return
    single = _SINGLE.get(operation)
    if single:
        member, is_write = single
        _check(operation, params["TableName"], params[member], tenants, is_write=is_write)
        if not is_write:
            context[_TO_CHECK] = tenants, params["TableName"]
        return
    if operation == "BatchGetItem":
        context[_TO_CHECK] = tenants, ""
    for table, item, is_write in _members(operation, params, tenants):
        _check(operation, table, item, tenants, is_write=is_write)


def check_answer(parsed: Mapping[str, Any], model: Any, context: Any, **_: Any) -> None:
    """Raises TenantBreachError for an answer with items that are out of reach."""
    tenants, asked = context.get(_TO_CHECK, (None, ""))
    if tenants is None:
        return
    found = {asked: [parsed["Item"]] if "Item" in parsed else parsed.get("Items", ())}
    for table, items in parsed.get("Responses", found).items():
        for item in items:
            partition = str(item.get("pk", {}).get("S", ""))
            if owner_of(partition) in tenants:
                continue
            rule = shared(_kind(table), partition)
            if rule is None or not rule.may_read(item, tenants):
                _stop(str(model.name), table, partition, tenants)


# Where a call has the key of its one item, and whether it changes it.
_SINGLE = {
    "GetItem": ("Key", False),
    "PutItem": ("Item", True),
    "UpdateItem": ("Key", True),
    "DeleteItem": ("Key", True),
}
_Member = tuple[str, "Mapping[str, Any]", bool]


def _members(
    operation: str, params: Mapping[str, Any], tenants: frozenset[str]
) -> Iterator[_Member]:
    """The items of a call of many: table, key or item, whether it is changed."""
    if operation == "TransactWriteItems":
        for member in params["TransactItems"]:
            for kind, request in member.items():
                item = request.get("Item") or request["Key"]
                yield request["TableName"], item, kind != "ConditionCheck"
    elif operation == "BatchWriteItem":
        for table, writes in params["RequestItems"].items():
            for write in writes:
                item = write["PutRequest"]["Item"] if "PutRequest" in write else None
                yield table, item or write["DeleteRequest"]["Key"], True
    elif operation == "BatchGetItem":
        for table, wanted in params["RequestItems"].items():
            for key in wanted["Keys"]:
                yield table, key, False
    else:
        # A scan, a transaction of reads, whatever we do not use: nobody has thought about it here.
        _stop(operation, str(params.get("TableName", "")), "", tenants)


def _check(
    operation: str, table: str, item: Mapping[str, Any], tenants: frozenset[str], *, is_write: bool
) -> None:
    partition = str(item["pk"]["S"])
    if owner_of(partition) in tenants:
        return
    rule = shared(_kind(table), partition)
    if rule is None or rule.attributes is not None:
        _stop(operation, table, partition, tenants)
    if not (rule.may_write(item, tenants) if is_write else rule.may_read(item, tenants)):
        _stop(operation, table, partition, tenants)


def _check_query(params: Mapping[str, Any], tenants: frozenset[str]) -> bool:
    """Whether what it finds must be looked at too."""
    table = str(params["TableName"])
    name, value = _subject(params["KeyConditionExpression"])
    attribute = params.get("ExpressionAttributeNames", {}).get(name, name)
    partition = str(params["ExpressionAttributeValues"].get(value, {}).get("S", ""))
    if attribute not in LED:
        # Its key says nothing of a tenant, and neither would a number of what it finds.
        if "IndexName" not in params or params.get("Select") == "COUNT":
            _stop("Query", table, partition, tenants)
        return True
    if owner_of(partition) in tenants:
        return "IndexName" in params
    rule = shared(_kind(table), partition)
    if rule is None or rule.hides_others or not _reads_only(params, rule):
        _stop("Query", table, partition, tenants)
    return "IndexName" in params


def _reads_only(params: Mapping[str, Any], rule: Shared) -> bool:
    if rule.attributes is None:
        return True
    wanted = {name.strip() for name in params.get("ProjectionExpression", "").split(",")}
    return wanted <= rule.attributes


@lru_cache(maxsize=256)
def _subject(condition: str) -> tuple[str, str]:
    """The attribute and the value's name of the equation that a key condition begins with."""
    found = re.match(r"(#?\w+) = (:\w+)(?: AND |$)", condition)
    return (found[1], found[2]) if found else ("", "")


@cache
def _kinds() -> Mapping[str, str]:
    from aetherlink.platform.config import config  # noqa: PLC0415

    given = config()
    return {
        given.events_table: EVENTS,
        given.projections_table: PROJECTIONS,
        given.control_table: CONTROL,
        given.audit_table: AUDIT,
    }


def _kind(table: str) -> str:
    return _kinds().get(table, "")


def _stop(operation: str, table: str, partition: str, tenants: frozenset[str]) -> NoReturn:
    """A bug of ours, which would have shown or changed another tenant's data."""
    from aetherlink.kernel.time import utc_now  # noqa: PLC0415
    from aetherlink.platform.config import config  # noqa: PLC0415
    from aetherlink.platform.metrics import measure  # noqa: PLC0415
    from aetherlink.platform.telemetry import logger  # noqa: PLC0415

    logger.error(
        "tenant breach stopped",
        is_security=True,
        tenants=sorted(tenants),
        # Of the key its owner alone: the rest may be an event's id, or a credential's hash.
        owner=owner_of(partition),
        table=_kind(table) or table,
        operation=operation,
        stack_info=True,
    )
    measure("TenantBreach", 1, stage=config().stage, now=utc_now(), unit="Count")
    raise TenantBreachError
