"""``OPTIONS`` of the agent `openai`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from gateway_project.agents import options as agent_options
from gateway_project.conf import did_you_mean

_OPENAI_HOSTS = ("openai.com", "openai.azure.com", "services.ai.azure.com")
_TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
_DEVELOPER_ROLES = ("developer", "system")
_OURS = ("messages", "model", "stream")
_READABLE = frozenset(map(chr, range(0x20, 0x7F)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIOptions:
    """Everything that can be set. Times in seconds.

    Attributes:
        base_url: up to and including the version, e.g. ``http://localhost:8080/v1``.
        api_key: sent as ``Authorization: Bearer …``; none is sent when it is empty.
        model: taken when a client names only the agent.
        models: names that the catalogue lists.
        headers: sent with every request; also for keys under another name.
        connect_timeout: for name, TCP and TLS together.
        first_byte_timeout: from the beginning to the first byte of the answer's body. Upstreams that send the
            head at once and then read the prompt for minutes are held to the same bound as those that wait with it.
        silence_timeout: between two reads of the body; comments that an upstream sends to keep alive count.
        max_connections: also how many runs there can be at a time; more wait in the gateway's queue.
        extra_body: merged into each request, over what the client asked.
        stream_usage: ask for usage (``stream_options.include_usage``). For upstreams that refuse the field.
        max_tokens_field: the name of the token limit. OpenAI's reasoning models refuse ``max_tokens``; Ollama and
            older llama.cpp silently ignore ``max_completion_tokens``, and then nothing bounds the answer. So the
            default is ``max_completion_tokens`` for OpenAI's and Azure's hosts and ``max_tokens`` elsewhere.
        developer_role: how a developer message is sent. The default is ``developer`` for OpenAI's and Azure's
            hosts and ``system`` elsewhere, since most chat templates know only that.
        supports: what the agent is said to be able to do. By default all, except that files are sent as they are to
            OpenAI's and Azure's hosts only: elsewhere, where few upstreams know them, their text is sent.
    """

    base_url: str = "https://api.openai.com/v1"
    api_key: str = field(default="", repr=False)
    model: str = ""
    models: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float = 10
    first_byte_timeout: float = 300
    silence_timeout: float = 120
    max_connections: int = 1000
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    stream_usage: bool = True
    max_tokens_field: str | None = None
    developer_role: str | None = None
    supports: tuple[str, ...] | None = None

    @property
    def url(self) -> str:
        """Where requests go."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    @property
    def token_limit_field(self) -> str:
        """`max_tokens_field`, or what fits the host."""
        return self.max_tokens_field or ("max_completion_tokens" if self._is_openai else "max_tokens")

    @property
    def role_of_developers(self) -> str:
        """`developer_role`, or what fits the host."""
        return self.developer_role or ("developer" if self._is_openai else "system")

    @property
    def takes_files(self) -> bool:
        """Whether files are sent as they are, where `supports` does not say."""
        return self._is_openai

    @property
    def request_headers(self) -> dict[str, str]:
        """What goes with every request."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        key = self.api_key.strip()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return headers | dict(self.headers)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat: the key, and the configured headers, which may hold another."""
        values = (self.api_key, *self.headers.values())
        words = {word for value in values for word in (value.strip(), *value.split()) if len(word) >= 8}
        return tuple(sorted(words, key=len, reverse=True))

    @property
    def _is_openai(self) -> bool:
        return _is_of_openai(self.base_url)


@cache
def _is_of_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in _OPENAI_HOSTS)


def problems(options: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with `options`, a sentence each; no sentence repeats a key or a header."""
    found = list(agent_options.problems(OpenAIOptions, options))
    yield from found
    if found:
        return
    given = {key: value for key, value in options.items() if value is not None}
    yield from _url_problems(given.get("base_url", OpenAIOptions().base_url))
    if not _READABLE.issuperset(given.get("api_key", "").strip()):
        yield "'api_key' must be printable ASCII."
    for name, value in given.get("headers", {}).items():
        if not isinstance(value, str) or not _READABLE.issuperset(f"{name}{value}"):
            yield f"'headers': {name!r} must be a string of printable ASCII."
    for name in sorted(given.get("extra_body", {}).keys() & set(_OURS)):
        yield f"'extra_body' must not set {name!r}."
    for key, choices in (("max_tokens_field", _TOKEN_FIELDS), ("developer_role", _DEVELOPER_ROLES)):
        if key in given and given[key] not in choices:
            text = f"{key!r} must be {choices[0]!r} or {choices[1]!r}."
            yield agent_options.sentence(text, did_you_mean(given[key], choices))


def _url_problems(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        yield "'base_url' must be a URL such as 'http://localhost:8080/v1'."
        return
    if parts.username or parts.password:
        yield "'base_url' must hold no user or password; use 'api_key' or 'headers'."
    if parts.query or parts.fragment:
        yield "'base_url' must have no query and no fragment."
    if parts.path.rstrip("/").endswith("/chat/completions"):
        yield "'base_url' must end before '/chat/completions', which is added."
