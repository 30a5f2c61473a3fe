"""The setting ``GATEWAY``: defaults, types, unknown keys.

Read it with `gateway_settings()`; it is built once and again when Django says that the setting changed.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from gateway_project.content_modes import ContentMode
from gateway_project.input_settings import INPUTS_ABOVE_ZERO, InputSettings, input_problems
from gateway_project.webhook_settings import WEBHOOK_ABOVE_ZERO, WebhookSettings, webhook_problems

AGENT_NAME_CHARACTERS = 64
"""As many as a run's record has room for."""

OnDisconnect = Literal["cancel", "finish", "linger"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ABOVE_ZERO = frozenset(
    {
        "BODY_BYTES",
        "CONCURRENT_RUNS",
        "CONCURRENT_RUNS_PER_KEY",
        "CONTENT_CHARACTERS",
        "FIRST_OUTPUT_SECONDS",
        "JOURNAL_SECONDS",
        "LEASE_SECONDS",
        "RETENTION_DAYS",
        "RUNS_PER_MINUTE",
        "TIMEOUT_SECONDS",
        "TOKENS_PER_MINUTE",
    }
    | INPUTS_ABOVE_ZERO
    | WEBHOOK_ABOVE_ZERO
)
"""With zero of these nothing could ever run. Zero of any other number means "none" or "never"."""


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s A-Z]+")
_MOST_DAYS = 365_000
"""Much beyond it there is no date any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """One entry of ``GATEWAY["AGENTS"]``. Times in seconds; None takes the gateway-wide value."""

    BACKEND: str
    OPTIONS: Mapping[str, Any] = field(default_factory=dict)
    ON_DISCONNECT: str = "cancel"
    GRACE_SECONDS: float | None = None
    TIMEOUT_SECONDS: float | None = None
    FIRST_OUTPUT_SECONDS: float | None = None
    CONCURRENT_RUNS: int | None = None
    CONTENT: str | None = None

    @property
    def on_disconnect(self) -> OnDisconnect:
        """The word before the colon of ``linger:SECONDS``, or the whole."""
        return cast(OnDisconnect, self.ON_DISCONNECT.partition(":")[0])

    @property
    def linger_seconds(self) -> float | None:
        """How long a stored stream waits for its client to come back; None when it does not."""
        word, _, seconds = self.ON_DISCONNECT.partition(":")
        return float(seconds) if word == "linger" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """``GATEWAY["LIMITS"]``: what one process takes on."""

    BODY_BYTES: int = 10 * 1024 * 1024
    BODY_SECONDS: float = 30
    CONCURRENT_RUNS: int = 1000
    CONCURRENT_RUNS_PER_KEY: int | None = None
    RUNS_PER_MINUTE: int | None = None
    TOKENS_PER_MINUTE: int | None = None
    QUEUED_RUNS: int = 100
    QUEUE_SECONDS: float = 30
    REJECTED_ROWS_PER_MINUTE: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSettings:
    """``GATEWAY["RESPONSES"]``: whether responses may be stored at all, and for how long; how long a socket lasts."""

    STORE: bool = True
    RETENTION_DAYS: float = 30
    SOCKET_SECONDS: float = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class APISettings:
    """``GATEWAY["API"]``: who may use the operators' REST API. Dotted paths of Django REST framework's classes."""

    AUTHENTICATION: tuple[str, ...] = (
        "gateway_project.review.api.authentication.OperatorKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    )
    PERMISSIONS: tuple[str, ...] = ("gateway_project.review.api.permissions.HasModelPermission",)
    THROTTLES: tuple[str, ...] = ()
    KEY_PERMISSIONS: tuple[str, ...] = ("gateway_runs.view_run", "gateway_runs.cancel_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The whole of ``GATEWAY``. Times in seconds."""

    AGENTS: Mapping[str, AgentSettings] = field(default_factory=dict)
    MODELS: Mapping[str, str] = field(default_factory=dict)
    DEFAULT_AGENT: str | None = None
    AUTHENTICATION: tuple[str, ...] = ("gateway_project.access.authentication.APIKeyAuthentication",)
    DATABASE: str = "default"
    CORS_ORIGINS: tuple[str, ...] = ()
    TRUSTED_PROXIES: tuple[str, ...] = ()
    LIMITS: LimitSettings = field(default_factory=LimitSettings)
    RESPONSES: ResponseSettings = field(default_factory=ResponseSettings)
    API: APISettings = field(default_factory=APISettings)
    RUN_VISIBILITY: str | None = None
    CONTENT: str = "none"
    CONTENT_CHARACTERS: int = 200_000
    CONTENT_REDACTION: tuple[str, ...] = ("gateway_project.runs.content.secrets.redact_secrets",)
    BACKGROUND: str = "gateway_project.execution.background.inprocess.InProcess"
    INPUTS: InputSettings = field(default_factory=InputSettings)
    WEBHOOK: WebhookSettings = field(default_factory=WebhookSettings)
    GRACE_SECONDS: float = 5
    TIMEOUT_SECONDS: float = 600
    DRAIN_SECONDS: float = 20
    DRAIN_NOTICE: float = 0
    LEASE_SECONDS: float = 15
    HEARTBEAT_SECONDS: float = 15
    SLOW_READER_SECONDS: float = 60
    KEEPALIVE_SECONDS: float = 75
    JOURNAL_SECONDS: float = 5
    SPILL_DIR: str | None = None
    ACCEPT_WITHOUT_DATABASE: bool = False
    KEYS_WITHOUT_DATABASE_SECONDS: float = 300


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with ``GATEWAY``: where, what, and what may have been meant."""

    where: str
    message: str
    hint: str | None = None


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A hint naming the nearest candidate, or None when none is near."""
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else None


_Section = TypeVar("_Section")


class _Reader:
    """Builds the settings objects and collects every problem on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def complain(self, where: str, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(where, message, hint))

    def section(self, cls: type[_Section], raw: Any, where: str, **ready: Any) -> _Section | None:
        """Read the mapping `raw` into the dataclass `cls`; keys in `ready` are read already."""
        if not isinstance(raw, Mapping):
            self.complain(where, f"must be a dict, not {type(raw).__name__}.")
            return None
        hints = get_type_hints(cls)
        values: dict[str, Any] = dict(ready)
        before = len(self.problems)
        for key, value in raw.items():
            if key not in hints:
                self.complain(f"{where}[{key!r}]", "is not a known key.", did_you_mean(str(key), list(hints)))
            elif key not in ready:
                problem = wrong_type(hints[key], value, zero=key not in _ABOVE_ZERO)
                if problem:
                    self.complain(f"{where}[{key!r}]", problem)
                values[key] = tuple(value) if isinstance(value, list) else value
        return cls(**values) if len(self.problems) == before else None


def wrong_type(hint: Any, value: Any, *, zero: bool = True) -> str | None:
    """Say what is wrong with `value` for a field annotated with `hint`, or None. The value is not repeated:
    it may be a secret.

    Args:
        zero: whether a number may be zero.
    """
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None:
        return None if NoneType in options else "must not be None."
    expected = options[0]
    if expected is bool:
        return None if isinstance(value, bool) else "must be True or False."
    if expected in (int, float):
        return _wrong_number(expected, value, zero=zero)
    if expected is str:
        return None if isinstance(value, str) else f"must be a string, not {type(value).__name__}."
    if get_origin(expected) is tuple:
        strings = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        return None if strings else "must be a list of strings."
    return None if isinstance(value, Mapping) else f"must be a dict, not {type(value).__name__}."


def _wrong_number(expected: type, value: Any, *, zero: bool) -> str | None:
    kinds = (int,) if expected is int else (int, float)
    number = isinstance(value, kinds) and not isinstance(value, bool) and value < float("inf")
    if number and (value > 0 or (zero and value == 0)):
        return None
    return f"must be a {'whole ' if expected is int else ''}number {'of at least' if zero else 'above'} zero."


def read(raw: Any) -> tuple[GatewaySettings | None, list[Problem]]:
    """Read a ``GATEWAY`` dict. Returns the settings, or None and what is wrong with them."""
    reader = _Reader()
    if not isinstance(raw, Mapping):
        return None, [Problem("GATEWAY", f"must be a dict, not {type(raw).__name__}.")]
    agents: dict[str, AgentSettings] = {}
    raw_agents = raw.get("AGENTS", {})
    if isinstance(raw_agents, Mapping):
        for name, entry in raw_agents.items():
            agent = _read_agent(reader, name, entry)
            if agent is not None:
                agents[name] = agent
    else:
        reader.complain("GATEWAY['AGENTS']", f"must be a dict, not {type(raw_agents).__name__}.")
    limits = reader.section(LimitSettings, raw.get("LIMITS", {}), "GATEWAY['LIMITS']")
    responses = reader.section(ResponseSettings, raw.get("RESPONSES", {}), "GATEWAY['RESPONSES']")
    inputs = reader.section(InputSettings, raw.get("INPUTS", {}), "GATEWAY['INPUTS']")
    api = reader.section(APISettings, raw.get("API", {}), "GATEWAY['API']")
    webhook = reader.section(WebhookSettings, raw.get("WEBHOOK", {}), "GATEWAY['WEBHOOK']")
    sections = {
        **{"AGENTS": agents, "LIMITS": limits, "RESPONSES": responses, "INPUTS": inputs, "API": api},
        "WEBHOOK": webhook,
    }
    whole = reader.section(GatewaySettings, raw, "GATEWAY", **sections)
    if inputs is not None:
        for key, message, hint in input_problems(inputs):
            reader.complain(f"GATEWAY['INPUTS'][{key!r}]", message, hint)
    if webhook is not None:
        for key, message, hint in webhook_problems(webhook):
            reader.complain(f"GATEWAY['WEBHOOK'][{key!r}]", message, hint)
    if whole is not None:
        _check_names(reader, whole)
        _check_content(reader, whole)
        _check_networks(reader, whole)
        _check_origins(reader, whole)
        _check_retention(reader, whole)
        _check_spill(reader, whole)
    return (None if reader.problems else whole), reader.problems


def _read_agent(reader: _Reader, name: Any, entry: Any) -> AgentSettings | None:
    where = f"GATEWAY['AGENTS'][{name!r}]"
    if not isinstance(name, str) or not name or "/" in name:
        reader.complain(where, "an agent's name must be a string without '/'.")
        return None
    if len(name) > AGENT_NAME_CHARACTERS:
        reader.complain(where, f"an agent's name must have at most {AGENT_NAME_CHARACTERS} characters.")
        return None
    if isinstance(entry, Mapping) and "BACKEND" not in entry:
        near = did_you_mean("BACKEND", [str(key) for key in entry])
        reader.complain(where, "needs a 'BACKEND' (a dotted path).", near and f"{near} is there, BACKEND is not.")
        return None
    agent = reader.section(AgentSettings, entry, where)
    if agent is None:
        return None
    word, _, seconds = agent.ON_DISCONNECT.partition(":")
    valid = seconds.isdecimal() if word == "linger" else (word in ("cancel", "finish") and not seconds)
    if not valid:
        hint = did_you_mean(word, ["cancel", "finish", "linger"])
        if word == "linger":
            hint = "Say for how many whole seconds, as in 'linger:60'."
        reader.complain(f"{where}['ON_DISCONNECT']", "must be 'cancel', 'finish' or 'linger:SECONDS'.", hint)
        return None
    return agent


def _check_names(reader: _Reader, whole: GatewaySettings) -> None:
    names = list(whole.AGENTS)
    if whole.DEFAULT_AGENT is not None and whole.DEFAULT_AGENT not in whole.AGENTS:
        hint = did_you_mean(whole.DEFAULT_AGENT, names)
        reader.complain("GATEWAY['DEFAULT_AGENT']", f"no agent is named {whole.DEFAULT_AGENT!r}.", hint)
    for alias, target in whole.MODELS.items():
        agent = str(target).partition("/")[0]
        if agent not in whole.AGENTS:
            hint = did_you_mean(agent, names)
            reader.complain(f"GATEWAY['MODELS'][{alias!r}]", f"no agent is named {agent!r}.", hint)
    if whole.DATABASE not in settings.DATABASES:
        hint = did_you_mean(whole.DATABASE, list(settings.DATABASES))
        reader.complain("GATEWAY['DATABASE']", f"no database alias {whole.DATABASE!r}.", hint)


def _check_content(reader: _Reader, whole: GatewaySettings) -> None:
    agents = {f"GATEWAY['AGENTS'][{name!r}]['CONTENT']": agent.CONTENT for name, agent in whole.AGENTS.items()}
    for where, mode in {"GATEWAY['CONTENT']": whole.CONTENT, **agents}.items():
        if mode is not None and mode not in ContentMode.values:
            modes = ", ".join(map(repr, ContentMode.values))
            reader.complain(where, f"must be one of {modes}.", did_you_mean(mode, ContentMode.values))
        elif mode == ContentMode.REDACTED and not whole.CONTENT_REDACTION:
            hint = "Leave it out for the defaults, or name a function."
            reader.complain("GATEWAY['CONTENT_REDACTION']", f"names nothing, but {where} is 'redacted'.", hint)


def _check_networks(reader: _Reader, whole: GatewaySettings) -> None:
    for text in whole.TRUSTED_PROXIES:
        try:
            parse_network(text)
        except ValueError:
            hint = "Write it as 10.0.0.7, 10.0.0.0/8 or ::1; names are not looked up."
            reader.complain("GATEWAY['TRUSTED_PROXIES']", f"{text!r} is no address or network.", hint)


def _check_origins(reader: _Reader, whole: GatewaySettings) -> None:
    """Browsers send scheme, host and port alone, in lower case: no other spelling would ever match."""
    for text in whole.CORS_ORIGINS:
        if text not in ("*", "null") and not _ORIGIN.fullmatch(text):
            hint = "Write it as browsers send it: https://shop.example, without a path or a slash at its end; or '*'."
            reader.complain("GATEWAY['CORS_ORIGINS']", f"{text!r} is no origin.", hint)


def _check_retention(reader: _Reader, whole: GatewaySettings) -> None:
    if whole.RESPONSES.RETENTION_DAYS > _MOST_DAYS:
        where = "GATEWAY['RESPONSES']['RETENTION_DAYS']"
        reader.complain(
            where, f"must be at most {_MOST_DAYS}.", "To keep responses for good, do not run purgeresponses."
        )


def _check_spill(reader: _Reader, whole: GatewaySettings) -> None:
    """From another folder a process would look for what it kept in another place."""
    text = whole.SPILL_DIR
    if text is not None and (not Path(text).is_absolute() or Path(text).is_file()):
        reader.complain("GATEWAY['SPILL_DIR']", f"{text!r} is not the absolute path of a folder.")


def parse_network(text: str) -> Network:
    """The network that an entry of ``TRUSTED_PROXIES`` stands for; an address is a network of its own.

    Raises:
        ValueError: when it is neither.
    """
    return ipaddress.ip_network(text, strict=False)


@cache
def gateway_settings() -> GatewaySettings:
    """The settings in force.

    Raises:
        ImproperlyConfigured: naming everything that is wrong, as the system checks do.
    """
    result, problems = read(getattr(settings, "GATEWAY", {}))
    if result is None:
        raise ImproperlyConfigured("\n".join(f"{p.where} {p.message} {p.hint or ''}".rstrip() for p in problems))
    return result


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("GATEWAY", "DATABASES"):
        gateway_settings.cache_clear()


def import_dotted(path: str, where: str) -> Any:
    """Import what a dotted path in ``GATEWAY`` names.

    Raises:
        ImproperlyConfigured: naming the setting.
    """
    package, *names = path.split(".")
    if not names or not all(name.isidentifier() for name in (package, *names)):
        raise ImproperlyConfigured(f"{where}: {path!r} is no dotted path such as 'package.module.Name'.")
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{where}: cannot import {path!r}: {error}") from error
