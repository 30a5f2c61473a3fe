"""What every consumer of a WebSocket has in common: the handshake, with the same checks as over HTTP."""

from collections.abc import Mapping
from typing import Any

from channels.exceptions import StopConsumer

from gateway_project import ids
from gateway_project.access.authentication import header
from gateway_project.access.principal import Principal
from gateway_project.conf import gateway_settings
from gateway_project.transport.caller import identify
from gateway_project.transport.connection import ASGIReceive, ASGISend
from gateway_project.transport.dispatch import DirectDispatch
from gateway_project.transport.errors import told
from gateway_project.transport.host import check_host, check_origin, common_headers
from gateway_project.transport.socket import ABNORMAL, Socket

_KEY_PROTOCOL = "openai-insecure-api-key."
"""How pages send a key, since a browser lets them set no header (OpenAI's JavaScript clients)."""


class SocketConsumer(DirectDispatch):
    """One WebSocket of a caller who is known. Subclasses say what comes of its messages."""

    async def __call__(self, scope: Mapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve the socket until it is closed."""
        self.scope = with_key_of_subprotocol(scope)
        self.principal: Principal | None = None
        server = scope.get("extensions", {}).get("gateway")
        if server is not None:
            server.serve_gateway(gateway_settings().LIMITS.BODY_BYTES)
        self.socket = Socket(send, stall_seconds=gateway_settings().SLOW_READER_SECONDS or None, server=server)
        await self.listen(self.socket.hearing(receive, {"type": "websocket.disconnect", "code": ABNORMAL}))

    async def websocket_connect(self, message: Mapping[str, Any]) -> None:
        """Let the caller in, or say why not."""
        try:
            check_host(self.scope)
            check_origin(self.scope)
            self.principal = await identify(self.scope)
        except Exception as error:  # noqa: BLE001 (the last one who can still answer)
            await self._turn_away(error)
            raise StopConsumer from None
        await self.socket.accept(self._subprotocol(), [])
        self.opened()

    async def websocket_disconnect(self, message: Mapping[str, Any]) -> None:
        """It is closed."""
        raise StopConsumer

    def opened(self) -> None:
        """The socket is open."""

    async def _turn_away(self, error: Exception) -> None:
        request_id = ids.new_run_id()
        extensions = self.scope.get("extensions", {})
        await self.socket.refuse(told(error, request_id), common_headers(request_id), extensions=extensions)

    def _subprotocol(self) -> str | None:
        """The first that was offered and holds no key: a page that offers any wants one of them chosen."""
        offered = self.scope.get("subprotocols", ())
        return next((name for name in offered if not name.startswith(_KEY_PROTOCOL)), None)


def with_key_of_subprotocol(scope: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scope with a key that came as a subprotocol where every adapter looks for one."""
    if header(scope, b"authorization") is not None:
        return scope
    for name in scope.get("subprotocols", ()):
        if name.startswith(_KEY_PROTOCOL):
            token = f"Bearer {name.removeprefix(_KEY_PROTOCOL)}".encode()
            return {**scope, "headers": [*scope["headers"], (b"authorization", token)]}
    return scope
