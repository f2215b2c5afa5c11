def test_smoke(stack):
    a = stack.call("GET", "/ops/ping", roles=None)
    print(a)
    assert a.status == 200
    a = stack.call("GET", "/nope", roles=None)
    print(a)
    assert a.status == 404
    a = stack.call("POST", "/ops/ping", roles=None)
    print(a)
    assert a.status == 405
    a = stack.call("POST", "/ops/register", body={"name": "svc", "url": "http://x:1"})
    print(a)
    assert a.status == 200
    a = stack.call("GET", "/ops/services")
    print(a)
    assert a.status == 200
    a = stack.call("POST", "/ops/register", body={"name": "svc", "bad": 1})
    print(a)
    assert a.status == 422
    a = stack.call("POST", "/ops/register", raw="{")
    print(a)
    assert a.status == 422
    a = stack.call(
        "POST",
        "/alerts/rules",
        body={"name": "r", "window_seconds": 60, "threshold": 2, "event_type": "autoheal.failed"},
    )
    print(a)
    assert a.status == 200
    rid = a.body["rule_id"]
    for i in range(3):
        a = stack.publish()
        print(a)
        assert a.status == 200
    print(stack.recent())
    stack.relay()
    print([e["event_type"] for e in stack.recent()])
    print(stack.queue("notifications-test"))
    a = stack.call("POST", "/alerts/evaluate")
    print(a)
    a = stack.call("GET", f"/events/{stack.recent()[0]['event_id']}")
    print(a)
    a = stack.call("GET", "/alerts/rules/" + rid)
    print(a.status)
    a = stack.call("PATCH", "/alerts/rules/" + rid + "/enabled", query={"enabled": "false"})
    print(a)
    a = stack.call("DELETE", "/alerts/rules/" + rid)
    print(a)
    print([e["event_type"] for e in stack.recent()])
    a = stack.call("DELETE", "/ops/services/svc")
    print(a)
