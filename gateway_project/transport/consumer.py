"""What every endpoint's consumer has in common: host, method, CORS, key, request id, one error envelope."""

from collections.abc import Mapping
from typing import Any, ClassVar

from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from gateway_project import ids
from gateway_project.access.principal import Principal
from gateway_project.conf import gateway_settings
from gateway_project.transport import sse
from gateway_project.transport.caller import identify
from gateway_project.transport.connection import ASGIReceive, ASGISend, Connection
from gateway_project.transport.dispatch import DirectDispatch
from gateway_project.transport.errors import MethodNotAllowed, envelope, error_headers, told
from gateway_project.transport.host import check_host, common_headers, cors_headers, preflight_headers


class GatewayConsumer(DirectDispatch, AsyncHttpConsumer):
    """One HTTP request. Subclasses say which methods they take and what `respond` does.

    Errors of the tree in `transport.errors` become replies; anything else becomes a 500 and one log entry.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET",)

    async def __call__(self, scope: Mapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve the request until it is over."""
        self.scope = scope
        self.run_id = ids.new_run_id()
        self.principal: Principal | None = None
        server_request = scope.get("extensions", {}).get("gateway")
        if server_request is not None:
            server_request.raises_when_gone = True
        self.connection = Connection(
            send,
            [*common_headers(self.run_id), *cors_headers(scope)],
            stall_seconds=gateway_settings().SLOW_READER_SECONDS or None,
            server=server_request,
        )
        await self.listen(self.connection.hearing(receive, {"type": "http.disconnect"}))

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
        self.principal = await identify(self.scope)

    async def refuse(self, error: Exception) -> None:
        """Reply with the error envelope."""
        if isinstance(error, StopConsumer):
            raise error
        known = told(error, self.run_id)
        await self.connection.reply(known.status, sse.dumps(envelope(known)), error_headers(known))
