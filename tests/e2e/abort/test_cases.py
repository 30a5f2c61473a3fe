"""The matrix of aborts: whole on daphne with one database, every pair of values on the other servers and databases."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway_project.routing import endpoint_routes, websocket_routes
from gateway_project.transport.run_consumer import RunConsumer
from tests.e2e.abort.cases import CONFIG, Case, matrix, pairs, pairwise
from tests.e2e.gateway import Database, Gateway, Server, Templates, wait_for
from tests.e2e.routes import ABORTABLE, CHAT

pytestmark = pytest.mark.e2e

AT_A_TIME = 24
WHOLE = matrix(["daphne"], ["sqlite"])
EVERYWHERE = matrix(get_args(Server), get_args(Database))
PAIRWISE = [case for case in pairwise(EVERYWHERE) if case not in WHOLE]
Place = tuple[Server, Database]
Done = Callable[[Case], None]


@pytest.fixture(scope="module")
def done(
    request: pytest.FixtureRequest, templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Done]:
    """Runs all cases of the place, side by side; raises what a case raised."""
    server, database = place = request.param
    folder: Path = tmp_path_factory.mktemp(server)
    store = templates(database).copy(folder)
    gateway = Gateway(store, CONFIG, folder, server=server).start()
    try:
        yield _run([case for case in (*WHOLE, *PAIRWISE) if (case.server, case.database) == place], gateway, folder)
    finally:
        gateway.stop()
        store.drop()


def _run(cases: list[Case], gateway: Gateway, folder: Path) -> Done:
    held = folder / "held"
    holder = CHAT.open(gateway, "narrow", stream=False, prompt=f"stops waits {held}", name="holder")
    wait_for(held.exists, what="the run that holds the only place")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        futures: dict[Case, Future[None]] = {case: pool.submit(case.run, gateway, folder) for case in cases}
    holder.close()
    return lambda case: futures[case].result()


def parameters(cases: list[Case]) -> list[object]:
    """Each with the place that runs it."""
    needs = {"sqlite": (), "postgres": (pytest.mark.needs("postgres"),)}
    return [
        pytest.param((case.server, case.database), case, id=str(case), marks=needs[case.database]) for case in cases
    ]


@pytest.mark.parametrize(("done", "case"), parameters([*WHOLE, *PAIRWISE]), indirect=["done"], scope="module")
def test_leaving(done: Done, case: Case) -> None:
    done(case)


def test_every_two_values_meet() -> None:
    assert {pair for case in EVERYWHERE for pair in pairs(case)} == {
        pair for case in (*PAIRWISE, *WHOLE) for pair in pairs(case)
    }
    assert len(PAIRWISE) < len(EVERYWHERE) / 10


def test_no_route_that_starts_agents_is_forgotten() -> None:
    callbacks: dict[str, Any] = {f"/{route.pattern}": route.callback for route in endpoint_routes()}
    starts = [path for path, callback in callbacks.items() if issubclass(callback.consumer_class, RunConsumer)]
    starts += [f"/{route.pattern}" for route in websocket_routes()]
    assert sorted(starts) == sorted(route.path for route in ABORTABLE)
