"""System checks of what people look at with."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver

from gateway_project.conf import gateway_settings, import_dotted

_URLS = "gateway_project.review.urls"


@register("gateway")
def check_review(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check who may see and do what, and that there is an API where its addresses are."""
    try:
        settings = gateway_settings()
    except ImproperlyConfigured:
        return []  # gateway.E002 says it
    messages: list[CheckMessage] = []
    if settings.RUN_VISIBILITY is not None:
        messages += _check_paths([settings.RUN_VISIBILITY], "GATEWAY['RUN_VISIBILITY']")
    if find_spec("rest_framework") is not None:
        for key in ("AUTHENTICATION", "PERMISSIONS", "THROTTLES"):
            messages += _check_paths(getattr(settings.API, key), f"GATEWAY['API'][{key!r}]")
    elif _URLS in _included(get_resolver().url_patterns):
        messages.append(
            checks.Warning(
                "The operators' REST API is not there: Django REST framework is not installed.",
                hint=f"Install 'channels-agent-gateway[api]', or leave {_URLS!r} out.",
                id="gateway.W002",
            )
        )
    return messages


def _check_paths(paths: Iterable[str], where: str) -> Iterator[CheckMessage]:
    for path in paths:
        try:
            import_dotted(path, where)
        except ImproperlyConfigured as error:
            yield Error(str(error), id="gateway.E007")


def _included(patterns: Iterable[Any]) -> Iterator[str]:
    """The modules that the URLs are made of."""
    for pattern in patterns:
        module = getattr(pattern, "urlconf_name", None)
        if module is not None:
            yield getattr(module, "__name__", str(module))
            yield from _included(pattern.url_patterns)
