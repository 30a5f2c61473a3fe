"""System checks: a wrong setting is told at the start, with what may have been meant."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from gateway_project import conf
from gateway_project.agents.base import Agent
from gateway_project.runs.posting import MISSING_CLIENT, has_client

_NEEDED_APPS = ("gateway_project.runs", "gateway_project.access")


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
        for path in found.AUTHENTICATION:
            messages += _check_import(path, "GATEWAY['AUTHENTICATION']", "gateway.E005")
        for path in found.CONTENT_REDACTION:
            messages += _check_import(path, "GATEWAY['CONTENT_REDACTION']", "gateway.E011")
    return messages


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
    failed = list(_check_import(entry.BACKEND, f"{where}['BACKEND']", "gateway.E004"))
    if failed:
        yield from failed
        return
    backend = import_string(entry.BACKEND)
    if not (isinstance(backend, type) and issubclass(backend, Agent)):
        yield Error(f"{where}['BACKEND'] {entry.BACKEND!r} is no Agent class.", id="gateway.E004")
        return
    for sentence in backend.check(entry.OPTIONS):
        yield Error(f"{where}['OPTIONS']: {sentence}", id="gateway.E006")


def _check_import(path: str, where: str, id_: str) -> Iterable[CheckMessage]:
    try:
        conf.import_dotted(path, where)
    except ImproperlyConfigured as error:
        yield Error(str(error), hint=_nearest_name(path), id=id_)


def _nearest_name(path: str) -> str | None:
    """What may have been meant, if the module at least was found."""
    module_path, _, name = path.rpartition(".")
    module = sys.modules.get(module_path)
    if module is None:
        return None
    return conf.did_you_mean(name, [word for word in vars(module) if not word.startswith("_")])
