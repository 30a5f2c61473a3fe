"""A gateway under test: a real server process with a database of its own."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests import services
from tests.e2e.wire import Client

ROOT = Path(__file__).resolve().parent.parent.parent
Row = dict[str, Any]
Database = Literal["sqlite", "postgres"]
Server = Literal["daphne", "uvicorn", "hypercorn"]
Found = TypeVar("Found")

_PORT = re.compile(r"(?:Listening on TCP address |unning on http://)[^ ]*:(\d+)")
_TIMES = ("received_at", "started_at", "first_output_at", "abort_requested_at", "settled_at", "finished_at", "at")


def wait_for(find: Callable[[], Found | None], *, within: float = 30, what: str = "the condition") -> Found:
    """Call `find` until it finds something (truthy), or fail after `within` seconds."""
    until = time.monotonic() + within
    while True:
        found = find()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come within {within} s; last seen: {found!r}")
        time.sleep(0.005)


def manage(*arguments: str, env: Mapping[str, str]) -> str:
    """Run a management command of the project and return what it prints."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Store:
    """A migrated database with one key in it, and ways to look into it from outside the server."""

    kind: Database
    folder: Path
    name: str = field(default_factory=lambda: f"gateway_{uuid.uuid1().hex}")
    key: str = ""
    server: str = services.POSTGRES_URL
    """The database of the PostgreSQL server's owner."""
    _kept: Any = field(default=None, repr=False)
    """A connection to PostgreSQL that waits for the next question: a new one for each would cost more than all else."""
    _asking: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def path(self) -> Path:
        """SQLite's file."""
        return self.folder / f"{self.name}.sqlite3"

    @property
    def url(self) -> str:
        """For ``DATABASE_URL``."""
        if self.kind == "sqlite":
            return f"sqlite:///{self.path}"
        return self.server.rpartition("/")[0] + f"/{self.name}"

    def create(self) -> None:
        """Make, migrate and furnish it."""
        if self.kind == "postgres":
            self._as_owner(f'CREATE DATABASE "{self.name}"')
        env = base_env() | {"DATABASE_URL": self.url}
        manage("migrate", "--verbosity", "0", env=env)
        self.key = manage("createkey", "tester", env=env).splitlines()[-1]

    def copy(self, folder: Path) -> "Store":
        """A copy with nothing but the key in it."""
        other = Store(self.kind, folder, key=self.key, server=self.server)
        if self.kind == "sqlite":
            shutil.copy(self.path, other.path)
        else:
            self._as_owner(f'CREATE DATABASE "{other.name}" TEMPLATE "{self.name}"')
        return other

    def drop(self) -> None:
        """Remove it."""
        if self.kind == "postgres":
            self.close()
            self._as_owner(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def close(self) -> None:
        """Hang up. The next question opens a connection anew."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def cut(self) -> None:
        """Take the database away from everybody (PostgreSQL)."""
        self._as_owner(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS false')
        self._as_owner(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'")

    def restore(self) -> None:
        """Give it back."""
        self._as_owner(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS true')

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """Ask the database directly. ``?`` marks parameters."""
        if self.kind == "sqlite":
            connection = sqlite3.connect(self.path, timeout=10)
            try:
                cursor = connection.execute(sql, parameters)
                connection.commit()
                names = [column[0] for column in cursor.description or ()]
                return [_normal(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
            finally:
                connection.close()
        cursor_pg = self._ask_postgres(sql.replace("?", "%s"), parameters)
        names = [column.name for column in cursor_pg.description or ()]
        return [_normal(dict(zip(names, row, strict=True))) for row in (cursor_pg.fetchall() if names else ())]

    def is_free(self) -> bool:
        """Whether nobody holds the lock that keeps all others from writing, as only SQLite has it."""
        if self.kind != "sqlite":
            return True
        connection = sqlite3.connect(self.path, timeout=0.05, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

    def runs(self) -> list[Row]:
        """All runs, oldest first."""
        return self.query("SELECT * FROM gateway_run ORDER BY received_at, id")

    def run(self, run_id: str) -> Row | None:
        """One run by its id, as it stands in ``x-request-id``."""
        rows = self.query("SELECT * FROM gateway_run WHERE id = ?", self._id(run_id))
        return rows[0] if rows else None

    def notes(self, run_id: str) -> list[Row]:
        """The notes of one run."""
        return self.query("SELECT * FROM gateway_run_note WHERE run_id = ? ORDER BY at", self._id(run_id))

    def ended(self, run_id: str, *, within: float = 30) -> Row:
        """Wait for the run's end and return its row."""

        def find() -> Row | None:
            row = self.run(run_id)
            return row if row and row["status"] not in ("queued", "running") else None

        return wait_for(find, within=within, what=f"the end of run {run_id}")

    def _ask_postgres(self, sql: str, parameters: tuple[Any, ...]) -> Any:
        import psycopg

        with self._asking:
            if self._kept is not None:
                try:
                    return self._kept.execute(sql, parameters)
                except psycopg.OperationalError:
                    self.close()  # Somebody has cut it, or restarted the server.
            self._kept = psycopg.connect(self.url, autocommit=True, prepare_threshold=None)
            return self._kept.execute(sql, parameters)

    def _id(self, run_id: str) -> str:
        return uuid.UUID(run_id).hex if self.kind == "sqlite" else run_id

    def _as_owner(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(sql)


Templates = Callable[[Database], Store]
"""A migrated database of a kind, to copy."""


def _normal(row: Row) -> Row:
    for name, value in row.items():
        if name in ("id", "run_id") and isinstance(value, str):
            row[name] = str(uuid.UUID(value))
        elif isinstance(value, uuid.UUID):
            row[name] = str(value)
        elif name in _TIMES and isinstance(value, str):
            row[name] = datetime.fromisoformat(value).replace(tzinfo=UTC)
        elif name in ("delivered", "streaming") and value is not None:
            row[name] = bool(value)
    return row


def base_env() -> dict[str, str]:
    """The environment of every process under test: nothing of the tester's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
    return (
        kept
        | {"SECRET_KEY": "only-for-tests", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
        | {"GATEWAY_CONFIG": "tests.e2e.config.CONFIG"}
    )


@dataclass
class Gateway:
    """A running server."""

    store: Store
    config: dict[str, Any]
    folder: Path
    application: str = "gateway_project.asgi:application"
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    address: str = "127.0.0.1"
    command_prefix: tuple[str, ...] = ()
    server: Server = "daphne"
    arguments: tuple[str, ...] = ()
    probe: str | None = "/healthz"
    """What answers from the start on; None for an application that answers nothing of itself."""
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def key(self) -> str:
        """The API key that it knows."""
        return self.store.key

    @property
    def log(self) -> str:
        """All that it printed so far."""
        return self._log_path.read_text(errors="replace")

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """Our own log lines, which are JSON."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def env(self) -> dict[str, str]:
        """Its environment, for management commands too."""
        ours = {"DATABASE_URL": self.store.url, "GATEWAY_CONFIG": str(self._config_path)}
        return base_env() | ours | self.environment

    def start(self) -> "Gateway":
        """Start the server on a free port of `address`; wait until it answers, and so hears signals, too."""
        self._config_path.write_text(f"GATEWAY = {self.config!r}\n")
        program = str(Path(sys.executable).with_name(self.server))
        command = [*self.command_prefix, program, *self._arguments(), *self.arguments, self.application]
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.cwd, env=self.env, stdout=log, stderr=subprocess.STDOUT)
        self.port = wait_for(self._listening, within=120, what="the server's start")
        if self.probe is not None:
            first = Client(self.port, host=self.address)
            first.send("GET", self.probe, key=None)
            first.read_reply()
            first.close()
        return self

    def terminate(self, *, within: float = 60) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def stop(self) -> None:
        """End the process, whatever it takes."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _arguments(self) -> list[str]:
        match self.server:
            case "daphne":
                return ["-b", self.address, "-p", "0"]
            case "uvicorn":
                return ["--host", self.address, "--port", "0"]
            case "hypercorn":
                return ["--bind", f"{self.address}:0", "--workers", "0", "--graceful-timeout", "30"]

    @property
    def _config_path(self) -> Path:
        return self.folder / "config.py"

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def _listening(self) -> int | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server did not start:\n{self.log}")
        found = _PORT.search(self.log)
        return int(found[1]) if found else None
