"""Responses whose process died: their run was closed by others, and so must they be."""

import json
import uuid
from typing import Any

from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.journal import JournalUnavailable
from gateway_project.runs.models import Run
from gateway_project.transport import sse
from gateway_project.transport.errors import DatabaseAway

from .models import StoredFrames, StoredResponse, StoredStatus
from .reading import read
from .replay import kept_events, output_after
from .store import EndRecord, EndResponse

LOST = {"code": "server_error", "message": "The process that worked on this response was lost."}


async def settle_if_lost(response_id: uuid.UUID) -> bool:
    """Give an open response its end when its run has one. Its own end is written first, so there was nobody left.

    Returns:
        Whether that was so.

    Raises:
        DatabaseAway: when that cannot be told, or written, now.
    """
    if response_id in current_supervisor().runs:
        return False
    end = await read(_lost_end, response_id)
    if end is None:
        return False
    try:
        await current_supervisor().write(EndResponse(end))
    except JournalUnavailable:
        raise DatabaseAway from None
    return True


def _lost_end(response_id: uuid.UUID) -> EndRecord | None:
    alias = gateway_settings().DATABASE
    run = Run.objects.using(alias).ended().filter(pk=response_id).first()
    response = StoredResponse.objects.using(alias).filter(pk=response_id).first() if run else None
    if response is None or not response.is_open:
        return None
    output = output_after(kept_events(response_id, alias))  # What followers have heard stands in the object, too.
    body: dict[str, Any] = json.loads(response.body) | {"status": "failed", "error": LOST, "output": output}
    number = _next_number(response_id, alias)
    event = {"type": "response.failed", "sequence_number": number, "response": body}
    return EndRecord(
        id=response_id,
        status=StoredStatus.FAILED,
        body=json.dumps(body),
        first_number=number,
        frames=sse.named_event("response.failed", event).decode(),
    )


def _next_number(response_id: uuid.UUID, alias: str) -> int:
    last = StoredFrames.objects.using(alias).filter(response=response_id).order_by("-first_number").first()
    return last.first_number + last.frames.count("\n\n") if last else 0
