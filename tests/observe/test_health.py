"""``/healthz`` and ``/readyz``: whatever is wrong with a probe, the answer is "not ready", and in time."""

import asyncio
import json
from typing import Any

import pytest
from django.db import connections
from django.test import AsyncClient, RequestFactory

from gateway_project.observe import health
from gateway_project.observe.health import Probe, ProbeResult


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Probe]:
    """The list of probes, empty: the process's own look into its database."""
    made: dict[str, Probe] = {}
    monkeypatch.setattr(health, "_probes", made)
    return made


async def readyz() -> tuple[int, dict[str, Any]]:
    """Status and body."""
    reply = await health.readyz(RequestFactory().get("/readyz"))
    return reply.status_code, json.loads(reply.content)


async def green() -> ProbeResult:
    return ProbeResult(ready=True, detail="3 runs")


async def red() -> ProbeResult:
    return ProbeResult(ready=False, detail="draining")


async def broken() -> ProbeResult:
    raise ConnectionError("postgres://user:password@host")


async def slow() -> ProbeResult:
    await asyncio.Event().wait()
    raise AssertionError


async def test_alive_is_alive_whatever_the_probes_say() -> None:
    health.register_probe("journal", red)
    reply = await health.healthz(RequestFactory().get("/healthz"))
    assert (reply.status_code, json.loads(reply.content)) == (200, {"status": "ok"})


async def test_without_probes_it_is_ready() -> None:
    assert await readyz() == (200, {"status": "ready", "checks": {}})


async def test_ready_when_every_probe_is() -> None:
    health.register_probe("supervisor", green)
    health.register_probe("journal", green)
    status, body = await readyz()
    assert (status, body["status"]) == (200, "ready")
    assert body["checks"] == {name: {"ready": True, "detail": "3 runs"} for name in ("supervisor", "journal")}


async def test_one_red_probe_is_enough_and_the_others_are_told_still() -> None:
    health.register_probe("supervisor", red)
    health.register_probe("journal", green)
    status, body = await readyz()
    assert (status, body["status"]) == (503, "not ready")
    assert body["checks"] == {
        "supervisor": {"ready": False, "detail": "draining"},
        "journal": {"ready": True, "detail": "3 runs"},
    }


async def test_a_broken_probe_is_red_and_tells_no_secret() -> None:
    health.register_probe("journal", broken)
    status, body = await readyz()
    assert status == 503
    assert body["checks"] == {"journal": {"ready": False, "detail": "ConnectionError"}}


async def test_a_slow_probe_is_red_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PROBE_SECONDS", 0.05)
    health.register_probe("first", slow)
    health.register_probe("second", slow)
    health.register_probe("third", green)
    async with asyncio.timeout(30):
        status, body = await readyz()
    assert status == 503
    assert [check["detail"] for check in body["checks"].values()] == ["no answer in time"] * 2 + ["3 runs"]


async def test_a_later_probe_of_the_same_name_replaces_the_former(probes: dict[str, Probe]) -> None:
    health.register_probe("journal", red)
    health.register_probe("journal", green)
    assert probes == {"journal": green}
    assert (await readyz())[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_shop_with_a_transaction_for_each_request_has_them_too(
    path: str, async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    assert (await async_client.get(path)).status_code == 200
