"""What `make admin-key` asks for, and what it shows."""

from __future__ import annotations

from tools.local.admin_key import shown, wanted


def test_without_settings_the_function_decides() -> None:
    assert wanted({"PATH": "/bin", "TENANT": ""}) == {}


def test_settings_become_the_functions_event() -> None:
    given = {"NAME": "ci", "TENANT": "acme", "ROLES": "agent, viewer", "DAYS": "30"}

    assert wanted(given) == {
        "name": "ci",
        "tenant_id": "acme",
        "roles": ["agent", "viewer"],
        "expires_in_days": "30",
    }


def test_the_key_is_shown_with_a_line_to_try() -> None:
    key = {"tenant_id": None, "roles": ["admin"], "expires_at": None}
    text = shown({"key_id": "k1", "secret": "ak_x", "key": key}, "http://localhost/local")

    assert "admin for every tenant, until it is revoked" in text
    assert "curl -H 'X-Api-Key: ak_x' http://localhost/local/identity/me" in text
