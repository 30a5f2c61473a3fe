"""The one way to ask from anywhere that a run be aborted. The run's owner does the aborting."""

import uuid
from enum import Enum

from django.db import connections, transaction

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.hints import send_hint
from gateway_project.runs.models import Run
from gateway_project.runs.notes import add_note
from gateway_project.runs.record import NoteRecord
from gateway_project.runs.sql import text_limits
from gateway_project.runs.vocabulary import AbortCause, NoteKind


class AbortRequest(Enum):
    """What became of a request to abort."""

    ASKED = "asked"
    ALREADY_ASKED = "already_asked"
    ALREADY_ENDED = "already_ended"
    UNKNOWN_RUN = "unknown_run"


def request_abort(run_id: uuid.UUID, cause: AbortCause, *, by: str = "", reason: str = "") -> AbortRequest:
    """Write durably that the run shall be aborted; its owner sees it at once by a hint, else within a second.

    The first cause wins. A later one is kept as a note. Blocking: call it in a thread from async code.

    Args:
        by: who asks, as the auditor shall read it.
        reason: why, in the asker's own words.
    """
    alias = gateway_settings().DATABASE
    asked_at = clock.now()
    limits = text_limits(Run)
    with transaction.atomic(using=alias):
        runs = Run.objects.using(alias).filter(pk=run_id)
        first = runs.open().filter(abort_requested_at__isnull=True)
        if first.update(
            abort_requested_at=asked_at,
            abort_cause=cause,
            abort_requested_by=by[: limits["abort_requested_by"]],
            abort_reason=reason[: limits["abort_reason"]],
        ):
            send_hint(run_id, alias)
            return AbortRequest.ASKED
        # Locked, so that the run's end, which seals its notes, comes after this one or before this look.
        run = runs.select_for_update().first()
        if run is None:
            return AbortRequest.UNKNOWN_RUN
        if not run.is_open:
            return AbortRequest.ALREADY_ENDED
        text = f"{cause}: {reason}" if reason else cause.value
        note = NoteRecord(run_id=run_id, at=asked_at, kind=NoteKind.SECOND_CAUSE, by=by, text=text)
        add_note(note, connections[alias])
        return AbortRequest.ALREADY_ASKED
