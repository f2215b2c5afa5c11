"""The open pages of the command center: what it is, that it answers, and what it offers."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from aetherlink import __version__

SERVICE = "AetherLink Command Center"


def index() -> dict[str, Any]:
    document = openapi()
    endpoints = {
        path: " / ".join(operation["summary"] for operation in operations.values())
        for path, operations in document["paths"].items()
    }
    return {"service": SERVICE, "version": __version__, "endpoints": endpoints}


def ping() -> dict[str, Any]:
    return {"status": "ok", "service": SERVICE, "version": __version__}


def ping_with_providers() -> dict[str, Any]:
    """With the AI providers in their order; this release has no AI part, hence none."""
    return {**ping(), "providers": []}


def ui_health() -> dict[str, str]:
    return {"status": "ok", "service": "aetherlink-ui", "version": __version__}


def openapi() -> dict[str, Any]:
    """The document that `make openapi` writes from the routes, and a test compares with them."""
    text = (files("aetherlink.center") / "openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
