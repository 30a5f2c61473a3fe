"""What daphne lacks, added by subclasses of its own classes.

Facts 4, 5, 7, 9, 12 and 13 of the platform: shutdown that waits for the runs, back-pressure, a disconnect
that pipelined bytes do not hide, vanished peers, a listen backlog that holds a burst.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Mapping
from contextvars import Context
from typing import Any

import daphne.cli
import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from twisted.internet import defer, reactor
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import http

from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor, running_supervisor

logger = logging.getLogger("gateway.daphne")

SUPPORTED = ((4, 1), (4, 2))
"""The versions of daphne whose inner workings are known here."""

_BACKLOG = 4096
_PIPELINED_LIMIT = 0x4000


class GatewayChannel(http.HTTPChannel):
    """A connection that can be waited for, and whose end is seen behind pipelined bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._room: asyncio.Future[None] | None = None
        self._flushed: asyncio.Future[bool] | None = None
        self._pipelined = 0

    async def wait_for_room(self) -> None:
        """Wait while the write buffer is full. Returns at once when the connection is lost."""
        if self._waitingForTransport and self.transport.connected:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    async def wait_until_flushed(self) -> bool:
        """Wait until the kernel has all that was written. False when the connection was lost before."""
        transport = self.transport
        if not _buffered(transport):
            return True
        if not transport.connected:
            return False
        self._flushed = self._flushed or asyncio.get_running_loop().create_future()
        # Twisted tells its producer when the buffer is empty only if it was told to pause before.
        transport.producerPaused = True
        return await asyncio.shield(self._flushed)

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """The write buffer is empty."""
        super().resumeProducing()
        self._wake(flushed=True)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 (Twisted's name)
        """The connection is gone; nobody may wait for it any longer."""
        flushed = not _buffered(self.transport)
        super().connectionLost(reason)
        self._wake(flushed=flushed)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Keep reading behind a request, so that the client's leaving is seen (fact 7).

        Twisted stops reading after 16 KiB of pipelined bytes and is then blind. Beyond that limit the bytes
        are dropped and the connection is closed after the answer.
        """
        if not self._handlingRequest:
            self._pipelined = 0
            super().rawDataReceived(data)
        elif self._pipelined + len(data) <= _PIPELINED_LIMIT:
            self._pipelined += len(data)
            self._dataBuffer.append(data)
        else:
            self._dataBuffer.clear()
            self.persistent = 0

    def _wake(self, *, flushed: bool) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        if self._flushed is not None:
            self._flushed.set_result(flushed)
            self._flushed = None


def _buffered(transport: Any) -> int:
    """Bytes that wait in a Twisted transport. A TLS transport does not tell; it counts as empty."""
    waiting = getattr(transport, "_tempDataLen", 0)
    buffer = getattr(transport, "dataBuffer", b"")
    return int(waiting) + len(buffer) - int(getattr(transport, "offset", 0))


class GatewayRequest(WebRequest):
    """A request whose application may ask to be told when the client is gone."""

    raises_when_gone = False
    """Set by our consumers. Other applications, e.g. Django's, go on to be spared (daphne's own way)."""

    def cut(self) -> None:
        """Close the connection at once, whatever waits to be sent."""
        channel = getattr(self, "channel", None)
        if isinstance(channel, GatewayChannel):
            channel.transport.abortConnection()


class GatewayFactory(HTTPFactory):
    """Builds connections on `GatewayChannel`."""

    @staticmethod
    def protocol() -> Any:
        """As Twisted's own factory does, with our channel."""
        return http._GenericHTTPChannelProtocol(GatewayChannel())

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 (Twisted's name)
        """Build one connection that makes our requests."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = GatewayRequest
        return protocol


class GatewayServer(Server):
    """daphne's server with flow control and a shutdown that waits for the runs."""

    def run(self) -> None:
        """Begin with the event loop, not with the first request: what dead processes left is closed from the start."""
        reactor._asyncioEventloop.call_soon(current_supervisor)
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Let the application reach its request (ASGI specification, Extensions)."""
        scope.setdefault("extensions", {})["gateway"] = protocol
        return super().create_application(protocol, scope)

    def listen_success(self, port: Any) -> None:
        """Set what accepted sockets inherit, and a backlog that holds a burst of connections (fact 12)."""
        super().listen_success(port)
        listening = getattr(port, "socket", None)
        if isinstance(listening, socket.socket):
            listening.listen(_BACKLOG)
            if listening.family in (socket.AF_INET, socket.AF_INET6):
                watch_for_vanished_peers(listening, gateway_settings().KEEPALIVE_SECONDS)
        self._ports = [*getattr(self, "_ports", []), port]

    async def handle_reply(self, protocol: Any, message: Mapping[str, Any]) -> None:
        """Send, and wait while the client does not read (fact 5).

        With the last part it waits until the kernel has everything, so that "delivered" can be told.

        Raises:
            ConnectionError: when the client is gone and the application asked to be told.
        """
        channel = getattr(protocol, "channel", None)  # Twisted deletes it when the response ends (fact 13).
        await super().handle_reply(protocol, message)
        if not isinstance(protocol, GatewayRequest):
            return
        if isinstance(channel, GatewayChannel):
            if message["type"] != "http.response.body":
                return
            if message.get("more_body", False):
                await channel.wait_for_room()
                delivered = bool(channel.transport.connected)
            else:
                delivered = await channel.wait_until_flushed()
        elif channel is not None:
            return  # HTTP/2: another kind of channel, which is served as daphne serves it.
        else:
            delivered = False
        if not delivered and protocol.raises_when_gone:
            raise ConnectionError("the client is gone")

    def kill_all_applications(self) -> Any:
        """Before the process ends: no new connections, then the runs, then what daphne does (facts 3 and 4)."""
        # In a context of its own: the signal may have come while some run's callback was at work.
        task = asyncio.get_event_loop().create_task(self._shut_down(), name="gateway:shutdown", context=Context())
        return defer.Deferred.fromFuture(task)

    async def _shut_down(self) -> None:
        supervisor = running_supervisor()
        if supervisor is not None:
            # Twisted's own handler would only complain that it is stopping already.
            for signum in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(signum, supervisor.hurry)
            supervisor.draining = True
            await asyncio.sleep(supervisor.settings.DRAIN_NOTICE)
        for port in getattr(self, "_ports", []):
            await defer.maybeDeferred(port.stopListening).asFuture(asyncio.get_running_loop())
        if supervisor is not None:
            await supervisor.shutdown()
        applications = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details and not details["application_instance"].done()
        ]
        for application in applications:
            application.cancel()
        if applications:
            await asyncio.wait(applications, timeout=self.application_close_timeout)


def watch_for_vanished_peers(listening: socket.socket, seconds: float) -> None:
    """Let the kernel find peers that vanished without a packet, within about `seconds` (facts 9 and 14).

    Keep-alive probes find them while the connection is idle, the user timeout while data is unacknowledged.
    Accepted sockets inherit both (Linux).
    """
    if seconds <= 0:
        return
    probes = 3
    interval = max(1, int(seconds / (2 * probes)))
    idle = max(1, int(seconds - probes * interval))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", probes),
        ("TCP_USER_TIMEOUT", int(seconds * 1000)),
    ):
        if hasattr(socket, option):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def install() -> None:
    """Make the plain ``daphne`` command and ``runserver`` use the classes above.

    An unknown version of daphne is left as it is, with a warning: it then works as daphne does.
    """
    version = tuple(int(part) for part in daphne.__version__.split(".")[:2])
    if version not in SUPPORTED:
        logger.warning("daphne.unknown_version", extra={"version": daphne.__version__})
        return
    daphne.cli.CommandLineInterface.server_class = GatewayServer
    daphne.server.HTTPFactory = GatewayFactory
    from daphne.management.commands.runserver import Command

    Command.server_cls = GatewayServer
