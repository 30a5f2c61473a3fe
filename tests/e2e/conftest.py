"""Servers for the tests: one that all share for each database, and fresh ones to order."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Database, Gateway, Store, Templates
from tests.e2e.routes import ROUTES, Route
from tests.e2e.wire import Client

MakeGateway = Callable[..., Gateway]

ON_ONE_DATABASE = pytest.mark.parametrize("template", ["sqlite"], indirect=True)
"""For tests of what does not depend on the database."""

WITH_A_DATABASE_TO_CUT = (
    pytest.mark.needs("postgres"),
    pytest.mark.parametrize("template", ["postgres"], indirect=True),
)
"""For tests that take the database away: of SQLite there is nothing to take but the file."""


_POSTGRES = pytest.param("postgres", marks=pytest.mark.needs("postgres"))
_ON_ONE = bool(os.environ.get("GATEWAY_SECOND_CORNER")) and services.missing("postgres") is None
"""Where what runs on both databases elsewhere runs on one, see `tests.corners`."""


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    """A migrated database of each kind, made when it is first asked for."""
    with ExitStack() as made:

        @cache
        def template(kind: Database) -> Store:
            store = Store(kind, tmp_path_factory.mktemp("template"))
            made.callback(store.drop)
            store.create()
            return store

        yield template


@pytest.fixture(scope="session", params=[_POSTGRES] if _ON_ONE else ["sqlite", _POSTGRES])
def template(request: pytest.FixtureRequest, templates: Templates) -> Store:
    """A migrated database to copy: of each kind in turn."""
    if request.param == "postgres" and services.missing("postgres"):
        pytest.skip("no PostgreSQL")
    return templates(request.param)


@pytest.fixture(scope="session")
def gateways(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Database], Gateway]]:
    """A server for each kind of database, which stays up while tests with another have their turn."""
    with ExitStack() as made:

        @cache
        def gateway(kind: Database) -> Gateway:
            folder = tmp_path_factory.mktemp("gateway")
            server = Gateway(templates(kind).copy(folder), CONFIG, folder)
            made.callback(server.store.drop)
            made.callback(server.stop)
            return server.start()

        yield gateway


@pytest.fixture(scope="session")
def gateway(template: Store, gateways: Callable[[Database], Gateway]) -> Gateway:
    """A server that tests share: they must not stop it or fill its queue for long."""
    return gateways(template.kind)


@pytest.fixture
def make_gateway(template: Store, tmp_path: Path) -> Iterator[MakeGateway]:
    """Starts servers of a test's own; settings are added to the shared ones."""
    made: list[Gateway] = []

    def make(environment: dict[str, str] | None = None, **settings: Any) -> Gateway:
        folder = tmp_path / f"gateway{len(made)}"
        folder.mkdir()
        store = made[0].store if made else template.copy(tmp_path)
        server = Gateway(store, CONFIG | settings, folder, environment=environment or {})
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.stop()
    if made:
        made[0].store.drop()


@pytest.fixture
def make_to_cut(template: Store, tmp_path: Path) -> Iterator[MakeGateway]:
    """Start a server with a spill folder and a short lease, whose database may be gone when the test is over."""
    servers: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        own = {"SPILL_DIR": str(tmp_path / "spill"), "LEASE_SECONDS": 1.5}
        servers.append(Gateway(template.copy(tmp_path), CONFIG | own | settings, tmp_path))
        return servers[-1].start()

    yield make
    for server in servers:
        server.stop()
        server.store.restore()
        server.store.drop()


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    """No test leaves a connection open."""
    yield
    while Client.opened:
        Client.opened.pop().close()


@pytest.fixture(params=ROUTES, ids=lambda route: route.name)
def route(request: pytest.FixtureRequest) -> Route:
    """Each route in turn."""
    found: Route = request.param
    return found


@pytest.fixture(params=[True, False], ids=["stream", "plain"])
def stream(request: pytest.FixtureRequest) -> bool:
    """Streaming and not."""
    return bool(request.param)
