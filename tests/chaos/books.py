"""The books that are balanced afterwards: runs, the upstream's own log, what clients saw, every change of a row."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway_project.runs.vocabulary import OPEN_STATUSES, TRANSITIONS, RunStatus
from tests.chaos.load import Asked
from tests.e2e.gateway import Row, Store
from tests.upstream_answers import Entry

_WATCH = (
    "CREATE TABLE chaos_step (number bigserial, run uuid, before text, after text, finished_before timestamptz)",
    """CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN INSERT INTO chaos_step (run, after) VALUES (NEW.id, NEW.status);
    ELSIF OLD IS DISTINCT FROM NEW THEN INSERT INTO chaos_step (run, before, after, finished_before)
        VALUES (NEW.id, OLD.status, NEW.status, OLD.finished_at);
    END IF; RETURN NULL; END $$""",
    "CREATE TRIGGER chaos AFTER INSERT OR UPDATE ON gateway_run FOR EACH ROW EXECUTE FUNCTION chaos_note()",
)

_MESSAGE = re.compile(r'^(?=\d{4}-\d\d-\d\d |\{"time")', re.MULTILINE)
"""Where the log's next message begins."""

_DJANGOS = (
    "CurrentThreadExecutor already quit or is broken",  # asgiref, when the client of a synchronous view is gone.
)


def watch(store: Store) -> None:
    """Let the database itself keep every change of every run."""
    for sql in _WATCH:
        store.query(sql)


@dataclass
class Books:
    """The result. Everything but the counts must be empty."""

    requests: int
    admitted: int
    answered: int
    aborts: Counter[str]
    faults: Counter[str]
    lost: list[str] = field(default_factory=list)
    """Asked of the upstream, or given to a client, and no run says so."""
    double: list[str] = field(default_factory=list)
    """Two runs, two calls of the upstream or two ends for one request."""
    left_running: list[str] = field(default_factory=list)
    """Runs without an end, upstream connections that nobody closed."""
    loud: list[str] = field(default_factory=list)
    """What a gateway complained of that is nobody's fault but its own."""

    @property
    def is_balanced(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.double or self.left_running or self.loud)

    def __str__(self) -> str:
        def listed(counts: Counter[str]) -> str:
            return ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "none"

        lines = [
            f"requests      {self.requests}, {self.admitted} admitted, {self.answered} answered in full",
            f"aborts        {self.aborts.total()}: {listed(self.aborts)}",
            f"faults        {self.faults.total()}: {listed(self.faults)}",
        ]
        for name in ("lost", "double", "left_running", "loud"):
            found = getattr(self, name)
            lines.append(f"{name.replace('_', ' '):13} {len(found)}")
            lines += [f"    {line}" for line in found[:20]]
        return "\n".join(lines)


def balance(
    store: Store, log: Sequence[Entry], asked: Sequence[Asked], faults: Counter[str], logs: dict[str, str]
) -> Books:
    """Compare all that is known of each request."""
    rows = store.runs()
    books = Books(
        requests=sum(one.was_sent for one in asked),
        admitted=sum(row["status"] != RunStatus.REJECTED for row in rows),
        answered=sum(one.was_answered and one.status == 200 for one in asked),
        aborts=Counter(f"{row['abort_cause']}/{row['abort_outcome']}" for row in rows if row["abort_cause"]),
        faults=faults,
    )
    called = Counter(prompt(entry) for entry in log)
    _compare(books, rows, called, asked)
    _follow(books, store.query("SELECT * FROM chaos_step ORDER BY number"))
    workers = {row["id"].replace("-", ""): row for row in store.query("SELECT * FROM gateway_worker")}
    for row in rows:
        if row["status"] in OPEN_STATUSES:
            worker = workers.get(row["worker"], "no worker that is known")
            books.left_running.append(f"run {row['id']} of {row['worker']} is {row['status']}: {worker}")
    for entry in log:
        if entry.finished_at is None and not entry.hung_up:
            books.left_running.append(f"upstream request {entry.number} of {prompt(entry)} is still open")
    for start, text in logs.items():
        books.loud += [f"{start}: {line}" for line in _complaints(text)]
    return books


def _complaints(log: str) -> Iterator[str]:
    """The messages with a traceback: their first line and their last, which names the error."""
    for message in _MESSAGE.split(log):
        first, *others = message.strip().splitlines() or [""]
        if any(line.startswith("Traceback") for line in others) and not any(known in message for known in _DJANGOS):
            yield f"{first} ({others[-1]})"


def _compare(books: Books, rows: Sequence[Row], called: Counter[str], asked: Sequence[Asked]) -> None:
    recorded = Counter(row["client_request_id"] for row in rows)
    started = {row["client_request_id"] for row in rows if row["status"] != RunStatus.REJECTED}
    ids = {row["id"] for row in rows}
    books.lost += [f"{name} reached the upstream and is no run" for name in called if name not in started]
    for one in asked:
        # Refused for want of a database, it cannot be in it.
        if one.status == 200 and one.run_id not in ids:
            books.lost.append(f"{one.id} was answered as run {one.run_id}, which is not there")
    books.double += [f"{name} is {number} runs" for name, number in recorded.items() if number > 1]
    books.double += [f"{name} reached the upstream {number} times" for name, number in called.items() if number > 1]
    known = {one.id for one in asked}
    books.lost += [f"run {row['id']} belongs to nobody" for row in rows if row["client_request_id"] not in known]


def _follow(books: Books, steps: Sequence[Row]) -> None:
    """Each change of a row, as the database saw it: none behind an end, none that the table does not have."""
    for step in steps:
        before = RunStatus(step["before"]) if step["before"] else None
        after = RunStatus(step["after"])
        if step["finished_before"] is not None:
            books.double.append(f"run {step['run']} was changed after its end: {before} to {after}")
        elif before != after and after not in TRANSITIONS[before]:
            books.double.append(f"run {step['run']} went from {before} to {after}")


def prompt(entry: Entry) -> str:
    """The name that the client gave its request, as it reached the upstream."""
    messages = entry.body.get("messages") or [{}]
    content = messages[-1].get("content", "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
