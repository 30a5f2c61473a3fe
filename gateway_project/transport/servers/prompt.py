"""Writes what a turn of the loop has gathered at its end, instead of asking the kernel first whether it may.

Twisted registers a socket for writing, waits for the loop to say that it is writable, and takes the registration back:
two system calls and a turn for each burst. It is nearly always writable. Where it is not, Twisted's way is taken.
"""

import asyncio
from contextvars import Context
from typing import Any

from twisted.internet import reactor
from twisted.internet.tcp import Connection

from gateway_project.transport.servers.flow import buffered


def write_promptly(transport: Any) -> "PromptWriting | None":
    """Let a connection do so, if it is a plain one of TCP on the loop of asyncio."""
    if isinstance(transport, Connection) and hasattr(reactor, "_readOrWrite"):
        return PromptWriting(transport)
    return None


def write_no_more(transport: Any) -> None:
    """The connection is gone: part the two, who know each other, which only the garbage collector would find out."""
    for name in ("startWriting", "stopWriting"):
        vars(transport).pop(name, None)


class PromptWriting:
    """Stands in for a transport's own way to begin and end waiting until it may write."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._wait = transport.startWriting
        self._wait_no_more = transport.stopWriting
        self._is_due = False
        self._waits = False
        self._gathers = False
        # In no run's context, although it is a run that writes.
        self._context = Context()
        transport.startWriting = self.start
        transport.stopWriting = self.stop

    def start(self) -> None:
        """There is something to write, or to do once all is written."""
        if not (self._is_due or self._waits):
            self._is_due = True
            if self._gathers:
                return
            asyncio.get_running_loop().call_soon(self._turn_ends, context=self._context)

    def stop(self) -> None:
        """Nothing is left to write."""
        if self._waits:
            self._waits = False
            self._wait_no_more()

    def gather(self) -> None:
        """Leave what is written from here on to `now`, which is called in this same turn."""
        self._gathers = True

    def now(self) -> None:
        """Write what was gathered: nothing more will come in this turn."""
        self._gathers = False
        if self._is_due:
            self._write()

    def _turn_ends(self) -> None:
        if self._is_due:
            self._write()

    def _write(self) -> None:
        self._is_due = False
        transport = self._transport
        if transport.disconnected:
            return
        reactor._readOrWrite(transport, False)
        if buffered(transport) and not transport.disconnected:
            self._waits = True
            self._wait()
