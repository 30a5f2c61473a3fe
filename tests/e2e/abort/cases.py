"""The matrix: server, database, route, streaming, way of leaving, phase, agent's behaviour; what each must show."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal, get_args

from tests.e2e.abort.behaviour import GRACE_SECONDS, OUTCOMES
from tests.e2e.gateway import Database, Gateway, Row, Server, wait_for
from tests.e2e.routes import ABORTABLE, Route
from tests.e2e.wire import Leaving

Phase = Literal["queued", "before_output", "streaming"]

_FUNCTION = {"BACKEND": "gateway_project.agents.function.FunctionAgent", "GRACE_SECONDS": GRACE_SECONDS}
_OPTIONS = {"OPTIONS": {"function": "tests.e2e.abort.behaviour.act"}}
CONFIG: dict[str, Any] = {
    "AGENTS": {"actor": _FUNCTION | _OPTIONS, "narrow": _FUNCTION | _OPTIONS | {"CONCURRENT_RUNS": 1}},
    "LIMITS": {"QUEUE_SECONDS": 600, "QUEUED_RUNS": 1000},
}


@dataclass(frozen=True)
class Case:
    """One cell."""

    server: Server
    database: Database
    route: Route
    stream: bool
    leaving: Leaving
    phase: Phase
    behaviour: str

    def __str__(self) -> str:
        mode = "stream" if self.stream else "plain"
        return "-".join((self.server, self.database, self.route.name, mode, self.leaving, self.phase, self.behaviour))

    @property
    def exists(self) -> bool:
        """Whether the route can be asked and left so. Every server sees every way in every phase."""
        return self.stream in self.route.modes and self.leaving in self.route.ways

    def run(self, gateway: Gateway, folder: Path) -> None:
        """Ask, wait for the phase, leave, and look at the record. Many may do so at the same time."""
        name = uuid.uuid1().hex
        mark = folder / name
        agent = "narrow" if self.phase == "queued" else "actor"
        prompt = f"{self.behaviour} {'speaks' if self.phase == 'streaming' else 'waits'} {mark}"
        client = self.route.open(gateway, agent, stream=self.stream, prompt=prompt, name=name)
        try:
            if self.phase == "queued":
                wait_for(lambda: _row(gateway, name, "queued"), what="the queued run")
            else:
                wait_for(mark.exists, what="the agent's mark")
            if self.phase == "streaming" and self.stream:
                client.read_until(b"alpha")
            client.leave(self.leaving)
            row = wait_for(lambda: _row(gateway, name), what="the end")
        finally:
            client.close()
        self._judge(row, was_called=mark.exists())

    def _judge(self, row: Row, *, was_called: bool) -> None:
        expected = ("aborted", "stopped") if self.phase == "queued" else OUTCOMES[self.behaviour]
        assert (row["status"], row["abort_outcome"]) == expected
        assert (row["abort_cause"], row["abort_phase"]) == ("client_disconnect", self.phase)
        assert row["delivered"] is False
        assert was_called is (row["started_at"] is not None) is (self.phase != "queued")
        assert (row["first_output_at"] is not None) is (self.phase == "streaming")
        assert row["finished_at"] >= row["abort_requested_at"] >= row["received_at"]
        assert (row["settled_at"] is None) is (row["abort_outcome"] == "unresponsive")


def _row(gateway: Gateway, name: str, status: str = "") -> Row | None:
    """The run of that name, in `status`; by default any end."""
    rows = gateway.store.query("SELECT * FROM gateway_run WHERE client_request_id = ?", name)
    assert len(rows) < 2, "one request, two runs"
    fits = [row for row in rows if (row["status"] == status if status else row["finished_at"] is not None)]
    return fits[0] if fits else None


def matrix(servers: Sequence[Server], databases: Sequence[Database]) -> list[Case]:
    """Every case that exists."""
    values = (servers, databases, ABORTABLE, (True, False), get_args(Leaving), get_args(Phase), tuple(OUTCOMES))
    return [case for found in product(*values) if (case := Case(*found)).exists]


def pairwise(cases: Sequence[Case]) -> list[Case]:
    """So few of them that every two values that meet in some case meet in one of these (greedy)."""
    left = {pair for case in cases for pair in pairs(case)}
    taken = []
    while left:
        best = max(cases, key=lambda case: len(left.intersection(pairs(case))))
        taken.append(best)
        left.difference_update(pairs(best))
    return taken


def pairs(case: Case) -> Iterator[tuple[Any, Any]]:
    """Every two of its values, each with its dimension."""
    return combinations(vars(case).items(), 2)
