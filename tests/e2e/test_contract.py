"""What both endpoints promise of every request: ids, errors, methods, CORS, records."""

import uuid
from typing import Any

import pytest

from tests.e2e.conftest import ON_ONE_DATABASE, MakeGateway
from tests.e2e.gateway import Gateway, manage, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, Reply, ask

pytestmark = pytest.mark.e2e


def post(gateway: Gateway, route: Route, body: Any, **headers: str) -> Reply:
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(gateway.port, "POST", route.path, key=gateway.key, body=body, headers=spelled)


@pytest.mark.compliance("Chat Completions", "stream")
@pytest.mark.compliance("Open Responses", "stream")
@pytest.mark.compliance("HTTP", "Content-Type")
def test_an_answer_is_the_same_streamed_or_not(gateway: Gateway, route: Route) -> None:
    plain = post(gateway, route, route.body("scripted/count-12", stream=False))
    streamed = post(gateway, route, route.body("scripted/count-12", stream=True))
    assert plain.status == streamed.status == 200
    assert plain.headers["content-type"] == "application/json"
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert streamed.events[-1] == "[DONE]"
    assert len(route.text(plain.json).split()) == 12
    assert route.text(plain.json) == route.streamed_text(streamed.events)


@pytest.mark.compliance("Chat Completions", "x-request-id", "user")
@pytest.mark.compliance("Open Responses", "x-request-id")
@pytest.mark.compliance("OpenAI Responses", "user")
def test_the_reply_bears_the_runs_id_and_the_record_who_asked(gateway: Gateway, route: Route, stream: bool) -> None:
    reply = post(
        gateway,
        route,
        route.body("gpt-4o", stream=stream, user="u-1"),
        X_Client_Request_Id="mine-42",
        User_Agent="tester/1.0",
    )
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert uuid.UUID(row["id"]).version == 7
    expected = {
        "status": "completed",
        "agent": "scripted",
        "model": "count-3",
        "requested_model": "gpt-4o",
        "streaming": stream,
        "principal_kind": "api_key",
        "principal_label": "tester",
        "client_address": "127.0.0.1",
        "user_agent": "tester/1.0",
        "client_request_id": "mine-42",
        "http_status": 200,
        "delivered": True,
        "finish_reason": "stop",
        "input_tokens": 1,
        "output_tokens": 3,
        "usage_source": "reported",
        "tokens_sent": 3,
        "error_code": "",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["bytes_sent"] == len(reply.body)
    moments = [row[name] for name in ("received_at", "started_at", "first_output_at", "settled_at", "finished_at")]
    assert moments == sorted(moments)


@pytest.mark.compliance("HTTP", "x-request-id (caller's)")
def test_a_callers_id_that_is_no_printable_ascii_is_not_kept(gateway: Gateway, route: Route) -> None:
    body = route.body("scripted/count-1", stream=False)
    for value in ("x" * 129, "sch\xf6n"):
        reply = post(gateway, route, body, X_Request_Id=value)
        assert reply.headers["x-request-id"] != value
        assert gateway.store.ended(reply.headers["x-request-id"])["client_request_id"] == ""


REFUSED: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("an unknown model", {"model": "nobody"}, 404, "model_not_found", "model"),
    ("an unknown script", {"model": "scripted/nothing"}, 404, "model_not_found", "model"),
    ("no model", {"model": None}, 400, "invalid_value", "model"),
    ("a model that is no string", {"model": 5}, 400, "invalid_value", "model"),
    ("a boolean as a number", {"temperature": True}, 400, "invalid_value", "temperature"),
    ("a temperature out of range", {"temperature": 2.5}, 400, "invalid_value", "temperature"),
    ("a stream that is no boolean", {"stream": "yes"}, 400, "invalid_value", "stream"),
    ("a tool without a name", {"tools": [{"type": "function"}]}, 400, "", None),
    ("an unknown tool choice", {"tool_choice": "perhaps"}, 400, "invalid_value", "tool_choice"),
]


@pytest.mark.compliance("Chat Completions", "Error", "model", "before the first byte")
@pytest.mark.compliance("Open Responses", "ErrorPayload", "model", "Errors")
@pytest.mark.parametrize(("_what", "change", "status", "code", "param"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_wrong_is_refused_by_name_and_recorded(
    gateway: Gateway, route: Route, stream: bool, _what: str, change: dict[str, Any], status: int, code: str, param: str
) -> None:
    reply = post(gateway, route, route.body("scripted/echo", stream=stream) | change)
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (reply.status, error["type"]) == (status, "invalid_request_error")
    if code:
        assert (error["code"], error["param"]) == (code, param)
    else:
        assert error["param"].startswith("tools[0]")
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["http_status"], row["error_code"]) == ("rejected", status, error["code"])
    assert row["started_at"] is None
    assert row["finished_at"] is not None


BODIES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("no JSON", b"{", {}, 400, "invalid_json"),
    ("nothing", b"", {}, 400, "invalid_json"),
    ("NaN", b'{"temperature": NaN}', {}, 400, "invalid_json"),
    ("a number beyond all numbers", b'{"model": "scripted/echo", "x": [{"y": 1e999}]}', {}, 400, "invalid_json"),
    ("no object", b"[]", {}, 400, "invalid_value"),
    ("deep nesting", b"[" * 100_000, {}, 400, "invalid_json"),
    ("a form", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ("no content type", b"{}", {"Content-Type": ""}, 415, "unsupported_media_type"),
    ("no gzip", b"{}", {"Content-Encoding": "gzip"}, 400, "invalid_content_encoding"),
    ("brotli", b"{}", {"Content-Encoding": "br"}, 415, "unsupported_media_type"),
]


@pytest.mark.compliance("HTTP", "JSON", "Content-Type", "Content-Encoding")
@pytest.mark.parametrize(("_what", "body", "headers", "status", "code"), BODIES, ids=[case[0] for case in BODIES])
def test_a_body_that_cannot_be_read_is_refused(
    gateway: Gateway, route: Route, _what: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body, headers=headers)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)


@pytest.mark.compliance("Chat Completions", "401")
@pytest.mark.compliance("Open Responses", "ErrorPayload")
@pytest.mark.parametrize("key", [None, "sk-nobody", "gw-000000000000-x", "gw--", "\xff\xfe"])
def test_without_a_key_nothing_runs_and_nothing_is_stored(gateway: Gateway, route: Route, key: str | None) -> None:
    reply = ask(gateway.port, "POST", route.path, key=key, body=route.body("scripted/echo", stream=False))
    assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    later = post(gateway, route, route.body("scripted/echo", stream=False))
    gateway.store.ended(later.headers["x-request-id"])
    assert gateway.store.run(reply.headers["x-request-id"]) is None
    refused = [line for line in gateway.log_lines if line.get("run_id") == reply.headers["x-request-id"]]
    assert [line["event"] for line in refused] == ["request.refused"]


@pytest.mark.compliance("HTTP", "Allow")
@pytest.mark.compliance("Chat Completions", "GET /chat/completions")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused_with_those_allowed(gateway: Gateway, route: Route, method: str) -> None:
    reply = ask(gateway.port, method, route.path, key=gateway.key)
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert reply.json["error"]["code"] == "method_not_allowed"


@pytest.mark.compliance("Chat Completions", "before the first byte", "error in a stream", "data: [DONE]")
@pytest.mark.compliance("Open Responses", "Errors", "data: [DONE]")
def test_a_failure_before_the_first_byte_is_a_status_and_later_an_error_frame(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    early = post(gateway, route, route.body("scripted/fail", stream=stream))
    assert (early.status, early.json["error"]["code"]) == (500, "scripted_failure")
    late = post(gateway, route, route.body("scripted/fail-after-2", stream=stream))
    if stream:
        error = route.stream_error(late.events)
        assert error is not None
        assert (late.status, error["code"]) == (200, "scripted_failure")
        assert late.events[-1] == "[DONE]"
    else:
        assert (late.status, late.json["error"]["code"]) == (500, "scripted_failure")
    for reply in (early, late):
        row = gateway.store.ended(reply.headers["x-request-id"])
        assert (row["status"], row["error_code"]) == ("failed", "scripted_failure")
        assert row["delivered"] is True


@pytest.mark.compliance("Chat Completions", "max_completion_tokens")
@pytest.mark.compliance("Open Responses", "max_output_tokens")
def test_stop_and_the_token_limit_are_obeyed(gateway: Gateway, route: Route) -> None:
    limit = "max_output_tokens" if route.prompt_field == "input" else "max_completion_tokens"
    reply = post(gateway, route, route.body("scripted/count-50", stream=False) | {limit: 16})
    assert len(route.text(reply.json).split()) == 16
    assert gateway.store.ended(reply.headers["x-request-id"])["finish_reason"] == "length"


@pytest.mark.compliance("Chat Completions", "model")
@pytest.mark.compliance("Open Responses", "model")
@pytest.mark.compliance("OpenAI Responses", "GET /models")
def test_a_key_may_use_only_its_agents(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway()
    env = {"DATABASE_URL": gateway.store.url}
    from tests.e2e.gateway import base_env

    narrow = manage("createkey", "narrow key", "--agent", "narrow", env=base_env() | env).splitlines()[-1]
    allowed = ask(gateway.port, "POST", route.path, key=narrow, body=route.body("narrow/echo", stream=False))
    refused = ask(gateway.port, "POST", route.path, key=narrow, body=route.body("scripted/echo", stream=False))
    assert (allowed.status, refused.status) == (200, 404)
    listed = {model["id"] for model in ask(gateway.port, "GET", "/v1/models", key=narrow).json["data"]}
    assert "narrow/echo" in listed
    assert not {name for name in listed if not name.startswith("narrow")}


@pytest.mark.compliance("OpenAI Responses", "GET /models", "GET /models/{model}")
def test_the_catalogue_lists_and_describes_models(gateway: Gateway) -> None:
    listed = ask(gateway.port, "GET", "/v1/models", key=gateway.key).json
    assert listed["object"] == "list"
    names = {model["id"] for model in listed["data"]}
    assert {"scripted", "scripted/echo", "gpt-4o"} <= names
    one = ask(gateway.port, "GET", "/v1/models/scripted/slow-7x3ms", key=gateway.key)
    assert one.json == {"id": "scripted/slow-7x3ms", "object": "model", "created": 0, "owned_by": "scripted"}
    assert ask(gateway.port, "GET", "/v1/models/gpt-4o", key=gateway.key).json["owned_by"] == "scripted"
    missing = ask(gateway.port, "GET", "/v1/models/nobody", key=gateway.key)
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")
    assert ask(gateway.port, "GET", "/v1/models", key=None).status == 401
    assert ask(gateway.port, "POST", "/v1/models", key=gateway.key).status == 405


@pytest.mark.compliance("HTTP", "Origin")
def test_browsers_of_allowed_origins_are_let_in(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(CORS_ORIGINS=["https://shop.example"])
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Headers": "authorization, content-type"}
    preflight = ask(gateway.port, "OPTIONS", route.path, key=None, headers=asked)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    body = route.body("scripted/echo", stream=True)
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body, headers={"Origin": asked["Origin"]})
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    other = ask(
        gateway.port, "POST", route.path, key=gateway.key, body=body, headers={"Origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in other.headers


@ON_ONE_DATABASE
@pytest.mark.compliance("HTTP", "Origin")
def test_browsers_of_allowed_origins_may_read_why_the_server_refuses(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(CORS_ORIGINS=["https://shop.example"], LIMITS={"BODY_BYTES": 1000, "BODY_SECONDS": 2})
    length = {"too large": "1001", "too slow": "2", "in chunks": None}
    for case, status in (("too large", 413), ("too slow", 408), ("in chunks", 413)):
        client = Client(gateway.port)
        sized = {"Content-Length": length[case] or "", "Transfer-Encoding": "" if length[case] else "chunked"}
        headers = {"Origin": "https://shop.example", "Content-Type": "application/json"}
        headers |= {name: value for name, value in sized.items() if value}
        client.send("POST", route.path, key=gateway.key, headers=headers)
        if case == "in chunks":
            client.socket.sendall(b"fff\r\n" + b" " * 0xFFF + b"\r\n")
        reply = client.read_reply()
        assert (case, reply.status) == (case, status)
        assert reply.headers["access-control-allow-origin"] == "https://shop.example"
        assert "x-request-id" in reply.headers["access-control-expose-headers"]


@ON_ONE_DATABASE
@pytest.mark.compliance("Chat Completions", "429", "x-should-retry")
@pytest.mark.compliance("Open Responses", "Errors")
def test_a_full_queue_is_said_with_a_time_to_come_back(make_gateway: MakeGateway, route: Route, stream: bool) -> None:
    gateway = make_gateway(LIMITS={"QUEUED_RUNS": 1, "QUEUE_SECONDS": 3})
    body = route.body("narrow/think-60000ms", stream=True)
    for _ in range(2):
        Client(gateway.port).send("POST", route.path, key=gateway.key, body=body)
    wait_for(lambda: {row["status"] for row in gateway.store.runs()} == {"running", "queued"})
    full = post(gateway, route, route.body("narrow/echo", stream=stream))
    assert (full.status, full.json["error"]["code"]) == (429, "queue_full")
    assert int(full.headers["retry-after"]) >= 1
    assert full.headers["x-should-retry"] == "true"
    refused = gateway.store.ended(full.headers["x-request-id"])
    assert (refused["status"], refused["agent"], refused["model"]) == ("rejected", "narrow", "echo")
    waited = next(
        row for row in gateway.store.runs() if row["status"] != "running" and row["error_code"] != "queue_full"
    )
    row = gateway.store.ended(waited["id"])
    assert (row["status"], row["error_code"], row["http_status"]) == ("failed", "queue_timeout", 503)


@pytest.mark.compliance("Chat Completions", "429")
def test_a_keys_rate_holds_over_all_processes(make_gateway: MakeGateway, route: Route, stream: bool) -> None:
    limits = {"RUNS_PER_MINUTE": 3}
    first, second = make_gateway(LIMITS=limits), make_gateway(LIMITS=limits)
    body = route.body("scripted/echo", stream=stream)
    statuses = [post(gateway, route, body).status for gateway in (first, second, first, second)]
    assert statuses == [200, 200, 200, 429]
    refused = post(first, route, body)
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert first.store.ended(refused.headers["x-request-id"])["status"] == "rejected"


def test_a_keys_tokens_are_counted_too(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(LIMITS={"TOKENS_PER_MINUTE": 10})
    body = route.body("scripted/count-12", stream=False)
    first = post(gateway, route, body)
    gateway.store.ended(first.headers["x-request-id"])
    assert post(gateway, route, body).status == 429


def test_a_key_has_only_so_many_runs_at_a_time(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(LIMITS={"CONCURRENT_RUNS_PER_KEY": 1, "QUEUED_RUNS": 0})
    Client(gateway.port).send(
        "POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=True)
    )
    wait_for(lambda: gateway.store.runs())
    assert post(gateway, route, route.body("scripted/echo", stream=False)).status == 429


def test_metrics_count_the_ends(gateway: Gateway, route: Route) -> None:
    post(gateway, route, route.body("scripted/echo", stream=False))
    reply = ask(gateway.port, "GET", "/metrics", key=None)
    lines = reply.body.decode().splitlines()
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    endpoint = "responses" if route.prompt_field == "input" else "chat_completions"
    completed = f'gateway_runs_ended_total{{endpoint="{endpoint}",status="completed"'
    assert sum(int(line.split()[-1]) for line in lines if line.startswith(completed)) >= 1
    assert "gateway_journal_available 1" in lines
    assert "gateway_draining 0" in lines


def test_refusals_cannot_fill_the_table(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(LIMITS={"REJECTED_ROWS_PER_MINUTE": 3})
    for _ in range(10):
        assert post(gateway, route, {"model": "nobody"}).status in (400, 404)
    good = post(gateway, route, route.body("scripted/echo", stream=False))
    gateway.store.ended(good.headers["x-request-id"])
    # Ten at once may lie across a minute's border.
    assert 3 <= len([row for row in gateway.store.runs() if row["status"] == "rejected"]) <= 6


def test_the_server_tells_its_health(gateway: Gateway) -> None:
    assert ask(gateway.port, "GET", "/healthz", key=None).json == {"status": "ok"}
    ready = ask(gateway.port, "GET", "/readyz", key=None)
    assert ready.status == 200
    assert ready.json["checks"]["journal"]["ready"] is True


def test_other_paths_are_djangos(gateway: Gateway) -> None:
    assert ask(gateway.port, "GET", "/admin/login/", key=None).status == 200
    assert ask(gateway.port, "GET", "/v1/nothing", key=None).status == 404
    assert ask(gateway.port, "POST", "/v1/chat/completions/", key=gateway.key, body={}).status == 404


def test_a_required_call_that_the_agent_does_not_make_is_an_error_and_no_text(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    body = route.body("scripted/echo", stream=stream, tools=[route.tool("weather")], tool_choice="required")
    reply = post(gateway, route, body)
    assert (reply.status, reply.json["error"]["code"]) == (502, "tool_choice_not_satisfied")
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["error_code"], row["abort_cause"]) == ("failed", "tool_choice_not_satisfied", "")


def test_no_secret_reaches_log_or_record(gateway: Gateway, route: Route) -> None:
    post(gateway, route, route.body("scripted/echo", stream=False, prompt="my-secret-prompt"))
    post(gateway, route, {"model": "nobody", "x": "my-secret-prompt"})
    secret = gateway.key[-16:]
    assert secret not in gateway.log
    assert "my-secret-prompt" not in gateway.log
    assert secret not in str(gateway.store.runs())
