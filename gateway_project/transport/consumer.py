"""What every endpoint's consumer has in common: host, method, CORS, key, request id, one error envelope."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer
from django.db import InterfaceError, OperationalError

from gateway_project import ids
from gateway_project.access.authentication import authenticate, header
from gateway_project.access.principal import Principal
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.conf import gateway_settings
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection
from gateway_project.transport.errors import DatabaseAway, InvalidAPIKey, MethodNotAllowed, envelope, error_headers
from gateway_project.transport.host import check_host, cors_headers, preflight_headers

logger = logging.getLogger("gateway.request")

_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]{1,128}")


class GatewayConsumer(AsyncHttpConsumer):
    """One HTTP request. Subclasses say which methods they take and what `respond` does.

    Errors of the tree in `transport.errors` become replies; anything else becomes a 500 and one log entry.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET",)

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Dispatch the request's messages one after the other, until it is over.

        Unlike Channels' own loop this asks no channel layer and opens no thread for each message (fact 11).
        """
        self.scope = scope
        self.run_id = ids.new_run_id()
        self.principal: Principal | None = None
        server_request = scope.get("extensions", {}).get("gateway")
        if server_request is not None:
            server_request.raises_when_gone = True
        self.connection = Connection(
            send,
            self._common_headers(),
            stall_seconds=gateway_settings().SLOW_READER_SECONDS or None,
            cut=server_request.cut if server_request is not None else None,
        )
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            return

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Call the handler named after the message's type."""
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"No handler for message type {message['type']}")
        await handler(message)

    async def http_request(self, message: Mapping[str, Any]) -> None:
        """Answer, or say why not. A body is not read."""
        try:
            await self.check_request()
            await self.respond()
        except Exception as error:  # noqa: BLE001 (the last one who can still answer)
            await self.refuse(error)
        raise StopConsumer

    async def http_disconnect(self, message: Mapping[str, Any]) -> None:
        """The request is over."""
        raise StopConsumer

    async def respond(self) -> None:
        """Answer a request that `check_request` let pass."""
        raise NotImplementedError

    async def check_request(self) -> None:
        """Check what the headers tell: host, method, key. Answers a CORS preflight.

        Raises:
            APIError: to be answered by `refuse`.
            StopConsumer: when the request is answered.
        """
        check_host(self.scope)
        allowed = ", ".join((*self.methods, "OPTIONS"))
        method = self.scope["method"]
        if method == "OPTIONS":
            await self.connection.start(204, [(b"allow", allowed.encode()), *preflight_headers(self.scope, allowed)])
            await self.connection.write(b"", more=False)
            raise StopConsumer
        if method not in self.methods:
            raise MethodNotAllowed(method, allowed)
        try:
            self.principal = await authenticate(self.scope)
        except (InterfaceError, OperationalError):
            raise DatabaseAway from None  # The journal logs it, once.
        if self.principal is None:
            raise InvalidAPIKey

    async def refuse(self, error: Exception) -> None:
        """Reply with the error envelope."""
        if isinstance(error, StopConsumer):
            raise error
        if not isinstance(error, AgentError):
            logger.error("request.failed", exc_info=error, extra={"run_id": self.run_id})
            error = AgentMisbehaved("The server failed to handle the request.")
        details = {"run_id": self.run_id, "status": error.status, "code": error.code}
        logger.info("request.refused", extra=details)
        await self.connection.reply(error.status, sse.dumps(envelope(error)), error_headers(error))

    def client_request_id(self) -> str:
        """The caller's own id for this request, if it is printable ASCII of at most 128 characters."""
        for name in (b"x-client-request-id", b"x-request-id"):
            value = header(self.scope, name)
            if value and _PRINTABLE_ASCII.fullmatch(value):
                return value
        return ""

    def _common_headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-request-id", str(self.run_id).encode()),
            (b"x-content-type-options", b"nosniff"),
            *cors_headers(self.scope),
        ]
