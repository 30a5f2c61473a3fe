"""Every field of both schemas with every wrong type, as the protocols' own files have them."""

import json
from typing import Any

import pytest

from tests import spec
from tests.e2e.bad_input.raw import PATIENCE_SECONDS, check_envelope
from tests.e2e.gateway import Gateway
from tests.e2e.routes import CHAT, RESPONSES, Route
from tests.e2e.wire import Client

pytestmark = pytest.mark.e2e

VALUES: list[Any] = [
    0, -1, 1.5, 10**30, True, "", "x", [], [1], ["x"], [None], [{}], {}, {"x": 1}, {"type": 1}, {"type": "function"},
    [{"type": "x"}],
]  # fmt: skip
HOSTED = [{"type": "x"}]
"""For all we know a tool that other servers run: left out, which the run's record says."""
SCHEMAS = {
    CHAT: (spec.OPENAI_CHAT, "CreateChatCompletionRequest"),
    RESPONSES: (spec.OPEN_RESPONSES, "CreateResponseBody"),
}
FIELDS = [(route, name) for route, schema in SCHEMAS.items() for name in sorted(spec.properties(*schema))]


@pytest.mark.parametrize(("route", "name"), FIELDS, ids=lambda value: getattr(value, "name", value))
def test_a_field_of_a_wrong_type_is_refused_by_its_name(server: Gateway, route: Route, name: str) -> None:
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    let_pass = []
    for value in VALUES:
        body = route.body("scripted/count-1", stream=False) | {name: value}
        client.send("POST", route.path, key=server.key, body=body)
        reply = client.read_reply()
        if reply.status == 200:
            if spec.faults(*SCHEMAS[route], body):
                let_pass.append(json.dumps(value))
        elif reply.status == 404:
            assert check_envelope(reply, "model_not_found")["param"] == name == "model"
        else:
            error = check_envelope(reply)
            assert reply.status == 400
            assert (error["param"] or "").partition("[")[0].partition(".")[0] == name, (value, error)
    assert let_pass == ([json.dumps(HOSTED)] if (route, name) == (RESPONSES, "tools") else [])
