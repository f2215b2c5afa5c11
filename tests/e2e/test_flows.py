"""What people and services do with the deployed stack, from the gateway to the webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.e2e.deployed import Api, envelope, unique, wait_for
from tools.local import template

if TYPE_CHECKING:
    from tests.e2e.conftest import RuleMaker
    from tests.e2e.receiver import Receiver

TRIGGERED = "AetherLink Alert Triggered"
RESOLVED = "AetherLink Alert Resolved"


class TestRegistry:
    def test_a_service_is_listed_until_it_is_removed(self, api: Api, tenant: str) -> None:
        name = unique("billing")
        sent = {"name": name, "url": "http://127.0.0.1:9/app", "version": "2.1", "tags": ["money"]}
        answer = api.call("POST", "/ops/register", sent, tenant=tenant).ok()
        assert (answer["registered"], answer["service_count"]) == (name, 1)
        again = api.call("POST", "/ops/register", sent, tenant=tenant).ok()
        assert again["service_count"] == 1

        listed = api.call("GET", "/ops/services", tenant=tenant).ok()
        assert listed["count"] == 1
        [service] = listed["services"]
        assert (service["name"], service["url"]) == (name, sent["url"])
        assert service["health_url"] == "http://127.0.0.1:9/app/ping"

        gone = api.call("DELETE", f"/ops/services/{name}", tenant=tenant).ok()
        assert (gone["deleted"], gone["remaining_count"]) == (name, 0)
        assert api.call("GET", "/ops/services", tenant=tenant).ok()["services"] == []
        missing = api.call("DELETE", f"/ops/services/{name}", tenant=tenant).problem(404)
        assert missing["detail"] == f"Service '{name}' not found in registry"

        told = [event["event_type"] for event in api.own(tenant)]
        assert told == ["service.unregistered", "service.registered", "service.registered"]


class TestEvents:
    def test_a_published_event_is_in_every_view_of_its_tenant(
        self, api: Api, tenant: str, source: str
    ) -> None:
        kept = api.publish(tenant, source, payload={"service": source, "ratio": 0.1, "note": "é"})
        assert (kept["stored"], kept["duplicate"]) == (True, False)
        [event] = api.own(tenant)
        assert event["event_id"] == kept["event_id"]
        assert event["payload"] == {"service": source, "ratio": 0.1, "note": "é"}
        assert event["received_at"] == kept["received_at"]
        one = api.event(tenant, kept["event_id"]).ok()["event"]
        assert one == event
        assert [e["event_id"] for e in api.recent(tenant, source=source, severity="ERROR")] == [
            kept["event_id"]
        ]
        assert api.own(tenant, severity="critical") == []

        def overview() -> list[str]:
            return [e["event_id"] for e in api.recent(None, source=source, since=_today())]

        assert wait_for(overview, 5, "the all-tenant view has it") == [kept["event_id"]]

    def test_the_same_event_again_is_a_duplicate(self, api: Api, tenant: str, source: str) -> None:
        first = api.publish(tenant, source, event_id="order-1")
        again = api.publish(tenant, source, event_id="order-1")
        assert (first["duplicate"], again["duplicate"]) == (False, True)
        assert again["received_at"] == first["received_at"]
        assert len(api.own(tenant)) == 1
        elsewhere = api.publish(tenant, f"{source}-2", event_id="order-1")
        assert elsewhere["duplicate"] is False
        api.event(tenant, "order-1").problem(409)
        named = api.call("GET", "/events/order-1", tenant=tenant, query={"source": source}).ok()
        assert named["event"]["source"] == source

    @pytest.mark.parametrize(
        "event_id",
        [
            "größe-π-🚀", "日本", "100%", "a%b", "%", "a b+c", "a?b#c", "a&b=c", "a;b", ".", "..",
            '"quoted"', "a\\b",
            # ministack undoes the escapes before it matches the path; AWS and LocalStack leave them.
            pytest.param("a%2Fb", marks=pytest.mark.escapes_kept),
            pytest.param("a%25b", marks=pytest.mark.escapes_kept),
            pytest.param("orders/2026/1", marks=pytest.mark.escapes_kept),
        ],
    )  # fmt: skip
    def test_an_id_is_found_by_its_percent_encoded_path(
        self, api: Api, tenant: str, source: str, event_id: str
    ) -> None:
        api.publish(tenant, source, event_id=event_id)
        # A lone dot segment would be taken for a relative path by anything on the way.
        path = "".join(f"%{o:02X}" for o in event_id.encode()) if "." in event_id else None
        found = api.call("GET", f"/events/{path or quote(event_id, safe='')}", tenant=tenant).ok()
        assert found["event"]["event_id"] == event_id


class TestRefusals:
    def test_without_credentials(self, api: Api) -> None:
        for method, path in (("GET", "/events/recent"), ("POST", "/events/publish")):
            answer = api.call(method, path, roles=None)
            answer.problem(401)
            challenge = answer.header("WWW-Authenticate") or answer.header(
                "x-amzn-Remapped-WWW-Authenticate"
            )
            assert challenge.startswith("Bearer"), answer.headers
        api.call("GET", "/events/recent", roles="").problem(401)

    def test_with_a_role_that_may_not(self, api: Api, tenant: str) -> None:
        refused = api.call("GET", "/events/recent", roles="agent", tenant=tenant).problem(403)
        assert refused["detail"] == ("Insufficient permissions. Required roles: operator, admin")
        # The role is looked at before the body.
        api.call("POST", "/events/publish", raw=b"{", roles="viewer").problem(403)

    def test_for_another_tenant(self, api: Api, tenant: str, source: str) -> None:
        foreign = envelope(source, tenant_id=unique("e2e"))
        api.call("POST", "/events/publish", foreign, roles="agent", tenant=tenant).problem(403)

    @pytest.mark.parametrize("event_type", ["ops.alert.raised", "security.rbac.violation"])
    def test_the_platforms_own_types(
        self, api: Api, tenant: str, source: str, event_type: str
    ) -> None:
        body = envelope(source, event_type=event_type)
        api.call("POST", "/events/publish", body, roles="admin", tenant=tenant).problem(403)

    @pytest.mark.parametrize(
        ("changes", "detail"),
        [
            ({"event_type": None}, "event_type is required"),
            ({"event_type": "no.such.type"}, "Unknown event_type 'no.such.type'"),
            ({"source": None}, "Missing required field: source"),
            ({"payload": None}, "Missing required field: payload"),
        ],
    )
    def test_an_envelope_that_is_not_whole(
        self, api: Api, tenant: str, source: str, changes: dict[str, Any], detail: str
    ) -> None:
        given = {**envelope(source), **changes}
        body = {name: value for name, value in given.items() if value is not None}
        answer = api.call("POST", "/events/publish", body, tenant=tenant).problem(400)
        assert answer["detail"] == detail

    def test_a_malformed_tenant_header(self, api: Api) -> None:
        api.call("GET", "/events/recent", tenant="../etc").problem(400)

    @pytest.mark.dev_mode
    def test_roles_that_are_none(self, api: Api) -> None:
        api.call("GET", "/events/recent", roles="[]").problem(403)
        api.call("GET", "/events/recent", roles='["operator"').problem(400)

    def test_headers_count_for_nothing_where_credentials_are_asked_for(
        self, api: Api, stack: dict[str, Any], tenant: str
    ) -> None:
        claimed = {"X-User-Roles": "admin", "X-Tenant-ID": tenant}
        answer = api.call("GET", "/events/recent", roles=None, headers=claimed)
        assert answer.status == (401 if stack["auth_mode"] == "token" else 200)
        # Beside a credential that is none they count in no mode.
        guess = {**claimed, "X-Api-Key": f"ak_{'0' * 29}"}
        api.call("GET", "/events/recent", roles=None, headers=guess).problem(401)

    def test_a_cursor_of_another_question(self, api: Api, tenant: str, source: str) -> None:
        for _ in range(2):
            api.publish(tenant, source)
        page = api.call("GET", "/events/recent", tenant=tenant, query={"limit": 1}).ok()
        cursor = page["next_cursor"]
        assert cursor
        foreign = {"limit": 1, "cursor": cursor}
        api.call("GET", "/events/recent", tenant=unique("e2e"), query=foreign).problem(400)
        changed = {"limit": 1, "cursor": cursor[:-2] + "xx"}
        api.call("GET", "/events/recent", tenant=tenant, query=changed).problem(400)

    @pytest.mark.parametrize(
        "path",
        ["/no/such/path", "/events/recent/x", "/console", "/alerts/rules/nobody", "/events/nobody"],
    )
    def test_what_is_not_there(self, api: Api, tenant: str, path: str) -> None:
        api.call("GET", path, tenant=tenant).problem(404)

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/events/publish", "POST"),
            ("GET", "/events/publish", "POST"),
            ("PUT", "/alerts/rules", "GET, POST"),
            ("PATCH", "/events/recent", "GET"),
            ("POST", "/", "GET"),
            ("PUT", "/alerts/rules/x", "DELETE, GET"),
        ],
    )
    def test_a_wrong_method(self, api: Api, method: str, path: str, allowed: str) -> None:
        answer = api.call(method, path)
        answer.problem(405)
        assert answer.header("Allow") == allowed

    def test_a_body_over_the_limit(self, api: Api, tenant: str, source: str) -> None:
        body = envelope(source, payload={"service": "x" * 4_500_000})
        api.call("POST", "/events/publish", body, tenant=tenant).problem(413)
        body = envelope(source, payload={"service": "x" * 300_000})
        api.call("POST", "/events/publish", body, tenant=tenant).problem(413)
        assert api.own(tenant) == []

    @pytest.mark.parametrize(
        "raw",
        [b"{", b"[]", b'"text"', b"\xff\xfe", b'{"event_type": NaN}', b"", b"null", b"[" * 100_000],
        ids=["cut", "array", "string", "not utf-8", "nan", "empty", "null", "deep"],
    )
    def test_a_body_that_is_no_event(self, api: Api, tenant: str, raw: bytes) -> None:
        answer = api.call("POST", "/events/publish", raw=raw, tenant=tenant).problem(422)
        assert answer["errors"]

    def test_fields_that_are_wrong(self, api: Api, tenant: str, source: str) -> None:
        body = envelope(source, payload={"service": 7})
        wrong = api.call("POST", "/events/publish", body, tenant=tenant).problem(422)
        assert [flaw["pointer"] for flaw in wrong["errors"]] == ["/payload/service"]
        body = envelope(source, severity="loud", timestamp="yesterday")
        wrong = api.call("POST", "/events/publish", body, tenant=tenant).problem(422)
        assert {flaw["pointer"] for flaw in wrong["errors"]} == {"/severity", "/timestamp"}
        api.call("POST", "/alerts/rules", {"name": "x"}, tenant=tenant).problem(422)
        for limit in ("0", "201", "many"):
            query = {"limit": limit}
            api.call("GET", "/events/recent", tenant=tenant, query=query).problem(422)


def test_the_openapi_document_has_every_route(api: Api) -> None:
    document = api.call("GET", "/openapi.json", roles=None).ok()
    assert document["openapi"].startswith("3.1")
    shown = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "put", "post", "delete", "patch", "head", "options")
    }
    deployed = {
        (event["Method"].upper(), event["Path"]) for _, _, event in template.triggers("Api")
    }
    # The fallback answers 404 and 405: under any path, and for what / does not take.
    fallback = {(m, p) for m, p in deployed if "+}" in p or (p == "/" and m != "GET")}
    assert shown == deployed - fallback


class TestAlerting:
    def test_an_episode_is_one_alert_however_many_events_follow(
        self, api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        rule = make_rule(tenant, source, threshold=3, name=f"{source} <!channel> & co")
        for _ in range(2):
            api.publish(tenant, source)
        _relayed(api, tenant, receiver, make_rule)
        assert api.alerts(tenant, rule["id"]) == []
        api.publish(tenant, source)
        wait_for(lambda: receiver.with_text(source, TRIGGERED), 10, "the webhook got the alert")
        [raised] = api.alerts(tenant, rule["id"])
        assert (raised["severity"], raised["tenant_id"]) == ("critical", tenant)
        assert raised["source"] == "aether-command-center"
        assert raised["payload"]["matched_count"] >= raised["payload"]["threshold"] == 3

        for _ in range(50):
            api.publish(tenant, source)
        _relayed(api, tenant, receiver, make_rule)
        assert len(api.alerts(tenant, rule["id"])) == 1
        [got] = receiver.with_text(source, TRIGGERED)
        assert got.path == "/alerts"
        assert got.headers["content-type"].startswith("application/json")
        assert got.headers["webhook-id"].startswith("msg_")
        assert got.body.keys() == {"type", "timestamp", "data", "text"}
        lines = got.text.splitlines()
        assert lines[:6] == [
            ":rotating_light: *AetherLink Alert Triggered*",
            "",
            f"*Rule:* `{source} &lt;!channel&gt; &amp; co`",
            "*Severity:* `CRITICAL`",
            "*Source:* `aether-command-center`",
            f"*Tenant:* `{tenant}`",
        ]
        assert "*Threshold:* 3/3 events in 600s" in lines
        assert f"  • Source: `{source}`" in lines
        assert lines[-1] == f"*Timestamp:* {raised['timestamp'][:19]}Z"

        api.call("DELETE", f"/alerts/rules/{rule['id']}", tenant=tenant).ok()
        wait_for(lambda: receiver.with_text(source, RESOLVED), 10, "the webhook got the resolve")
        [resolved] = api.alerts(tenant, rule["id"], "resolved")
        assert resolved["payload"]["episode_id"] == raised["payload"]["episode_id"]
        assert resolved["payload"]["reason"] == "the rule was deleted"
        assert len(receiver.with_text(source, TRIGGERED)) == 1
        api.call("GET", f"/alerts/rules/{rule['id']}", tenant=tenant).problem(404)

    @pytest.mark.alone
    def test_an_alert_is_delivered_within_two_seconds(
        self, api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        # Functions that nobody has called for a while start first; the promise is for warm ones.
        _relayed(api, tenant, receiver, make_rule)
        make_rule(tenant, source)
        published_at = datetime.now(UTC)
        api.publish(tenant, source)
        [got] = wait_for(lambda: receiver.with_text(source, TRIGGERED), 10, "the alert arrived")
        assert (got.at - published_at).total_seconds() < 2

    def test_a_rule_counts_what_was_there_before_it(
        self, api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        for _ in range(3):
            api.publish(tenant, source)
        rule = make_rule(tenant, source, threshold=3)
        wait_for(lambda: receiver.with_text(source, TRIGGERED), 10, "the alert arrived")
        assert len(api.alerts(tenant, rule["id"])) == 1
        answer = api.call("POST", "/alerts/evaluate", tenant=tenant).ok()
        [row] = [row for row in answer["alerts"] if row["rule_id"] == rule["id"]]
        assert (row["state"], row["count"], row["new"]) == ("firing", 3, False)

    def test_a_disabled_rule_is_silent_and_wakes_again(
        self, api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        rule = make_rule(tenant, source)
        path = f"/alerts/rules/{rule['id']}/enabled"
        api.call("PATCH", path, tenant=tenant, query={"enabled": "false"}).ok()
        api.publish(tenant, source)
        _relayed(api, tenant, receiver, make_rule)
        assert api.alerts(tenant, rule["id"]) == []
        api.call("PATCH", path, tenant=tenant, query={"enabled": "true"}).ok()
        wait_for(lambda: receiver.with_text(source, TRIGGERED), 10, "the alert arrived")

    def test_groups_have_episodes_of_their_own(
        self, api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        rule = make_rule(tenant, source, threshold=2, group_by=["payload.region"])
        for region in ("north", "south", "north", "west", "south"):
            api.publish(tenant, source, payload={"service": source, "region": region})
        wait_for(lambda: len(receiver.with_text(source, TRIGGERED)) == 2, 10, "two groups alert")
        raised = api.alerts(tenant, rule["id"])
        groups = sorted(event["payload"]["group"]["payload.region"] for event in raised)
        assert groups == ["north", "south"]


class TestTenants:
    def test_never_see_each_other(
        self, api: Api, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        one, other = unique("e2e"), unique("e2e")
        rule = make_rule(one, source, threshold=2)
        twin = make_rule(other, source, threshold=2)
        kept = api.publish(one, source)
        api.publish(other, source)
        api.call("POST", "/ops/register", {"name": source, "url": "http://a.example"}, tenant=one)
        _relayed(api, one, receiver, make_rule)
        # One event each: neither rule has its two.
        assert api.alerts(one, rule["id"]) == api.alerts(other, twin["id"]) == []

        api.publish(one, source)
        wait_for(lambda: api.alerts(one, rule["id"]), 10, "the first tenant's alert")
        wait_for(lambda: receiver.with_text(source, TRIGGERED), 10, "its delivery")
        assert {event["tenant_id"] for event in api.recent(one)} <= {one, "system"}
        assert {event["tenant_id"] for event in api.recent(other)} <= {other, "system"}
        assert api.alerts(other, rule["id"]) == []
        [got] = receiver.with_text(source)
        assert f"*Tenant:* `{one}`" in got.text

        api.event(other, kept["event_id"]).problem(404)
        api.call("GET", f"/alerts/rules/{rule['id']}", tenant=other).problem(404)
        api.call("DELETE", f"/alerts/rules/{rule['id']}", tenant=other).problem(404)
        shown = api.call("GET", "/alerts/rules", tenant=other).ok()["rules"]
        assert {r["tenant_id"] for r in shown} <= {other, None}
        assert api.call("GET", "/ops/services", tenant=other).ok()["services"] == []
        api.call("DELETE", f"/ops/services/{source}", tenant=other).problem(404)

    def test_a_global_rule_counts_all_of_them(
        self, api: Api, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        rule = make_rule(None, source, threshold=2)
        assert rule["tenant_id"] is None
        for tenant in (unique("e2e"), unique("e2e")):
            api.publish(tenant, source)
        [got] = wait_for(lambda: receiver.with_text(source, TRIGGERED), 10, "the alert arrived")
        assert "*Tenant:* `system`" in got.text
        # Platform-wide, hence in every tenant's view.
        assert len(api.alerts(unique("e2e"), rule["id"])) == 1

    def test_a_global_rule_by_tenant_raises_each_ones_own(
        self, api: Api, source: str, receiver: Receiver, make_rule: RuleMaker
    ) -> None:
        rule = make_rule(None, source, group_by=["tenant_id"])
        one, other = unique("e2e"), unique("e2e")
        for tenant in (one, other):
            api.publish(tenant, source)
        wait_for(lambda: len(receiver.with_text(source, TRIGGERED)) == 2, 10, "both alerts")
        for tenant in (one, other):
            [raised] = api.alerts(tenant, rule["id"])
            assert raised["tenant_id"] == tenant


def _relayed(api: Api, tenant: str, receiver: Receiver, make_rule: RuleMaker) -> None:
    """Waits until the relay has done all that was published before: the stream keeps its order, so
    the alert of an event behind it says so."""
    fence = unique("fence")
    make_rule(tenant, fence)
    api.publish(tenant, fence)
    wait_for(lambda: receiver.with_text(fence, TRIGGERED), 20, "the fence's alert")


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}T00:00:00Z"
