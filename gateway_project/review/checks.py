"""System checks of what people look at with."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_permission_codename
from django.core import checks
from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver

from gateway_project.conf import did_you_mean, gateway_settings
from gateway_project.path_checks import check_paths

_URLS = "gateway_project.review.urls"


@register("gateway")
def check_review(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check who may see and do what, and that there is an API where its addresses are."""
    try:
        settings = gateway_settings()
    except ImproperlyConfigured:
        return []  # gateway.E002 says it
    messages: list[CheckMessage] = [*_check_permissions(settings.API.KEY_PERMISSIONS)]
    if settings.RUN_VISIBILITY is not None:
        narrow = [settings.RUN_VISIBILITY]
        messages += check_paths(narrow, "GATEWAY['RUN_VISIBILITY']", "gateway.E007", needed="function")
    if find_spec("rest_framework") is not None:
        for key in ("AUTHENTICATION", "PERMISSIONS", "THROTTLES"):
            paths = getattr(settings.API, key)
            messages += check_paths(paths, f"GATEWAY['API'][{key!r}]", "gateway.E007", needed="class")
    elif _URLS in _included(get_resolver().url_patterns):
        messages.append(
            checks.Warning(
                "The operators' REST API is not there: Django REST framework is not installed.",
                hint=f"Install 'channels-agent-gateway[api]', or leave {_URLS!r} out.",
                id="gateway.W002",
            )
        )
    return messages


def _check_permissions(names: Iterable[str]) -> Iterator[CheckMessage]:
    """A warning only: a shop may have made permissions by hand, and the database is not asked."""
    declared = set(_declared_permissions())
    for name in names:
        if name not in declared:
            yield checks.Warning(
                f"GATEWAY['API']['KEY_PERMISSIONS']: no installed model declares {name!r}.",
                hint=did_you_mean(name, declared),
                id="gateway.W003",
            )


def _declared_permissions() -> Iterator[str]:
    for model in apps.get_models():
        options = model._meta
        for action in options.default_permissions:
            yield f"{options.app_label}.{get_permission_codename(action, options)}"
        for codename, _ in options.permissions:
            yield f"{options.app_label}.{codename}"


def _included(patterns: Iterable[Any]) -> Iterator[str]:
    """The modules that the URLs are made of."""
    for pattern in patterns:
        module = getattr(pattern, "urlconf_name", None)
        if module is not None:
            yield getattr(module, "__name__", str(module))
            yield from _included(pattern.url_patterns)
