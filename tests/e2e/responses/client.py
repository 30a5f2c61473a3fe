"""How these tests ask."""

from typing import Any

from tests.e2e.gateway import Gateway, base_env
from tests.e2e.wire import Reply, ask


def respond(gateway: Gateway, model: str, *, stream: bool = False, **body: Any) -> Reply:
    """Make a response."""
    whole = {"model": model, "input": "hello", "stream": stream, **body}
    return ask(gateway.port, "POST", "/v1/responses", key=gateway.key, body=whole)


def call(gateway: Gateway, method: str, path: str) -> Reply:
    """Ask for one that exists."""
    return ask(gateway.port, method, f"/v1/responses/{path}", key=gateway.key)


def answer_of(reply: Reply) -> dict[str, Any]:
    """The response object of a reply, streamed or not."""
    assert reply.status == 200, reply.body
    if reply.headers["content-type"].startswith("text/event-stream"):
        response: dict[str, Any] = reply.events[-2]["response"]
        return response
    body: dict[str, Any] = reply.json
    return body


def env_of(gateway: Gateway) -> dict[str, str]:
    """The environment of a command that works on the gateway's database."""
    return base_env() | {"DATABASE_URL": gateway.store.url}
