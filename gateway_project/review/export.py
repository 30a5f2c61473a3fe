"""Runs as plain data, for whoever reads them elsewhere: the export now, and any API over the same keys."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TypedDict

from gateway_project.review.paging import Selection
from gateway_project.runs.models import Run

BATCH = 500

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 (meant: spreadsheets take them too)
"""A cell that begins so is run by spreadsheets (OWASP, "CSV Injection")."""


class UsageDict(TypedDict):
    """Tokens, and who counted them."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    source: str | None


class ErrorDict(TypedDict):
    """What the client was told."""

    code: str | None
    type: str | None
    message: str | None


class RunDict(TypedDict):
    """A run. Times are ISO 8601 in UTC with microseconds; what is absent is None."""

    id: str
    status: str
    endpoint: str
    agent: str | None
    model: str | None
    requested_model: str | None
    streaming: bool
    background: bool
    parent_run: str | None
    principal: str | None
    principal_kind: str | None
    principal_id: str | None
    client_address: str | None
    client_request_id: str | None
    received_at: str
    started_at: str | None
    first_output_at: str | None
    abort_requested_at: str | None
    settled_at: str | None
    finished_at: str | None
    abort_cause: str | None
    abort_phase: str | None
    abort_outcome: str | None
    abort_requested_by: str | None
    abort_reason: str | None
    delivered: bool | None
    http_status: int | None
    finish_reason: str | None
    events_sent: int
    bytes_sent: int
    tokens_sent: int
    usage: UsageDict | None
    error: ErrorDict | None
    worker: str | None


def iso(at: datetime) -> str:
    """``2026-11-20T14:03:22.123456+00:00``."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def run_as_dict(run: Run) -> RunDict:
    """`run` under the keys that scripts and the API rely on."""
    return {
        "id": str(run.pk),
        "status": run.status,
        "endpoint": run.endpoint,
        "agent": run.agent or None,
        "model": run.model or None,
        "requested_model": run.requested_model or None,
        "streaming": run.streaming,
        "background": run.background,
        "parent_run": str(run.parent_run) if run.parent_run else None,
        "principal": run.principal_label or None,
        "principal_kind": run.principal_kind or None,
        "principal_id": run.principal_id or None,
        "client_address": run.client_address or None,
        "client_request_id": run.client_request_id or None,
        "received_at": iso(run.received_at),
        "started_at": _iso_or_none(run.started_at),
        "first_output_at": _iso_or_none(run.first_output_at),
        "abort_requested_at": _iso_or_none(run.abort_requested_at),
        "settled_at": _iso_or_none(run.settled_at),
        "finished_at": _iso_or_none(run.finished_at),
        "abort_cause": run.abort_cause or None,
        "abort_phase": run.abort_phase or None,
        "abort_outcome": run.abort_outcome or None,
        "abort_requested_by": run.abort_requested_by or None,
        "abort_reason": run.abort_reason or None,
        "delivered": run.delivered,
        "http_status": run.http_status,
        "finish_reason": run.finish_reason or None,
        "events_sent": run.events_sent,
        "bytes_sent": run.bytes_sent,
        "tokens_sent": run.tokens_sent,
        "usage": _usage(run),
        "error": _error(run),
        "worker": run.worker or None,
    }


def _usage(run: Run) -> UsageDict | None:
    if not run.usage_source:
        return None
    return {
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cached_tokens": run.cached_tokens,
        "reasoning_tokens": run.reasoning_tokens,
        "source": run.usage_source,
    }


def _error(run: Run) -> ErrorDict | None:
    if not (run.error_code or run.error_type or run.error_message):
        return None
    return {"code": run.error_code or None, "type": run.error_type or None, "message": run.error_message or None}


def _iso_or_none(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def runs_in_order(runs: Selection, *, batch: int = BATCH) -> Iterator[Run]:
    """All of them, the oldest first, read in batches: constant memory."""
    for found in runs.batches(size=batch):
        yield from found


def as_jsonl(runs: Iterable[Run]) -> Iterator[str]:
    """A JSON object a line."""
    for run in runs:
        yield json.dumps(run_as_dict(run), ensure_ascii=False) + "\n"


def as_csv(runs: Iterable[Run]) -> Iterator[str]:
    """RFC 4180, a header line first. ``usage`` and ``error`` are spread over columns, text is made harmless."""
    yield _csv_line(_CSV_COLUMNS)
    for run in runs:
        cells = flattened(run_as_dict(run))
        yield _csv_line([harmless(cells.get(column)) for column in _CSV_COLUMNS])


FORMATS: Mapping[str, Callable[[Iterable[Run]], Iterator[str]]] = {"jsonl": as_jsonl, "csv": as_csv}


def flattened(run: Mapping[str, Any]) -> dict[str, Any]:
    """``{"usage": {"source": …}}`` as ``{"usage_source": …}``."""
    cells: dict[str, Any] = {}
    for key, value in run.items():
        if isinstance(value, Mapping):
            cells |= {f"{key}_{inner}": item for inner, item in value.items()}
        else:
            cells[key] = value
    return cells


def harmless(value: Any) -> Any:
    """`value` so that no spreadsheet takes it for a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _columns() -> Iterator[str]:
    nested: Mapping[str, type] = {"usage": UsageDict, "error": ErrorDict}
    for key in RunDict.__annotations__:
        if key in nested:
            yield from (f"{key}_{inner}" for inner in nested[key].__annotations__)
        else:
            yield key


_CSV_COLUMNS = tuple(_columns())


def _csv_line(cells: Iterable[Any]) -> str:
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
