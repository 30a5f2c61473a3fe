"""PostgreSQL and Redis of a storm's own: that they break disturbs nobody else."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import IO, Any

from tests import services
from tests.e2e.gateway import wait_for


class _Server:
    """A server process in a folder of its own, on a loopback port that it keeps over restarts."""

    def __init__(self, name: str) -> None:
        self.port = _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"gateway-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = self._open(log)
        wait_for(self._answers, within=30, what=f"the start of {self._process.args!r}")

    def end(self, signum: signal.Signals) -> None:
        """Send a signal that ends it, and wait for that."""
        assert self._process is not None
        self._process.send_signal(signum)
        self._process.wait(30)

    def remove(self) -> None:
        """End it for good, and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.end(self.CRASH)
        shutil.rmtree(self.folder, ignore_errors=True)

    CRASH: signal.Signals

    def _open(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class Postgres(_Server):
    """A new cluster. It outlives a crash of its processes; for one of the machine it would have to sync."""

    CRASH = signal.SIGQUIT
    """An immediate shutdown: what runs is cut off, and the next start recovers."""
    SHUTDOWN = signal.SIGINT

    def __init__(self) -> None:
        super().__init__("postgres")
        self._data = self.folder / "data"
        self._as_user: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
            shutil.chown(self.folder, "nobody")
            self._as_user |= {"user": "nobody", "extra_groups": []}
        command = ["--pgdata", str(self._data), "--username", "postgres", "--auth", "trust", "--no-sync"]
        self._run(services.postgres_program("initdb"), *command)

    @property
    def url(self) -> str:
        """Of the cluster's own database."""
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def _open(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        command = [services.postgres_program("postgres"), "-D", str(self._data)]
        command += [f"--{name}={value}" for name, value in (settings | {"fsync": "off"}).items()]
        return subprocess.Popen(command, stdout=log, stderr=log, **self._as_user)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user)
        assert done.returncode == 0, done.stderr


class Redis(_Server):
    """One that keeps nothing on disk."""

    CRASH = signal.SIGKILL
    SHUTDOWN = signal.SIGTERM

    def __init__(self) -> None:
        super().__init__("redis")

    @property
    def url(self) -> str:
        """For ``REDIS_URL``."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _open(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", "."]
        return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True


Server = Postgres | Redis


def _free_port() -> int:
    """One that the kernel gives to nobody: while the server is down, no connection of others takes it."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in SystemRandom().sample(range(lowest // 2, lowest), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port")
