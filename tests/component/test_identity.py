"""Keys by the routes: made, used, narrowed, rotated, revoked; and who may do that to whose."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform import credentials, http, identity
from aetherlink.platform.config import config
from aetherlink.platform.dynamo import client
from tests.component.conftest import Answer, Context, Stack

EVENT = {"event_type": "autoheal.failed", "source": "billing-1",
         "payload": {"service": "a", "action": "b", "error": "c"}}  # fmt: skip


def make(stack: Stack, secret: str | None = None, **given: Any) -> Answer:
    """A key, made with a key or (without) by a development admin of every tenant."""
    tenant = given.pop("tenant", None)
    body = {"name": "ci", "roles": ["agent"], **given}
    headers = {"X-Api-Key": secret} if secret else None
    roles = None if secret else "admin"
    return stack.call(
        "POST", "/identity/keys", body=body, headers=headers, roles=roles, tenant=tenant
    )


def secret_of(stack: Stack, **given: Any) -> str:
    answer = make(stack, **given)
    assert answer.status == 200, answer.body
    secret: str = answer.body["secret"]
    return secret


def use(stack: Stack, secret: str, method: str, path: str, **given: Any) -> Answer:
    headers = {"Authorization": f"Bearer {secret}"}
    return stack.call(method, path, roles=None, headers=headers, **given)


def me(stack: Stack, secret: str, tenant: str | None = None) -> Answer:
    return use(stack, secret, "GET", "/identity/me", tenant=tenant)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves time for lookups and keys alike; call it with what has passed."""
    started = datetime.now(UTC)
    passed = {"now": started}

    def now() -> datetime:
        return passed["now"]

    monkeypatch.setattr(identity.credentials(), "_now", now)
    monkeypatch.setattr(importlib.import_module("functions.identity.api").keys, "_now", now)

    def forward(**time: float) -> None:
        passed["now"] = started + timedelta(**time)

    return forward


def stored() -> str:
    """Everything that is in the control table."""
    return json.dumps(client().scan(TableName="control-test")["Items"])


# ---- making and using


def test_a_new_key_shows_its_secret_once_and_says_what_it_is(stack: Stack) -> None:
    answer = make(stack, tenant_id="acme", roles=["agent", "viewer"], expires_in_days=7)

    key = answer.body["key"]
    assert (answer.status, answer.body["status"]) == (200, "ok")
    assert credentials.is_well_formed(answer.body["secret"])
    assert answer.body["secret"].startswith(key["prefix"])
    created = from_text(key.pop("created_at"))
    assert from_text(key.pop("expires_at")) - created == timedelta(days=7)
    key_id = key.pop("key_id")
    assert key.pop("prefix") == answer.body["secret"][:7]
    assert key == {
        "name": "ci",
        "roles": ["agent", "viewer"],
        "tenant_id": "acme",
        "tenants": ["acme"],
        "cross_tenant": False,
        "scopes": {"sources": [], "routes": []},
        "requests_per_minute": None,
        "state": "active",
        "created_by": "dev:admin",
        "last_used_at": None,
        "rotated_at": None,
        "previous_until": None,
        "revoked_at": None,
        "revoked_by": None,
    }
    shown = stack.call("GET", f"/identity/keys/{key_id}", roles="admin").body["key"]
    assert "secret" not in shown
    assert answer.body["secret"] not in stored()


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key", "authorization", "x-api-key"])
def test_a_key_comes_in_either_header(stack: Stack, header: str) -> None:
    secret = secret_of(stack, tenant_id="acme")
    value = f"Bearer {secret}" if header.lower() == "authorization" else secret

    answer = stack.call("GET", "/identity/me", roles=None, headers={header: value})

    assert answer.status == 200
    assert answer.body["subject"] == f"key:{answer.body['key_id']}"


def test_one_key_in_both_headers_is_one_credential(stack: Stack) -> None:
    secret = secret_of(stack)
    both = {"Authorization": f"Bearer {secret}", "X-Api-Key": secret}

    assert stack.call("GET", "/identity/me", roles=None, headers=both).status == 200


def test_two_keys_in_a_request_are_400(stack: Stack) -> None:
    both = {"Authorization": f"Bearer {secret_of(stack)}", "X-Api-Key": secret_of(stack)}

    assert stack.call("GET", "/identity/me", roles=None, headers=both).status == 400


def test_who_i_am_says_what_a_key_may(stack: Stack) -> None:
    secret = secret_of(
        stack, tenant_id="acme", scopes={"sources": ["billing-*"], "routes": ["GET /identity/me"]}
    )

    body = me(stack, secret).body
    key_id = body.pop("key_id")
    assert body == {
        "status": "ok",
        "subject": f"key:{key_id}",
        "roles": ["agent"],
        "tenant_id": "acme",
        "tenants": ["acme"],
        "cross_tenant": False,
        "auth_mode": "dev",
        "scopes": {"sources": ["billing-*"], "routes": ["GET /identity/me"]},
    }


def test_a_key_counts_before_the_development_headers(stack: Stack) -> None:
    headers = {"X-Api-Key": secret_of(stack, tenant_id="acme")}

    answer = stack.call("GET", "/identity/me", roles="admin", tenant="globex", headers=headers)

    assert (answer.body["roles"], answer.body["tenant_id"]) == (["agent"], "acme")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": "ak_000000000000000000000002teRwJ"},
        {"X-Api-Key": "nonsense"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YTpi"},
    ],
)
def test_an_invalid_credential_never_falls_back_to_development_headers(
    stack: Stack, headers: dict[str, str]
) -> None:
    answer = stack.call("GET", "/identity/me", roles="admin", headers=headers)

    assert answer.status == 401
    assert "WWW-Authenticate" in answer.headers


def test_keys_work_in_token_mode_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secret_of(stack, tenant_id="acme", roles=["operator"])
    settings = config().model_copy(update={"auth_mode": "token"})
    monkeypatch.setattr(http, "config", lambda: settings)

    assert use(stack, secret, "GET", "/events/recent").status == 200
    assert stack.call("GET", "/events/recent", roles="admin").status == 401


# ---- refused


def test_a_key_that_we_made_and_nobody_knows_is_401(stack: Stack) -> None:
    answer = me(stack, credentials.Mint(credentials.KEY).generate())

    assert (answer.status, answer.body["detail"]) == (
        401,
        "This key is unknown, revoked or expired",
    )


@pytest.mark.parametrize("change", ["cut", "longer", "other"])
def test_a_damaged_key_is_401_without_a_lookup(
    stack: Stack, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secret_of(stack)
    damaged = {
        "cut": secret[:-1],
        "longer": secret + "0",
        "other": secret[:10] + ("0" if secret[10] != "0" else "1") + secret[11:],
    }[change]
    looked: list[str] = []
    monkeypatch.setattr(identity.credentials(), "look_up", lambda *a, **k: looked.append(a[0]))

    assert me(stack, damaged).status == 401
    assert looked == []


def test_a_revoked_key_is_401_at_once(stack: Stack) -> None:
    answer = make(stack)
    assert me(stack, answer.body["secret"]).status == 200

    stack.call("DELETE", f"/identity/keys/{answer.body['key']['key_id']}", roles="admin")

    assert me(stack, answer.body["secret"]).status == 401


def test_an_expired_key_is_401(stack: Stack, clock: Any) -> None:
    secret = secret_of(stack, expires_in_days=1)

    clock(hours=23.9)
    assert me(stack, secret).status == 200
    clock(hours=24)
    assert me(stack, secret).status == 401
    (shown,) = stack.call("GET", "/identity/keys", roles="admin").body["keys"]
    assert shown["state"] == "expired"


def test_a_revoked_key_publishes_for_less_than_30_seconds_more(stack: Stack, clock: Any) -> None:
    made = make(stack)
    secret = made.body["secret"]
    assert use(stack, secret, "POST", "/events/publish", body=EVENT).status == 200
    stack.call("DELETE", f"/identity/keys/{made.body['key']['key_id']}", roles="admin")

    clock(seconds=29.9)
    assert use(stack, secret, "POST", "/events/publish", body=EVENT).status == 200
    clock(seconds=30)
    assert use(stack, secret, "POST", "/events/publish", body=EVENT).status == 401


def test_a_key_has_the_roles_that_it_was_given_and_no_others(stack: Stack) -> None:
    secret = secret_of(stack, roles=["viewer"])

    assert use(stack, secret, "GET", "/events/recent").status == 403
    assert use(stack, secret, "POST", "/events/publish", body=EVENT).status == 403
    assert use(stack, secret, "GET", "/identity/keys").status == 403


# ---- scopes


def test_a_source_scope_holds_on_every_way_to_publish(stack: Stack) -> None:
    secret = secret_of(stack, scopes={"sources": ["billing-*", "crm"]})
    other = {**EVENT, "source": "bill"}
    cloudevent = {"specversion": "1.0", "id": "1", "source": "bill", "type": "autoheal.failed",
                  "data": EVENT["payload"]}  # fmt: skip

    assert use(stack, secret, "POST", "/events/publish", body=EVENT).status == 200
    assert (
        use(stack, secret, "POST", "/events/publish", body={**EVENT, "source": "crm"}).status == 200
    )
    refused = use(stack, secret, "POST", "/events/publish", body=other)
    assert (refused.status, refused.body["detail"]) == (
        403,
        "This key may publish as billing-*, crm; 'bill' is not among them",
    )
    batch = use(stack, secret, "POST", "/events/batch", body={"events": [EVENT, other]})
    assert [r.get("http_status", 200) for r in batch.body["results"]] == [200, 403]
    assert use(stack, secret, "POST", "/events/cloudevents", body=cloudevent).status == 403


def test_a_route_scope_refuses_every_other_route(stack: Stack) -> None:
    secret = secret_of(stack, roles=["admin"], scopes={"routes": ["POST /events/publish"]})

    assert use(stack, secret, "POST", "/events/publish", body=EVENT).status == 200
    refused = use(stack, secret, "GET", "/events/recent")
    assert (refused.status, refused.body["detail"]) == (
        403,
        "This key is limited to POST /events/publish; GET /events/recent is not among them",
    )


# ---- tenants


def test_a_key_sees_its_own_tenant_alone(stack: Stack) -> None:
    for tenant in ("acme", "globex"):
        secret = secret_of(stack, tenant_id=tenant, roles=["operator"])
        use(stack, secret, "POST", "/events/publish", body={**EVENT, "source": tenant})

    seen = use(stack, secret, "GET", "/events/recent", tenant="acme").body["events"]
    assert [event["source"] for event in seen] == ["globex"]
    named = use(stack, secret, "GET", "/events/recent", query={"tenant_id": "acme"})
    assert named.status == 403


def test_a_key_for_several_tenants_is_told_which_by_the_header(stack: Stack) -> None:
    secret = secret_of(stack, tenants=["acme", "globex"])

    assert me(stack, secret).body["tenant_id"] == "acme"
    assert me(stack, secret).body["tenants"] == ["acme", "globex"]
    assert me(stack, secret, tenant="globex").body["tenant_id"] == "globex"
    refused = me(stack, secret, tenant="initech")
    assert (refused.status, refused.body["detail"]) == (
        403,
        "X-Tenant-ID names 'initech', which is none of your tenants",
    )


def test_a_cross_tenant_key_sees_all_and_may_name_one(stack: Stack) -> None:
    secret = secret_of(stack, cross_tenant=True, roles=["operator"])

    body = me(stack, secret).body
    assert (body["tenant_id"], body["tenants"], body["cross_tenant"]) == (None, [], True)
    assert me(stack, secret, tenant="globex").body["tenant_id"] == "globex"
    published = use(stack, secret, "POST", "/events/publish", body=EVENT)
    event_id = published.body["event_id"]
    kept = use(stack, secret, "GET", f"/events/{event_id}", tenant="default")
    assert kept.status == 200


@pytest.mark.parametrize(
    "given", [{"tenant_id": "system"}, {"tenants": ["acme", "system"]}, {"tenants": ["system"]}]
)
def test_no_key_is_at_home_in_the_platforms_own_tenant(stack: Stack, given: Any) -> None:
    assert make(stack, **given).status == 422


# ---- who may make which


def admin_of(stack: Stack, *tenants: str, **given: Any) -> str:
    return secret_of(stack, roles=["admin"], tenants=list(tenants), **given)


def test_an_admin_makes_keys_for_its_own_tenant(stack: Stack) -> None:
    admin = admin_of(stack, "acme")

    assert make(stack, admin).body["key"]["tenant_id"] == "acme"
    assert make(stack, admin, tenant_id="acme").status == 200


@pytest.mark.parametrize(
    "given",
    [{"tenant_id": "globex"}, {"tenants": ["acme", "globex"]}, {"cross_tenant": True}],
)
def test_an_admin_of_one_tenant_grants_no_other(stack: Stack, given: Any) -> None:
    assert make(stack, admin_of(stack, "acme"), **given).status == 403


def test_a_key_with_scopes_makes_and_rotates_no_keys(stack: Stack) -> None:
    wide = make(stack, tenant_id="acme").body["key"]["key_id"]
    narrow = admin_of(stack, "acme", scopes={"routes": ["POST /identity/*"]})

    assert make(stack, narrow).status == 403
    assert use(stack, narrow, "POST", f"/identity/keys/{wide}/rotate").status == 403


def test_who_may_not_act_for_all_of_a_keys_tenants_gets_no_secret_of_it(stack: Stack) -> None:
    shared = make(stack, tenants=["acme", "globex"]).body["key"]["key_id"]
    admin = admin_of(stack, "acme")

    assert use(stack, admin, "POST", f"/identity/keys/{shared}/rotate").status == 403
    # It may be taken away all the same: it is a key to this tenant's door.
    assert use(stack, admin, "DELETE", f"/identity/keys/{shared}").status == 200


@pytest.mark.parametrize(("roles", "status"), [("operator", 403), ("agent", 403), ("viewer", 403)])
def test_keys_are_for_admins(stack: Stack, roles: str, status: int) -> None:
    for method, path in (
        ("POST", "/identity/keys"),
        ("GET", "/identity/keys"),
        ("GET", "/identity/keys/x"),
        ("DELETE", "/identity/keys/x"),
        ("POST", "/identity/keys/x/rotate"),
    ):
        assert stack.call(method, path, roles=roles, body={}).status == status


def test_another_tenants_key_does_not_exist(stack: Stack) -> None:
    theirs = make(stack, tenant_id="globex").body
    platforms = make(stack, cross_tenant=True).body["key"]["key_id"]
    admin = admin_of(stack, "acme")

    for key_id in (theirs["key"]["key_id"], platforms, "nonsense", "YWNtZS94"):
        for method, path in (
            ("GET", f"/identity/keys/{key_id}"),
            ("DELETE", f"/identity/keys/{key_id}"),
            ("POST", f"/identity/keys/{key_id}/rotate"),
        ):
            answer = use(stack, admin, method, path)
            assert (answer.status, answer.body["detail"]) == (404, f"Key {key_id} not found")
    assert me(stack, theirs["secret"]).status == 200


# ---- lists


def test_a_tenants_admin_lists_its_tenants_keys(stack: Stack) -> None:
    make(stack, tenant_id="globex", name="theirs")
    make(stack, cross_tenant=True, name="platforms")
    admin = admin_of(stack, "acme", name="ours")

    listed = use(stack, admin, "GET", "/identity/keys").body
    assert [key["name"] for key in listed["keys"]] == ["ours"]
    assert use(stack, admin, "GET", "/identity/keys", query={"tenant_id": "globex"}).status == 403
    assert use(stack, admin, "GET", "/identity/keys", query={"tenant_id": "system"}).status == 403


def test_who_has_every_tenant_lists_all_keys_or_those_of_one(stack: Stack) -> None:
    for tenant in ("acme", "globex"):
        make(stack, tenant_id=tenant, name=tenant)
    make(stack, cross_tenant=True, name="platforms")

    def names(**query: str) -> list[str]:
        keys = stack.call("GET", "/identity/keys", roles="admin", query=query).body["keys"]
        return sorted(key["name"] for key in keys)

    assert names() == ["acme", "globex", "platforms"]
    assert names(tenant_id="globex") == ["globex"]
    assert names(tenant_id="system") == ["platforms"]


@pytest.mark.parametrize("query", [{}, {"tenant_id": "acme"}])
def test_pages_show_every_key_once(stack: Stack, query: dict[str, str]) -> None:
    for number in range(5):
        make(stack, tenant_id="acme", name=f"k{number}")

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = stack.call(
            "GET", "/identity/keys", roles="admin", query={**query, **cursor, "limit": "2"}
        ).body
        seen += [key["name"] for key in page["keys"]]
        assert page["count"] <= 2
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert sorted(seen) == ["k0", "k1", "k2", "k3", "k4"]


def test_a_cursor_is_good_for_its_tenant_alone(stack: Stack) -> None:
    for _ in range(2):
        make(stack, tenant_id="acme")
    page = stack.call(
        "GET", "/identity/keys", roles="admin", query={"limit": "1", "tenant_id": "acme"}
    ).body

    for query in ({"tenant_id": "globex"}, {}):
        given = {**query, "cursor": page["next_cursor"]}
        assert stack.call("GET", "/identity/keys", roles="admin", query=given).status == 400


@pytest.mark.parametrize("limit", ["0", "201", "x"])
def test_a_limit_out_of_bounds_is_422(stack: Stack, limit: str) -> None:
    answer = stack.call("GET", "/identity/keys", roles="admin", query={"limit": limit})

    assert answer.status == 422


def test_last_use_shows_in_the_list(stack: Stack) -> None:
    answer = make(stack)
    before = datetime.now(UTC)
    me(stack, answer.body["secret"])

    (shown,) = stack.call("GET", "/identity/keys", roles="admin").body["keys"]
    assert timedelta() <= from_text(shown["last_used_at"]) - before < timedelta(seconds=30)


def test_no_answer_has_a_hash_in_it(stack: Stack) -> None:
    answer = make(stack)
    secret_hash = credentials.hash_of(answer.body["secret"])
    key_id = answer.body["key"]["key_id"]

    for path in ("/identity/keys", f"/identity/keys/{key_id}"):
        assert secret_hash not in str(stack.call("GET", path, roles="admin").body)
    assert secret_hash not in str(answer.body)


# ---- revoking and rotating


def test_revoking_again_changes_nothing(stack: Stack) -> None:
    key_id = make(stack).body["key"]["key_id"]

    first = stack.call("DELETE", f"/identity/keys/{key_id}", roles="admin").body
    again = stack.call("DELETE", f"/identity/keys/{key_id}", roles="admin").body
    assert first == again
    assert (first["revoked"], first["key"]["state"]) == (key_id, "revoked")
    assert first["key"]["revoked_by"] == "dev:admin"


def rotate(stack: Stack, key_id: str, **body: Any) -> Answer:
    return stack.call("POST", f"/identity/keys/{key_id}/rotate", roles="admin", body=body or None)


def test_after_a_rotation_both_secrets_are_good_until_the_grace_ends(
    stack: Stack, clock: Any
) -> None:
    made = make(stack).body
    answer = rotate(stack, made["key"]["key_id"])

    assert answer.status == 200, answer.body
    assert answer.body["key"]["key_id"] == made["key"]["key_id"]
    for secret in (made["secret"], answer.body["secret"]):
        assert me(stack, secret).body["key_id"] == made["key"]["key_id"]
    clock(hours=24)
    assert me(stack, made["secret"]).status == 401
    assert me(stack, answer.body["secret"]).status == 200


def test_a_third_secret_at_a_time_is_409(stack: Stack, clock: Any) -> None:
    key_id = make(stack).body["key"]["key_id"]
    rotate(stack, key_id, grace_seconds=60)

    clock(seconds=59)
    refused = rotate(stack, key_id)
    assert refused.status == 409
    assert "Two secrets of this key are valid, until" in refused.body["detail"]
    clock(seconds=61)
    assert rotate(stack, key_id).status == 200


def test_without_grace_the_old_secret_ends_at_once(stack: Stack) -> None:
    made = make(stack).body
    answer = rotate(stack, made["key"]["key_id"], grace_seconds=0)

    assert me(stack, made["secret"]).status == 401
    assert me(stack, answer.body["secret"]).status == 200


def test_revoking_ends_both_secrets(stack: Stack) -> None:
    made = make(stack).body
    key_id = made["key"]["key_id"]
    second = rotate(stack, key_id).body["secret"]

    stack.call("DELETE", f"/identity/keys/{key_id}", roles="admin")

    assert [me(stack, secret).status for secret in (made["secret"], second)] == [401, 401]
    assert rotate(stack, key_id).status == 409
    assert "system#credential#" not in stored()


def test_a_rotated_key_is_all_that_it_was(stack: Stack) -> None:
    made = make(
        stack,
        tenants=["acme", "globex"],
        roles=["viewer"],
        scopes={"sources": ["a"]},
        requests_per_minute=60,
        expires_in_days=3,
    ).body
    before = me(stack, made["secret"]).body
    rotated = rotate(stack, made["key"]["key_id"]).body

    assert me(stack, rotated["secret"]).body == before
    kept = ("expires_at", "created_at", "created_by", "scopes", "requests_per_minute", "name")
    assert {n: rotated["key"][n] for n in kept} == {n: made["key"][n] for n in kept}


def test_a_key_may_renew_itself(stack: Stack) -> None:
    admin = make(stack, roles=["admin"], scopes={"routes": ["POST /identity/keys/*"]}).body

    answer = use(stack, admin["secret"], "POST", f"/identity/keys/{admin['key']['key_id']}/rotate")

    assert answer.status == 200


@pytest.mark.parametrize("grace", [-1, 2_592_001, "x"])
def test_a_grace_out_of_bounds_is_422(stack: Stack, grace: Any) -> None:
    key_id = make(stack).body["key"]["key_id"]

    assert rotate(stack, key_id, grace_seconds=grace).status == 422


def test_a_rotation_in_between_does_not_survive_a_revocation(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = importlib.import_module("functions.identity.api").keys
    made = make(stack).body
    key_id, found = made["key"]["key_id"], keys._store.get
    rotated: list[str] = []

    def get_and_be_overtaken(tenant: Any, key_id: str) -> Any:
        key = found(tenant, key_id)
        monkeypatch.setattr(keys._store, "get", found)
        rotated.append(rotate(stack, key_id).body["secret"])
        return key

    monkeypatch.setattr(keys._store, "get", get_and_be_overtaken)
    assert stack.call("DELETE", f"/identity/keys/{key_id}", roles="admin").status == 200

    assert [me(stack, secret).status for secret in (made["secret"], *rotated)] == [401, 401]


# ---- the first key


def bootstrap(**event: Any) -> dict[str, Any]:
    handler = importlib.import_module("functions.identity.bootstrap").lambda_handler
    made: dict[str, Any] = handler(event, Context())
    return made


def test_the_first_key_is_an_admin_of_every_tenant(stack: Stack) -> None:
    made = bootstrap()

    body = me(stack, made["secret"]).body
    assert (body["key_id"], body["roles"], body["cross_tenant"]) == (
        made["key_id"],
        ["admin"],
        True,
    )
    assert make(stack, made["secret"], cross_tenant=True).status == 200


def test_the_first_key_may_be_for_one_tenant_and_expire(stack: Stack) -> None:
    made = bootstrap(name="ci", tenant_id="acme", roles=["agent"], expires_in_days=1)

    body = me(stack, made["secret"]).body
    assert (body["tenant_id"], body["roles"], body["cross_tenant"]) == ("acme", ["agent"], False)
    assert made["key"]["created_by"] == "bootstrap"
    assert made["key"]["expires_at"] < to_text(datetime.now(UTC) + timedelta(days=1))


@pytest.mark.parametrize("event", [{"roles": ["root"]}, {"roles": []}, {"colour": "red"}])
def test_a_first_key_that_makes_no_sense_is_refused(stack: Stack, event: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        bootstrap(**event)


def test_the_first_key_is_on_record_without_its_secret(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    made = bootstrap()

    kept = str(boto3.client("dynamodb").scan(TableName="audit-test")["Items"])
    assert made["key_id"] in kept
    assert made["secret"] not in kept
    assert made["secret"] not in capsys.readouterr().out


def test_making_and_revoking_is_on_record_without_secrets(stack: Stack) -> None:
    made = make(stack, tenant_id="acme").body
    rotated = rotate(stack, made["key"]["key_id"]).body
    stack.call("DELETE", f"/identity/keys/{made['key']['key_id']}", roles="admin")

    items = boto3.client("dynamodb").scan(TableName="audit-test")["Items"]
    assert {item["pk"]["S"].partition("#")[0] for item in items} == {"acme"}
    assert sorted(item["action"]["S"] for item in items) == [
        "DELETE /identity/keys/{key_id}",
        "POST /identity/keys",
        "POST /identity/keys/{key_id}/rotate",
    ]
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in str(items)
        assert credentials.hash_of(secret) not in str(items)
