"""System checks: a wrong setting is told at the start, with what may have been meant."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from gateway_project import conf
from gateway_project.agents.base import Agent
from gateway_project.execution.background import BackgroundBackend
from gateway_project.path_checks import check_paths, is_class_of
from gateway_project.runs.posting import MISSING_CLIENT, has_client

_NEEDED_APPS = ("gateway_project.runs", "gateway_project.access")


@register("gateway")
def check_time_zones(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the project's times know their zone, as those of the records do."""
    if settings.USE_TZ:
        return []
    return [
        Error("USE_TZ is False; the gateway's times have a time zone.", hint="Set USE_TZ = True.", id="gateway.E012")
    ]


@register("gateway")
def check_gateway(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check ``GATEWAY`` and what stands around it."""
    raw = getattr(settings, "GATEWAY", None)
    if raw is None:
        return [Error("The setting GATEWAY is missing.", hint="Set GATEWAY = {'AGENTS': {…}}.", id="gateway.E001")]
    found, problems = conf.read(raw)
    messages: list[CheckMessage] = [
        Error(f"{problem.where} {problem.message}", hint=problem.hint, id="gateway.E002") for problem in problems
    ]
    messages += _check_apps()
    if found is not None:
        if not found.AGENTS:
            messages.append(checks.Warning("GATEWAY has no AGENTS: every model is unknown.", id="gateway.W001"))
        for name, entry in found.AGENTS.items():
            messages += _check_backend(name, entry)
        if found.WEBHOOK.URLS and not has_client():
            messages.append(Error(f"GATEWAY['WEBHOOK']: {MISSING_CLIENT}", id="gateway.E011"))
        messages += _check_paths(found)
    return messages


def _check_paths(found: conf.GatewaySettings) -> Iterator[CheckMessage]:
    yield from check_paths(
        found.AUTHENTICATION,
        "GATEWAY['AUTHENTICATION']",
        "gateway.E005",
        needed="class that is made without arguments and has an async method 'authenticate'",
        fits=_is_adapter,
    )
    yield from check_paths(found.CONTENT_REDACTION, "GATEWAY['CONTENT_REDACTION']", "gateway.E008", needed="function")
    yield from check_paths(
        [found.BACKGROUND],
        "GATEWAY['BACKGROUND']",
        "gateway.E009",
        needed="BackgroundBackend class",
        fits=is_class_of(BackgroundBackend),
    )


def _is_adapter(found: Any) -> bool:
    if not isinstance(found, type) or not iscoroutinefunction(getattr(found, "authenticate", None)):
        return False
    try:
        inspect.signature(found).bind()
    except TypeError:
        return False
    return True


def _check_apps() -> Iterable[CheckMessage]:
    for name in _NEEDED_APPS:
        if not apps.is_installed(name):
            yield Error(f"{name!r} is not in INSTALLED_APPS; the endpoints need it.", id="gateway.E003")
    for config in apps.get_app_configs():
        if config.name == "responses" and hasattr(config.module, "activate"):
            yield Error(
                "'responses' in INSTALLED_APPS is the mocking library of that name, not the gateway's endpoint.",
                hint="Write 'gateway_project.responses', the endpoint's name where the gateway is installed.",
                id="gateway.E010",
            )


def _check_backend(name: str, entry: conf.AgentSettings) -> Iterable[CheckMessage]:
    where = f"GATEWAY['AGENTS'][{name!r}]"
    failed = list(
        check_paths(
            [entry.BACKEND], f"{where}['BACKEND']", "gateway.E004", needed="Agent class", fits=is_class_of(Agent)
        )
    )
    if failed:
        yield from failed
        return
    backend: type[Agent] = import_string(entry.BACKEND)
    for sentence in backend.check(entry.OPTIONS):
        yield Error(f"{where}['OPTIONS']: {sentence}", id="gateway.E006")
