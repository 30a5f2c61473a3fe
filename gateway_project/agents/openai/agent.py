"""The agent that asks an OpenAI-compatible upstream, and hangs up when its run is aborted."""

import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gateway_project import clock
from gateway_project.agents import options as agent_options
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, UnsupportedRequest, UpstreamError
from gateway_project.agents.events import AgentEvent
from gateway_project.agents.openai import errors
from gateway_project.agents.openai.options import OpenAIOptions, problems
from gateway_project.agents.openai.request import encode
from gateway_project.agents.openai.sse import SSEParser
from gateway_project.agents.openai.stream import AnswerReader
from gateway_project.agents.request import AgentRequest, AnyMedia, Message
from gateway_project.agents.signal import AbortSignal

if TYPE_CHECKING:
    from gateway_project.agents.openai.connection import Reply

logger = logging.getLogger("gateway.agents.openai")

_MAX_ERROR_BYTES = 64 * 1024
_MAX_ANSWER_BYTES = 16 * 1024 * 1024


class OpenAIAgent(Agent):
    """Passes a run on to ``<base_url>/chat/completions``, always streamed. Options: `OpenAIOptions`.

    However the run is left (cancelled, closed, failed), the connection to the upstream is closed at once, which is
    how an upstream learns that it can stop. Only an answer that was read to its end leaves a connection to reuse.
    """

    supports_tools = True
    supports_forced_tools = True
    supports_json_object = True
    supports_json_schema = True
    supports_choices = True
    supports_logprobs = True
    supports_images = True
    supports_audio = True

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        from gateway_project.agents.openai.connection import Connections  # httptools is an extra

        # What holds a secret stays out of the public attribute, which may end up in a log or an error page.
        super().__init__(name, {key: value for key, value in options.items() if key not in ("api_key", "headers")})
        self._settings = agent_options.read(OpenAIOptions, options)
        self._connections = Connections(self._settings)
        self._redact = errors.redactor(self._settings.secrets)
        self.max_concurrent = self._settings.max_connections
        self.supports_files = self._settings.takes_files
        if self._settings.supports is not None:
            agent_options.declare(self, self._settings.supports)

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Look at each option, and for the HTTP parser. Connects to nothing."""
        yield from problems(options)
        if find_spec("httptools") is None:
            yield "the package httptools is not installed (extra 'openai')."

    def models(self) -> tuple[str, ...]:
        """As configured; the upstream is not asked."""
        return self._settings.models

    @property
    def default_model(self) -> str:
        """As configured."""
        return self._settings.model

    def has_model(self, model: str) -> bool:
        """Any name: the upstream knows. None at all is refused here."""
        return bool(model)

    def check_media(self, message: Message, part: AnyMedia) -> None:
        """Chat Completions has pictures, sounds and files in a user's message only."""
        super().check_media(message, part)
        if message.role != "user" and (part.type != "file" or self.supports_files):
            raise UnsupportedRequest(
                f"The agent {self.name!r} takes this in a user's message only, not in the role {message.role!r}.",
                param=part.where,
            )

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._connections.close()

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        """Ask the upstream, as `run_in_bursts` does, and say one event after the other. Raises the same."""
        async with aclosing(self.run_in_bursts(request, signal)) as bursts:
            async for burst in bursts:
                for event in burst:
                    yield event

    async def run_in_bursts(
        self, request: AgentRequest, signal: AbortSignal
    ) -> AsyncGenerator[tuple[AgentEvent, ...], None]:
        """Ask the upstream. What one read completes is one burst.

        Raises:
            AgentError: the upstream refused the request for what is in it, or for its rate (429).
            UpstreamError: it failed, could not be reached, was cut off, or refused the gateway itself.
            UpstreamTimeout: it did not connect, answer or go on in time.
        """
        reader = AnswerReader(choices=request.choices, logprobs=request.logprobs, redact=self._redact)
        async with self._connections.post(encode(request, self._settings)) as reply:
            if not 200 <= reply.status < 300:
                raise await self._refusal(reply)
            if reply.content_type == "application/json":
                body, is_whole = await reply.read_whole(_MAX_ANSWER_BYTES)
                if not is_whole:
                    raise UpstreamError("The upstream's answer is too long.")
                yield tuple(reader.whole(body))
                return
            parser = SSEParser()
            read = b"-"
            while read and not reader.done:
                read = await reply.read()
                burst: list[AgentEvent] = []
                try:
                    reader.read_into(burst, parser, read)
                finally:
                    if burst:  # Also what came before that which cannot be understood.
                        yield tuple(burst)
            if events := reader.end():
                yield tuple(events)
            await reply.drain()

    async def _refusal(self, reply: "Reply") -> AgentError:
        """The error for an answer that is none. What the operator must mend is logged, without the upstream's words."""
        try:
            body, _ = await reply.read_whole(_MAX_ERROR_BYTES)
        except UpstreamError:
            body = b""
        error = errors.refusal(reply.status, reply.headers, body, redact=self._redact, now=clock.now())
        if error.status >= 500:
            logger.warning(
                "upstream.refused",
                extra={"agent": self.name, "upstream_status": reply.status, "code": error.code},
            )
        return error
