"""Sample runs, one of each kind, and the people who look at them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.runs.labels import labels_of
from gateway_project.runs.models import Run, RunLabel, RunNote
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, Endpoint, NoteKind, RunStatus

MakeRun = Callable[..., Run]
MakeUser = Callable[..., Client]


def ms(count: float) -> timedelta:
    """So many milliseconds."""
    return timedelta(milliseconds=count)


def completed(received_at: datetime) -> dict[str, Any]:
    """The fields of a run that went well: started after 2 ms, first output after 100, over after 1200."""
    return {
        "status": RunStatus.COMPLETED,
        "endpoint": Endpoint.CHAT_COMPLETIONS,
        "agent": "scripted",
        "model": "count-3",
        "requested_model": "scripted/count-3",
        "principal_kind": "api_key",
        "principal_id": "1",
        "principal_label": "shop",
        "received_at": received_at,
        "started_at": received_at + ms(2),
        "first_output_at": received_at + ms(100),
        "settled_at": received_at + ms(1200),
        "finished_at": received_at + ms(1200),
        "delivered": True,
        "http_status": 200,
        "finish_reason": "stop",
        "input_tokens": 12,
        "output_tokens": 3,
        "usage_source": "reported",
    }


def aborted(received_at: datetime) -> dict[str, Any]:
    """The client left after 500 ms and the agent stopped 0.4 ms later."""
    return completed(received_at) | {
        "status": RunStatus.ABORTED,
        "abort_requested_at": received_at + ms(500),
        "settled_at": received_at + ms(500.4),
        "finished_at": received_at + ms(501),
        "abort_cause": AbortCause.CLIENT_DISCONNECT,
        "abort_phase": AbortPhase.STREAMING,
        "abort_outcome": AbortOutcome.STOPPED,
        "delivered": False,
        "finish_reason": "",
        "usage_source": "estimated",
    }


def unresponsive(received_at: datetime) -> dict[str, Any]:
    """The agent was still alive half a second after it was told to stop."""
    return aborted(received_at) | {
        "settled_at": None,
        "finished_at": received_at + ms(1000),
        "abort_outcome": AbortOutcome.UNRESPONSIVE,
    }


def failed(received_at: datetime) -> dict[str, Any]:
    """The agent raised."""
    return completed(received_at) | {
        "status": RunStatus.FAILED,
        "finish_reason": "",
        "error_code": "upstream_down",
        "error_type": "server_error",
        "error_message": "The upstream is down.",
        "http_status": 502,
    }


def rejected(received_at: datetime) -> dict[str, Any]:
    """Refused before any agent was started."""
    return {
        "status": RunStatus.REJECTED,
        "endpoint": Endpoint.RESPONSES,
        "requested_model": "nobody",
        "principal_label": "shop",
        "received_at": received_at,
        "finished_at": received_at + ms(1),
        "http_status": 404,
        "error_code": "model_not_found",
        "error_message": "There is no model 'nobody'.",
    }


def running(received_at: datetime) -> dict[str, Any]:
    """Under way: the row holds only what was known at the start."""
    return {
        "status": RunStatus.RUNNING,
        "endpoint": Endpoint.RESPONSES,
        "agent": "scripted",
        "model": "slow-100x100ms",
        "requested_model": "scripted/slow-100x100ms",
        "streaming": True,
        "principal_label": "night-batch",
        "received_at": received_at,
        "started_at": received_at + ms(2),
    }


KINDS = {kind.__name__: kind for kind in (completed, aborted, unresponsive, failed, rejected, running)}


@pytest.fixture
def make_run(db: None) -> MakeRun:
    """Make a run of a kind, with other values for some fields."""

    def make(kind: str = "completed", *, ago: float = 60, **fields: Any) -> Run:
        received_at = clock.now() - timedelta(seconds=ago)
        run = Run.objects.create(**KINDS[kind](received_at) | fields)
        RunLabel.objects.bulk_create(
            RunLabel(run=run, name=name, value=value) for name, value in labels_of(run.parameters)
        )
        return run

    return make


@pytest.fixture
def one_of_each(make_run: MakeRun) -> dict[str, Run]:
    """A run of each kind; the unresponsive one has ended late."""
    runs = {kind: make_run(kind, ago=60 * (index + 1)) for index, kind in enumerate(KINDS)}
    late = runs["unresponsive"]
    assert late.abort_requested_at is not None
    at = late.abort_requested_at + ms(8000)
    RunNote.objects.create(run=late, at=at, kind=NoteKind.LATE_END, text="the agent ended after its grace period")
    return runs


@pytest.fixture
def as_user(db: None) -> MakeUser:
    """A client logged in as a member of the staff with these permissions only."""

    def log_in(*codenames: str, name: str = "nina") -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        assert user.user_permissions.count() == len(codenames)
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def operator(db: None) -> Client:
    """A client with a key that may operate, whose use was noted just now."""
    key, text = APIKey.objects.create_key("ops", operate=True)
    APIKey.objects.filter(pk=key.pk).update(last_used_at=clock.now())
    return Client(headers={"Authorization": f"Bearer {text}"})
