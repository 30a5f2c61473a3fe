"""What a client calls its runs binds nothing and is found again, whatever it is."""

from urllib.parse import urlencode

import pytest

from tests.e2e.gateway import Gateway
from tests.e2e.routes import ROUTES, Route
from tests.e2e.test_api import operator_of
from tests.e2e.wire import ask

pytestmark = [pytest.mark.e2e]

FIELDS = ("user", "safety_identifier", "prompt_cache_key")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_run_is_found_by_what_its_client_called_it(gateway: Gateway, route: Route) -> None:
    key = operator_of(gateway)
    names = {name: f"{name} of {route.name}" for name in FIELDS}
    metadata = {"order": f"4711 of {route.name}", "nul": "\x00", "long": "ö" * 512}
    stream = route.modes[0]
    body = route.body("scripted/echo", stream=stream, **names, metadata=metadata)
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert reply.status == 200, reply
    run_id = reply.headers["x-request-id"]
    ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body("scripted/echo", stream=stream))
    for term in [*(f"{name}:{value}" for name, value in names.items()), f"metadata.order:{metadata['order']}"]:
        found = ask(gateway.port, "GET", f"/api/runs/?{urlencode({'q': term})}", key=key).json
        assert [run["id"] for run in found["results"]] == [run_id], term
