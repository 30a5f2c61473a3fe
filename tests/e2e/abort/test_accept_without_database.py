"""New runs while the database is away, where that is configured: each has one row in the end, and its right end."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import WITH_A_DATABASE_TO_CUT, MakeGateway
from tests.e2e.gateway import Gateway, Row, wait_for
from tests.e2e.routes import ROUTES, Route
from tests.e2e.wire import Client, Reply, ask

pytestmark = [pytest.mark.e2e, *WITH_A_DATABASE_TO_CUT]

EACH = [(route, stream) for route in ROUTES for stream in (True, False)]


@pytest.fixture
def gateway(make_to_cut: MakeGateway) -> Gateway:
    return make_to_cut(ACCEPT_WITHOUT_DATABASE=True)


@pytest.fixture
def unseen(gateway: Gateway) -> str:
    """A key that the gateway never saw: a copy of the other one, with a prefix of its own."""
    _, prefix, secret = gateway.key.split("-", 2)
    other = prefix[::-1]
    gateway.store.query(
        "INSERT INTO gateway_api_key (name, prefix, hash, agents, operate, content, created_at) "
        "SELECT 'unseen', ?, encode(sha512(?::bytea), 'hex'), agents, operate, content, created_at "
        "FROM gateway_api_key",
        other,
        f"gw-{other}-{secret}",
    )
    return f"gw-{other}-{secret}"


def test_runs_accepted_without_the_database_have_one_row_each_and_their_right_end(
    gateway: Gateway, unseen: str
) -> None:
    before = ask_for(gateway, "count-2").headers["x-request-id"]
    gateway.store.cut()
    answered = [_id(ask_for(gateway, "slow-20x50ms", route, stream=stream)) for route, stream in EACH]
    failed = [_id(ask_for(gateway, "fail", route, stream=False), 500) for route in ROUTES]
    refused = ask(gateway.port, "POST", ROUTES[0].path, key=unseen, body=ROUTES[0].body("scripted/echo", stream=False))
    assert (refused.status, refused.json["error"]["code"]) == (503, "database_unavailable")
    aborted, over = begin(gateway), begin(gateway)
    for client in aborted.values():
        client.leave("rst")
    wait_for(lambda: ends_on_disk(gateway, aborted), what="the ends of the aborted runs")
    gateway.store.restore()
    settled(gateway)
    for client in over.values():
        client.leave("fin")
    expected = (
        dict.fromkeys([before, *answered], ("completed", "", "", True))
        | dict.fromkeys(failed, ("failed", "", "", True))
        | dict.fromkeys([*aborted, *over], ("aborted", "client_disconnect", "stopped", False))
    )
    for run_id in over:
        gateway.store.ended(run_id)
    rows = gateway.store.runs()
    assert {row["id"]: end(row) for row in rows} == expected
    assert len(rows) == len(expected)
    assert all(row["received_at"] <= row["started_at"] <= row["finished_at"] for row in rows)
    assert [gateway.store.notes(run_id) for run_id in expected] == [[]] * len(expected)


def test_what_a_killed_process_accepted_is_adopted_from_its_file(gateway: Gateway, tmp_path: Path) -> None:
    ask_for(gateway, "count-2")
    gateway.store.cut()
    answered = [_id(ask_for(gateway, "count-3", route, stream=stream)) for route, stream in EACH]
    aborted, running = begin(gateway), begin(gateway)
    for client in aborted.values():
        client.leave("fin")
    ended = set(answered) | set(aborted)
    wait_for(lambda: ends_on_disk(gateway, ended), what="the ends in the file")
    gateway.stop()
    gateway.store.restore()
    (tmp_path / "next").mkdir()
    successor = Gateway(gateway.store, gateway.config, tmp_path / "next").start()
    try:
        ask_for(successor, "count-1")
        for run_id in running:
            successor.store.ended(run_id)
        settled(successor, tmp_path)
        rows = successor.store.runs()
    finally:
        successor.stop()
    assert len(rows) == len({row["id"] for row in rows}) == 2 + len(ended) + len(running)
    ends = {row["id"]: end(row) for row in rows}
    assert {ends[run_id] for run_id in answered} == {("completed", "", "", True)}
    assert {ends[run_id] for run_id in aborted} == {("aborted", "client_disconnect", "stopped", False)}
    assert {ends[run_id] for run_id in running} == {("aborted", "worker_lost", "unknown", None)}


def ask_for(gateway: Gateway, script: str, route: Route = ROUTES[0], *, stream: bool = False) -> Reply:
    """A whole exchange."""
    return ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body(f"scripted/{script}", stream=stream))


def begin(gateway: Gateway) -> dict[str, Client]:
    """A streamed run by each route, in the middle of its output, by its id."""
    begun = {}
    for route in ROUTES:
        client = Client(gateway.port)
        client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
        begun[client.read_head().headers["x-request-id"]] = client
        client.read_until(b"bravo")
    return begun


def end(row: Row) -> tuple[Any, ...]:
    """What became of a run."""
    return row["status"], row["abort_cause"], row["abort_outcome"], row["delivered"]


def ends_on_disk(gateway: Gateway, run_ids: Iterable[str]) -> bool:
    """Whether the ends of these runs are in the spill file."""
    text = "".join(path.read_text() for path in spilled(gateway.folder))
    ends = [line for line in text.splitlines() if '"CloseRun"' in line]
    return all(any(run_id.replace("-", "") in line for line in ends) for run_id in run_ids)


def spilled(folder: Path) -> list[Path]:
    """The spill files."""
    return list((folder / "spill").glob("*/*.spill"))


def settled(gateway: Gateway, folder: Path | None = None) -> None:
    """Wait until all that was spilled is in the database."""
    wait_for(lambda: not spilled(folder or gateway.folder), what="the empty spill folder")


def _id(reply: Reply, status: int = 200) -> str:
    assert reply.status == status, reply.body
    return reply.headers["x-request-id"]
