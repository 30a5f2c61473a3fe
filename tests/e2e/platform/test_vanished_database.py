"""The host of the database vanishes without a packet while an answer of it is waited for."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store, wait_for
from tests.e2e.platform.test_vanished import NOTICED_WITHIN, Line, line

__all__ = ["line"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("netns", "postgres"),
    pytest.mark.parametrize("template", ["postgres"], indirect=True, scope="session"),
]


@pytest.fixture
def gateway(line: Line, template: Store, tmp_path: Path) -> Iterator[Gateway]:
    """One in a namespace, to which the database is a host at the other end of the line."""
    store = template.copy(tmp_path)
    parts = urlsplit(store.url)
    with socket.create_server((line.here, 0)) as listening:
        database = (str(parts.hostname), parts.port or 5432)
        threading.Thread(target=serve, args=(listening, database), daemon=True).start()
        url = store.url.replace(f"@{parts.netloc.rpartition('@')[2]}", f"@{line.here}:{listening.getsockname()[1]}")
        server = Gateway(store, CONFIG | {"LEASE_SECONDS": 1.5}, tmp_path, address=line.there, command_prefix=line.far)
        server.environment = {"DATABASE_URL": url}
        yield server.start()
        server.stop()
    store.drop()


def serve(listening: socket.socket, database: tuple[str, int]) -> None:
    """Hand each connection on to the database."""
    with suppress(OSError):
        while True:
            near, _ = listening.accept()
            threading.Thread(target=hand_on, args=(near, database), daemon=True).start()


def hand_on(near: socket.socket, database: tuple[str, int]) -> None:
    with suppress(OSError), near, socket.create_connection(database) as far:
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Everything that comes, until one of the two has had enough."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def test_it_is_noticed_while_an_answer_is_waited_for(gateway: Gateway, line: Line) -> None:
    import psycopg

    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND now() - query_start > interval '0.5 s'"  # By then it is acknowledged.
    )
    with psycopg.connect(gateway.store.url) as owner:
        owner.execute("LOCK TABLE gateway_worker IN ACCESS EXCLUSIVE MODE")
        wait_for(lambda: gateway.store.query(waiting), what="a question that waits")
        with line.lose_the_address():
            wait_for(lambda: "journal.database_unavailable" in gateway.log, within=NOTICED_WITHIN)
