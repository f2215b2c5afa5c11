"""`make audit-verify`: asks a deployed stack whether its audit is as it was sealed.

API     where it answers; if not given, the local stack's
KEY     an admin's API key; if not given, the local stack is asked as a developer's admin
TENANT  whose audit; if not given, the key's own, or every tenant's for a key that sees all
FROM    first day, as 2026-11-17; if not given, a week ago
TO      last day; if not given, today

Exits 0 if nothing is wrong, 1 if something is, 2 if it could not be asked.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

from tools.local.place import STACK_FILE


class Unasked(Exception):  # noqa: N818 - a sentence for the person
    """The API could not be asked, or would not say."""


def main() -> int:
    given = os.environ
    names = {"tenant_id": "TENANT", "from": "FROM", "to": "TO"}
    query = {name: given[env] for name, env in names.items() if given.get(env)}
    try:
        report = walk(_api(), _headers(), query)
    except Unasked as error:
        print(f"audit-verify: {error}", file=sys.stderr)
        return 2
    return 0 if report["valid"] else 1


def walk(api: str, headers: dict[str, str], query: dict[str, str]) -> dict[str, Any]:
    """Follow the cursors to the end, and show each day as it is through."""
    total: dict[str, Any] = {"valid": True, "checked": 0, "unsealed": 0, "first_bad": None}
    cursor: str | None = None
    while True:
        page = _get(api, headers, {**query, **({"cursor": cursor} if cursor else {})})
        for day in page["days"]:
            print(
                f"{day['day']}  {day['tenant_id']:<24} {day['records']:>7} records"
                f"  {day['sealed']:>7} sealed  {'ok' if day['valid'] else 'NOT VALID'}"
            )
        total["valid"] = total["valid"] and page["valid"]
        total["checked"] += page["checked"]
        total["unsealed"] += page["unsealed"]
        total["first_bad"] = total["first_bad"] or page["first_bad"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    print(
        f"{total['checked']} records compared with their seals, {total['unsealed']} not yet sealed"
    )
    print("valid" if total["valid"] else f"NOT VALID: {_words(total['first_bad'])}")
    return total


def _words(bad: dict[str, Any]) -> str:
    position = f", position {bad['position']}" if bad["position"] else ""
    record = f", record {bad['id']}" if bad["id"] else ""
    return f"{bad['problem']}: {bad['tenant_id']}, {bad['day']}{position}{record}. {bad['detail']}"


def _api() -> str:
    if os.environ.get("API"):
        return os.environ["API"].rstrip("/")
    try:
        return str(json.loads(STACK_FILE.read_text())["api_url"]).rstrip("/")
    except (OSError, ValueError, KeyError) as error:
        raise Unasked("there is no local stack; run `make up`, or give API= and KEY=") from error


def _headers() -> dict[str, str]:
    key = os.environ.get("KEY")
    # The second is believed in dev mode alone.
    return {"X-Api-Key": key} if key else {"X-User-Roles": "admin"}


def _get(api: str, headers: dict[str, str], query: dict[str, str]) -> dict[str, Any]:
    url = f"{api}/audit/verify?{urlencode(query)}"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=40
        ) as answer:
            page: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        told = error.read().decode("utf-8", "replace")[:500]
        raise Unasked(f"{url} answered {error.code}: {told}") from error
    except OSError as error:
        raise Unasked(f"{url} did not answer: {error}") from error
    return page


if __name__ == "__main__":
    sys.exit(main())
