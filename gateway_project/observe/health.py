"""Liveness and readiness. Whoever has something to report registers a probe."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from django.http import HttpRequest, JsonResponse

from gateway_project.observe.outside import outside_transactions

_PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether something works, and what there is to say of it. `detail` must hold no secret."""

    ready: bool
    detail: str = ""


Probe = Callable[[], Awaitable[ProbeResult]]

_probes: dict[str, Probe] = {}


def register_probe(name: str, probe: Probe) -> None:
    """Let ``/readyz`` ask `probe`. A later one of the same name replaces it."""
    _probes[name] = probe


@outside_transactions
async def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the event loop answers."""
    return JsonResponse({"status": "ok"})


@outside_transactions
async def readyz(request: HttpRequest) -> JsonResponse:
    """200 when every probe says ready, else 503 with what each one said."""
    results = dict(zip(_probes, await asyncio.gather(*map(_ask, _probes.values())), strict=True))
    ready = all(result.ready for result in results.values())
    checks = {name: {"ready": result.ready, "detail": result.detail} for name, result in results.items()}
    return JsonResponse({"status": "ready" if ready else "not ready", "checks": checks}, status=200 if ready else 503)


async def _ask(probe: Probe) -> ProbeResult:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await probe()
    except TimeoutError:
        return ProbeResult(ready=False, detail="no answer in time")
    except Exception as error:  # noqa: BLE001 (a broken probe means "not ready", whatever broke it)
        return ProbeResult(ready=False, detail=type(error).__name__)
