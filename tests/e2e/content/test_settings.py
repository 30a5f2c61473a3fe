"""The gateway's own mode, its bound, and its hooks, over a real server."""

import json

import pytest

from tests.e2e.config import CONFIG, SCRIPTED
from tests.e2e.conftest import ON_ONE_DATABASE, MakeGateway
from tests.e2e.content.test_modes import SECRET, ask_route, content_of, kept
from tests.e2e.gateway import manage
from tests.e2e.routes import CHAT, Route

pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE]


def raise_always(text: str) -> str:
    """A hook with a fault, which tells the text in its message."""
    raise RuntimeError(text)


def test_the_gateways_mode_is_for_who_says_nothing_and_bounded(make_gateway: MakeGateway, route: Route) -> None:
    agents = CONFIG["AGENTS"] | {"quiet": {"BACKEND": SCRIPTED, "CONTENT": "none"}}
    gateway = make_gateway(CONTENT="full", CONTENT_CHARACTERS=200, AGENTS=agents)
    reply = ask_route(gateway, route, "scripted/count-1000", stream=True, prompt="x" * 5000)
    row = kept(gateway, reply.headers["x-request-id"])
    assert row["mode"] == "full"
    assert row["remarks"] == "The request was cut. The answer was cut."
    assert len(row["request"]) < 400
    assert len(json.loads(row["answer"])[0]["text"]) <= 200
    assert row["answer_characters"] == row["delivered_characters"] > 4000
    quiet = ask_route(gateway, route, "quiet/echo", stream=False)
    assert content_of(gateway, quiet.headers["x-request-id"]) is None
    assert "Clean" in manage("verifyruns", env=gateway.env)


def test_a_hook_that_fails_leaves_a_digest_and_never_the_text(make_gateway: MakeGateway, stream: bool) -> None:
    gateway = make_gateway(CONTENT="redacted", CONTENT_REDACTION=[f"{__name__}.raise_always"])
    reply = ask_route(gateway, CHAT, "scripted/echo", stream=stream)
    assert reply.status == 200
    row = kept(gateway, reply.headers["x-request-id"])
    assert (row["mode"], row["request"], row["answer"]) == ("redacted", "", "")
    assert row["request_digest"].startswith("sha256:")
    assert "RuntimeError" in row["remarks"]
    assert SECRET not in json.dumps(row, default=str)
    assert "content.not_kept" in gateway.log
    assert SECRET not in gateway.log
