"""The open pages of the command center: what it is, that it answers, and what it offers."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any, Protocol

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


def ping_with_providers(order: str) -> dict[str, Any]:
    """With the AI providers in their order, as parameter ProviderOrder has them."""
    return {**ping(), "providers": provider_names(order)}


def provider_names(order: str) -> list[str]:
    return [name for name in re.split(r"[,|\s]+", order) if name]


def ui_health() -> dict[str, str]:
    return {"status": "ok", "service": "aetherlink-ui", "version": __version__}


class SignIn(Protocol):
    """What of the configuration the console may know: nothing in it is secret."""

    @property
    def auth_mode(self) -> str: ...
    @property
    def oidc_issuer(self) -> str: ...
    @property
    def oidc_client_id(self) -> str: ...
    @property
    def oidc_audience(self) -> str: ...
    @property
    def stage(self) -> str: ...


def console_config(settings: SignIn) -> dict[str, Any]:
    """How to sign in. `issuer` and `client_id` null: with an API key. `api` is relative to this page,
    since the console may stand under any base path."""
    is_oidc = bool(settings.oidc_issuer and settings.oidc_client_id)
    return {
        "auth_mode": settings.auth_mode,
        "issuer": settings.oidc_issuer if is_oidc else None,
        "client_id": settings.oidc_client_id if is_oidc else None,
        "audience": settings.oidc_audience or None if is_oidc else None,
        "api": "..",
        "stage": settings.stage,
        "version": __version__,
    }


def openapi() -> dict[str, Any]:
    """The document that `make openapi` writes from the routes, and a test compares with them."""
    text = (files("aetherlink.center") / "openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
