"""Responses in the background: what a run needs goes into the database, then its id is handed over."""

import asyncio
import json
import uuid
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.access.principal import Principal
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.agents.events import Usage
from gateway_project.agents.registry import registry
from gateway_project.execution.account import fill_error
from gateway_project.execution.background import background_backend
from gateway_project.execution.outlet import Failed
from gateway_project.execution.supervisor import Supervisor, current_supervisor
from gateway_project.runs.journal import CloseRun, InsertRun, JournalUnavailable, Query
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import RunStatus
from gateway_project.transport.errors import DatabaseAway

from .context import recall
from .encoder import ResponseStreamEncoder
from .keeper import StreamKeeper
from .models import StoredResponse
from .outlet import KeptOutlet
from .resource import ResponseResource
from .schema import ResponseRequest
from .store import ResponseRecord, StoreResponse


async def hand_over(run: RunRecord, response: ResponseRecord) -> None:
    """Make a checked request durable, and have it run.

    Args:
        run: with the agent and model that are to answer.
        response: with the request's body.

    Raises:
        AgentError: when it cannot be taken; then nothing is left but, at most, a run that failed.
        DatabaseAway: when it cannot be made durable.
    """
    backend = background_backend()
    backend.check_room(run)
    supervisor = current_supervisor()
    run.status, run.background, run.worker = RunStatus.QUEUED, True, supervisor.worker
    try:
        # Together, so that they share a commit. In this order: a response never stands without its run.
        await asyncio.gather(supervisor.write(InsertRun(replace(run))), supervisor.write(StoreResponse(response)))
        await backend.submit(run)
    except AgentError:
        raise  # Whoever was to start it has closed it.
    except (JournalUnavailable, DatabaseError):  # away, or it refuses what the journal has logged
        _close(supervisor, run, DatabaseAway())
        raise DatabaseAway from None
    except BaseException:
        _close(supervisor, run, AgentMisbehaved("The response could not be handed over."))
        raise


async def start(run_id: uuid.UUID) -> None:
    """Start the run of a response in this process. The starter of the endpoint.

    Raises:
        AgentError: when there is no place for it.
    """
    supervisor = current_supervisor()
    loaded = await supervisor.write(Query(partial(_load, run_id)))
    assert isinstance(loaded, _Loaded)
    run = loaded.run
    payload: dict[str, Any] = json.loads(loaded.response.request)
    request = ResponseRequest.parse(payload)
    encoder = ResponseStreamEncoder(ResponseResource(request, run_id, int(run.received_at.timestamp()), stored=True))
    outlet = KeptOutlet(encoder, StreamKeeper(supervisor, encoder.builder, run_id))
    principal = Principal(run.principal_kind, run.principal_id, run.principal_label)
    try:
        context = await recall(request, payload, run_id=run_id, model=run.model, principal=principal)
        asked = request.agent_request(context)
        supervisor.start(run, asked, registry().agents[run.agent], outlet, recorded=True)
    except AgentError as error:
        await _give_up(supervisor, run, outlet, error)
        raise


async def _give_up(supervisor: Supervisor, run: RunRecord, outlet: KeptOutlet, error: AgentError) -> None:
    await outlet.end(Failed(error, Usage(0, 0, source="estimated")))
    supervisor.submit(CloseRun(_failed(run, error)))


def _close(supervisor: Supervisor, run: RunRecord, error: AgentError) -> None:
    """End a run that nobody has, whatever of it is written: its worker lives, so that no sweeper would."""
    supervisor.submit(InsertRun(replace(run)))
    supervisor.submit(CloseRun(_failed(run, error)))


def _failed(run: RunRecord, error: AgentError) -> RunRecord:
    failed = replace(run, status=RunStatus.FAILED, finished_at=clock.now(), http_status=error.status)
    fill_error(failed, error)
    return failed


class _Loaded(NamedTuple):
    run: RunRecord
    response: StoredResponse


def _load(run_id: uuid.UUID, connection: BaseDatabaseWrapper) -> _Loaded:
    run = RunRecord.of(Run.objects.using(connection.alias).get(pk=run_id))
    return _Loaded(run, StoredResponse.objects.using(connection.alias).get(pk=run_id))
