"""What daphne lacks, added by subclasses of its own classes.

Facts 4, 5, 9, 12 and 13 of the platform: shutdown that waits for the runs, back-pressure, vanished peers, a listen
backlog that holds a burst. How requests are read is mended in `channel` and `request`.
"""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Mapping
from contextvars import Context
from datetime import datetime
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import daphne.cli
import daphne.http_protocol
import daphne.server
import twisted
from daphne.access import AccessLogGenerator
from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from twisted.internet import asyncioreactor, defer, reactor
from twisted.internet.interfaces import IAddress
from twisted.web import http

from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor, running_supervisor
from gateway_project.observe.logs import TurnStream
from gateway_project.transport.servers.channel import GatewayChannel
from gateway_project.transport.servers.daphne_socket import GatewaySocket, GatewaySocketFactory
from gateway_project.transport.servers.mailbox import Mailbox
from gateway_project.transport.servers.request import GatewayRequest

logger = logging.getLogger("gateway.daphne")

SUPPORTED = ((4, 1), (4, 2))
"""The versions of daphne whose inner workings are known here."""

TWISTED_SINCE = (24, 7)
"""Older ones hold pipelined requests back in another place, where a client's leaving behind them is not seen."""

_BACKLOG = 4096


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

    def log(self, request: Any) -> None:
        """Nothing: daphne writes the access log. Twisted would format a line for nobody."""


class _Moment:
    """A time of which daphne's access log asks `strftime` only. A second is spelled once, for all its requests."""

    def __init__(self, date: datetime) -> None:
        self._second = date.replace(microsecond=0)

    def strftime(self, form: str) -> str:
        """As `datetime` does it."""
        return _spelled(self._second, form)


@lru_cache(maxsize=4)
def _spelled(second: datetime, form: str) -> str:
    return second.strftime(form)


class AccessLog(AccessLogGenerator):
    """daphne's own access log, line for line."""

    def write_entry(self, host: str, date: datetime, *args: Any, **more: Any) -> None:
        """Write one."""
        super().write_entry(host, _Moment(date), *args, **more)


class GatewayServer(Server):
    """daphne's server with flow control and a shutdown that waits for the runs."""

    def run(self) -> None:
        """Begin with the event loop, not with the first request: what dead processes left is closed from the start."""
        reactor._asyncioEventloop.call_soon(current_supervisor)
        reactor._asyncioEventloop.call_soon(_set_apart_what_stays)
        log: Any = self.action_logger  # type: ignore[has-type]  # daphne's are not annotated
        if type(log) is AccessLogGenerator:  # Another's own is left alone.
            stream = TurnStream(log.stream)
            self.action_logger = AccessLog(stream)
            reactor.addSystemEventTrigger("after", "shutdown", stream.flush)
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Let the application reach its request (ASGI specification, Extensions)."""
        extensions = scope.setdefault("extensions", {})
        extensions["gateway"] = protocol
        if isinstance(protocol, GatewaySocket):
            extensions["websocket.http.response"] = {}
        if not protocol.is_ours:
            return super().create_application(protocol, scope)
        messages = Mailbox()
        scope["asgi"] = {"version": "3.0"}
        task = asyncio.get_running_loop().create_task(self._serve(protocol, scope, messages))
        self.connections[protocol]["application_instance"] = task
        return messages

    async def _serve(self, protocol: GatewayRequest, scope: dict[str, Any], messages: Mailbox) -> None:
        """Run the application for a request of ours.

        One that ended well and has nobody left to answer is forgotten at once. daphne looks through all requests of the
        last second for those; what went wrong is left for it to report.
        """
        await self.application(scope, messages.get, partial(self.handle_reply, protocol))
        if "disconnected" in self.connections[protocol]:
            del self.connections[protocol]

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
        if isinstance(protocol, GatewaySocket):
            await super().handle_reply(protocol, message)
            delivered = await protocol.wait_for_reader(message)
        else:
            delivered = await self._reply(protocol, message)
        if not delivered and protocol.raises_when_gone:
            raise ConnectionError("the client is gone")

    async def _reply(self, protocol: Any, message: Mapping[str, Any]) -> bool:
        """Send a part of a reply over HTTP. Returns whether it got away, as far as can be told."""
        channel = getattr(protocol, "channel", None)  # Twisted deletes it when the response ends (fact 13).
        if not isinstance(channel, GatewayChannel):
            await super().handle_reply(protocol, message)
            return channel is not None  # HTTP/2: another kind of channel, which is served as daphne serves it.
        if message["type"] == "http.response.body" and message.get("more_body"):
            # Without daphne's look at every header. It writes nothing to a connection that is lost.
            protocol.handle_reply(message)
            if channel.flow.is_full:
                await channel.flow.wait_for_room(channel.transport)
            return bool(channel.transport.connected)
        channel.gather()
        try:
            if protocol.raises_when_gone:
                protocol.handle_reply(message)  # Our headers are bytes.
            else:
                await super().handle_reply(protocol, message)
        finally:
            channel.write_now()
        return message["type"] != "http.response.body" or await channel.flow.wait_until_flushed(channel.transport)

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
            await supervisor.give_notice()
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


_YOUNG_OBJECTS = 10_000
"""A few dozen requests' worth. Most of what the collector meets sooner is not garbage yet."""


def _set_apart_what_stays() -> None:
    """All that is loaded stays: the garbage collector need not walk over it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(_YOUNG_OBJECTS, gc.get_threshold()[0]), *gc.get_threshold()[1:])


def _call_plainly(_: object, function: Any, *args: Any, **kwargs: Any) -> Any:
    """In place of Twisted's way, which sets up a context for its log around every read and write."""
    return function(*args, **kwargs)


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


def _release(package: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in package.__version__.split(".")[:2])


def install() -> None:
    """Make the plain ``daphne`` command and ``runserver`` use the classes above.

    An unknown version of daphne, and any on an older Twisted, is left as it is, with a warning: it then works as
    daphne does.
    """
    if _release(daphne) not in SUPPORTED:
        logger.warning("daphne.unknown_version", extra={"version": daphne.__version__})
        return
    if _release(twisted) < TWISTED_SINCE:
        logger.warning("daphne.old_twisted", extra={"version": twisted.__version__})
        return
    daphne.cli.CommandLineInterface.server_class = GatewayServer
    daphne.server.HTTPFactory = GatewayFactory
    daphne.server.WebSocketFactory = GatewaySocketFactory
    asyncioreactor.callWithLogger = _call_plainly
    # All that it uses of the module, which looks for warnings to give each time it is asked for something.
    daphne.http_protocol.http = SimpleNamespace(
        Request=http.Request, HTTPFactory=http.HTTPFactory, H2_ENABLED=http.H2_ENABLED
    )
    from daphne.management.commands.runserver import Command

    Command.server_cls = GatewayServer
