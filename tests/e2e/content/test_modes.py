"""What is kept of a run's content, by mode, endpoint and way of ending, seen in the database of a real server."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.config import CONFIG, SCRIPTED
from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway, Row, Store, manage, wait_for
from tests.e2e.responses.client import answer_of, call, respond
from tests.e2e.routes import CHAT, COMPACT, Route
from tests.e2e.socket_wire import SocketClient
from tests.e2e.wire import Client, Leaving, Reply, ask

pytestmark = pytest.mark.e2e

SECRET = "sk-proj-abcdefghijklmnop1234"
PROMPT = f"my key is {SECRET} please"

AGENTS: dict[str, Any] = CONFIG["AGENTS"] | {
    mode: {"BACKEND": SCRIPTED, "GRACE_SECONDS": 0.3, "CONTENT": mode}
    for mode in ("none", "digest", "redacted", "full")
}
KEPT = CONFIG | {"AGENTS": AGENTS | {"told": AGENTS["told"] | {"CONTENT": "full"}}}


@pytest.fixture(scope="module")
def gateway(template: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server with an agent for each mode, and nothing kept where nobody says so."""
    folder = tmp_path_factory.mktemp("content")
    server = Gateway(template.copy(folder), KEPT, folder).start()
    yield server
    server.stop()
    server.store.drop()


def content_of(gateway: Gateway, run_id: str) -> Row | None:
    """What is kept of a run that has ended."""
    gateway.store.ended(run_id)
    rows = gateway.store.query("SELECT * FROM gateway_run_content WHERE run_id = ?", gateway.store._id(run_id))
    assert len(rows) <= 1
    return rows[0] if rows else None


def kept(gateway: Gateway, run_id: str) -> Row:
    found = content_of(gateway, run_id)
    assert found is not None
    return found


def asked(row: Row) -> str:
    """The text of the last message."""
    return str(json.loads(row["request"])["messages"][-1]["content"][0]["text"])


def answered(row: Row) -> str:
    return "".join(piece["text"] for piece in json.loads(row["answer"]))


def ask_route(
    gateway: Gateway, route: Route, model: str, *, stream: bool, prompt: str = PROMPT, **headers: str
) -> Reply:
    body = route.body(model, stream=stream, prompt=prompt)
    return ask(gateway.port, "POST", route.path, key=gateway.key, body=body, headers=headers)


@pytest.mark.parametrize("mode", ["none", "digest", "redacted", "full"])
def test_each_mode_keeps_so_much(gateway: Gateway, route: Route, stream: bool, mode: str) -> None:
    reply = ask_route(gateway, route, f"{mode}/echo", stream=stream)
    assert reply.status == 200
    run = reply.headers["x-request-id"]
    row = content_of(gateway, run)
    if mode == "none":
        assert row is None
        return
    assert row is not None
    assert (row["mode"], row["remarks"]) == (mode, "")
    assert row["answer_characters"] == row["delivered_characters"] == len(PROMPT)
    hidden = PROMPT.replace(SECRET, "[redacted: API key]")
    if mode == "digest":
        assert (row["request"], row["answer"]) == ("", "")
    else:
        assert (asked(row), answered(row)) == (PROMPT, PROMPT) if mode == "full" else (hidden, hidden)
        assert "delivered" not in json.loads(row["answer"])[0]
    assert bool(row["request_digest"]) == bool(row["answer_digest"]) == (mode != "redacted")
    if mode != "full":
        assert SECRET not in json.dumps(row, default=str)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_of_an_aborted_stream_what_was_generated_and_what_was_delivered(
    gateway: Gateway, route: Route, how: Leaving
) -> None:
    client = route.open(gateway, "full/slow-3000x20ms", stream=True, name=f"leaves-{how}")
    client.read_until(b"charlie")
    client.leave(how)
    row = kept(gateway, _run_named(gateway, f"leaves-{how}"))
    text = answered(row)
    assert text.startswith("alpha bravo charlie")
    assert row["answer_characters"] == len(text)
    assert 0 < row["delivered_characters"] <= len(text)
    [piece] = json.loads(row["answer"])
    delivered = text[: piece.get("delivered", len(text))]
    assert len(delivered) == row["delivered_characters"]
    assert delivered.startswith("alpha bravo charlie")


@ON_ONE_DATABASE
def test_an_answer_in_one_piece_was_delivered_as_a_whole_or_not_at_all(gateway: Gateway, route: Route) -> None:
    client = route.open(gateway, "full/slow-3000x20ms", stream=False, name=f"plain-{route.name}")
    run = _run_named(gateway, f"plain-{route.name}")
    with pytest.raises(TimeoutError):
        client.socket.settimeout(1)
        client.read_until(b"alpha")
    client.leave("rst")
    row = kept(gateway, run)
    assert answered(row).startswith("alpha")
    assert (row["delivered_characters"], json.loads(row["answer"])[0]["delivered"]) == (0, 0)


@ON_ONE_DATABASE
def test_what_an_agent_says_after_its_client_has_left_was_generated_and_not_delivered(gateway: Gateway) -> None:
    client = CHAT.open(gateway, "full/finish-on-cancel", stream=True, name="last-words")
    client.read_until(b"almost")
    client.leave("fin")
    row = kept(gateway, _run_named(gateway, "last-words"))
    assert json.loads(row["answer"]) == [{"type": "text", "text": "almost done", "delivered": len("almost")}]
    assert (row["answer_characters"], row["delivered_characters"]) == (len("almost done"), len("almost"))


@ON_ONE_DATABASE
def test_a_run_that_an_operator_cancels(gateway: Gateway, route: Route) -> None:
    client = route.open(gateway, "full/slow-3000x20ms", stream=True, name=f"cancelled-{route.name}")
    client.read_until(b"bravo")
    run = _run_named(gateway, f"cancelled-{route.name}")
    manage("cancelrun", run, env=gateway.env)
    row = kept(gateway, run)
    assert answered(row).startswith("alpha bravo")
    assert row["delivered_characters"] == row["answer_characters"]


def test_a_run_in_the_background(gateway: Gateway) -> None:
    reply = respond(gateway, "redacted/echo", background=True, input=PROMPT)
    run = reply.headers["x-request-id"]
    row = kept(gateway, run)
    hidden = PROMPT.replace(SECRET, "[redacted: API key]")
    assert (asked(row), answered(row)) == (hidden, hidden)
    assert row["delivered_characters"] == len(PROMPT)


@ON_ONE_DATABASE
def test_a_run_in_the_background_that_is_cancelled(gateway: Gateway) -> None:
    reply = respond(gateway, "full/slow-3000x20ms", background=True)
    run, id_ = reply.headers["x-request-id"], answer_of(reply)["id"]
    follower = Client(gateway.port)
    follower.send("GET", f"/v1/responses/{id_}?stream=true", key=gateway.key)
    follower.read_until(b"bravo")
    assert call(gateway, "POST", f"{id_}/cancel").status == 200
    row = kept(gateway, run)
    assert answered(row).startswith("alpha bravo")
    assert row["delivered_characters"] == row["answer_characters"] == len(answered(row))


@ON_ONE_DATABASE
def test_what_a_response_continues_was_asked_too(gateway: Gateway) -> None:
    first = answer_of(respond(gateway, "full/echo", input="the first"))
    reply = respond(gateway, "full/echo", input="the second", previous_response_id=first["id"])
    row = kept(gateway, reply.headers["x-request-id"])
    texts = [message["content"][0]["text"] for message in json.loads(row["request"])["messages"]]
    assert texts == ["the first", "the first", "the second"]


def test_a_response_on_a_websocket(gateway: Gateway) -> None:
    client = SocketClient(gateway.port, key=gateway.key, headers={"X-Client-Request-Id": "socket"})
    client.create("redacted/echo", input=PROMPT)
    assert client.events()[-1]["type"] == "response.completed"
    client.create("full/slow-3000x20ms")
    client.read_text("bravo")
    client.leave_socket("close")
    runs = wait_for(lambda: _all_named(gateway, "socket", 2))
    done, left = (kept(gateway, run) for run in runs)
    hidden = PROMPT.replace(SECRET, "[redacted: API key]")
    assert (asked(done), answered(done), done["delivered_characters"]) == (hidden, hidden, len(PROMPT))
    assert answered(left).startswith("alpha bravo")
    assert 0 < left["delivered_characters"] <= left["answer_characters"]


@ON_ONE_DATABASE
def test_a_conversation_that_is_compacted(gateway: Gateway) -> None:
    row = kept(gateway, ask_route(gateway, COMPACT, "full/echo", stream=False).headers["x-request-id"])
    assert json.loads(row["request"])["messages"][0]["content"][0]["text"] == PROMPT
    assert row["delivered_characters"] == row["answer_characters"] > 0


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("agent", "header", "mode"),
    [
        ("full", "redacted", "redacted"),
        ("full", "digest", "digest"),
        ("full", " None ", None),
        ("redacted", "full", "redacted"),
        ("none", "full", None),
        ("scripted", "full", None),
        ("full", "full", "full"),
    ],
)
def test_a_request_can_only_make_it_stricter(
    gateway: Gateway, route: Route, agent: str, header: str, mode: str | None
) -> None:
    reply = ask_route(gateway, route, f"{agent}/echo", stream=False, **{"X-Gateway-Content": header})
    row = content_of(gateway, reply.headers["x-request-id"])
    assert (row and row["mode"]) == mode


@ON_ONE_DATABASE
@pytest.mark.parametrize("value", ["everything", "", "full, none"])
def test_a_mode_that_is_none_is_refused(gateway: Gateway, route: Route, value: str) -> None:
    reply = ask_route(gateway, route, "full/echo", stream=False, **{"X-Gateway-Content": value})
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["param"]) == (
        400,
        "invalid_value",
        "x-gateway-content",
    )
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], content_of(gateway, row["id"])) == ("rejected", None)


@ON_ONE_DATABASE
def test_the_header_of_a_websocket_is_for_all_that_comes_on_it(gateway: Gateway) -> None:
    client = SocketClient(gateway.port, key=gateway.key, headers={"X-Gateway-Content": "digest"})
    client.create("full/echo", input="by the socket")
    client.events()
    [run] = wait_for(lambda: gateway.store.query("SELECT run_id FROM gateway_run_content WHERE mode = 'digest'"))[-1:]
    assert run
    wrong = SocketClient(gateway.port, key=gateway.key, headers={"X-Gateway-Content": "all"})
    wrong.create("full/echo")
    assert wrong.event()["error"]["param"] == "x-gateway-content"


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("key", "agent", "mode"),
    [
        ("full", "scripted", "full"),
        ("digest", "full", "digest"),
        ("full", "redacted", "redacted"),
        ("none", "full", None),
    ],
)
def test_of_key_and_agent_the_stricter_holds(
    gateway: Gateway, route: Route, key: str, agent: str, mode: str | None
) -> None:
    text = manage("createkey", f"key {key}", "--content", key, env=gateway.env).splitlines()[-1]
    body = route.body(f"{agent}/echo", stream=False)
    reply = ask(gateway.port, "POST", route.path, key=text, body=body)
    row = content_of(gateway, reply.headers["x-request-id"])
    assert (row and row["mode"]) == mode


@ON_ONE_DATABASE
def test_of_an_image_type_size_and_digest_are_kept(gateway: Gateway) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(5000)
    url = f"data:image/png;base64,{b64encode(data).decode()}"
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "full/echo", "messages": [{"role": "user", "content": content}]}
    reply = ask(gateway.port, "POST", CHAT.path, key=gateway.key, body=body)
    row = kept(gateway, reply.headers["x-request-id"])
    [message] = json.loads(row["request"])["messages"]
    assert message["content"][1] == {
        "type": "image",
        "media_type": "image/png",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert len(row["request"]) < 400


@ON_ONE_DATABASE
@pytest.mark.parametrize("story", ["calls", "reasoning", "refusal", "phases"])
def test_everything_an_agent_can_say(gateway: Gateway, stream: bool, story: str) -> None:
    body = CHAT.body(f"told/{story}", stream=stream)
    if story == "calls":
        body["tools"] = [CHAT.tool("weather")]
    reply = ask(gateway.port, "POST", CHAT.path, key=gateway.key, body=body)
    assert reply.status == 200, reply.body
    row = kept(gateway, reply.headers["x-request-id"])
    told = {
        "calls": [
            {"type": "text", "text": "Looking."},
            {"type": "tool_call", "call_id": "call_1", "name": "weather", "text": '{"city": "Paris"}'},
            {"type": "tool_call", "call_id": "call_2", "name": "weather", "text": '{"city": "Rome"}'},
        ],
        "reasoning": [
            {"type": "reasoning", "text": "Hmm."},
            {"type": "reasoning_summary", "text": "I thought."},
            {"type": "text", "text": "4"},
        ],
        "refusal": [{"type": "text", "text": "Well, "}, {"type": "refusal", "text": "I cannot."}],
        "phases": [
            {"type": "text", "phase": "commentary", "text": "I count."},
            {"type": "text", "phase": "final_answer", "text": "Four."},
        ],
    }
    assert json.loads(row["answer"]) == told[story]


@ON_ONE_DATABASE
def test_a_call_that_the_client_did_not_permit_was_generated_and_not_delivered(gateway: Gateway) -> None:
    body = CHAT.body("told/calls", stream=True, tools=[CHAT.tool("weather")], parallel_tool_calls=False)
    reply = ask(gateway.port, "POST", CHAT.path, key=gateway.key, body=body)
    pieces = json.loads(kept(gateway, reply.headers["x-request-id"])["answer"])
    assert [piece.get("delivered", "all") for piece in pieces] == ["all", "all", 0]


@ON_ONE_DATABASE
def test_all_of_it_is_sealed(gateway: Gateway) -> None:
    for mode in ("digest", "redacted", "full"):
        assert content_of(gateway, ask_route(gateway, CHAT, f"{mode}/echo", stream=False).headers["x-request-id"])
    assert "Clean" in manage("verifyruns", env=gateway.env)


def _find(gateway: Gateway, name: str) -> str | None:
    found = gateway.store.query("SELECT id FROM gateway_run WHERE client_request_id = ?", name)
    return str(found[0]["id"]) if found else None


def _run_named(gateway: Gateway, name: str) -> str:
    return wait_for(lambda: _find(gateway, name), what=f"the run {name}")


def _all_named(gateway: Gateway, name: str, count: int) -> list[str] | None:
    sql = "SELECT id FROM gateway_run WHERE client_request_id = ? ORDER BY received_at"
    found = [str(row["id"]) for row in gateway.store.query(sql, name)]
    return found if len(found) == count else None
