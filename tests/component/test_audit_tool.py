"""`make audit-verify` says what the API says, and its exit code is for scripts."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from tools.audit import __main__ as tool

BAD = {"tenant_id": "acme", "day": "2026-11-20", "position": 3, "id": "01a", "problem": "altered",
       "detail": "It is not what was sealed"}  # fmt: skip


def page(cursor: str | None, bad: dict[str, Any] | None = None) -> dict[str, Any]:
    day = {"tenant_id": "acme", "day": "2026-11-20", "records": 7, "sealed": 7, "valid": not bad}
    return {"valid": not bad, "checked": 7, "unsealed": 1, "first_bad": bad, "bad": [bad] if bad else [],
            "days": [day], "next_cursor": cursor}  # fmt: skip


def run(*pages: dict[str, Any], **environment: str) -> int:
    with (
        patch.dict("os.environ", {"API": "http://127.0.0.1:1", **environment}),
        patch.object(tool, "_get", side_effect=pages),
    ):
        return tool.main()


def test_it_follows_the_cursors_and_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(page("on"), page(None)) == 0

    out = capsys.readouterr().out
    assert "14 records compared with their seals, 2 not yet sealed\nvalid\n" in out
    assert out.count("2026-11-20  acme") == 2


def test_it_names_the_first_bad_entry_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(page("on", BAD), page(None)) == 1

    assert (
        "NOT VALID: altered: acme, 2026-11-20, position 3, record 01a. It is not what was sealed"
        in capsys.readouterr().out
    )


def test_an_api_that_does_not_answer_is_neither_valid_nor_not() -> None:
    with patch.dict("os.environ", {"API": "http://127.0.0.1:1"}):
        assert tool.main() == 2
