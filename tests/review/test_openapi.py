"""The OpenAPI file is the code's own, and what it promises is kept, whatever comes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase
from hypothesis import settings as bounds
from pytest_django import Settings
from schemathesis.checks import positive_data_acceptance

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.runs.models import Run
from gateway_project.runs.retention.models import LegalHold
from tests import docs, openapi
from tests.review.conftest import KINDS, MakeRun
from tests.review.test_content import keep

FILE = docs.DOCS / "api.openapi.json"
ELSEWHERE = "elsewhere"
"""Stands in every text of the runs that may not be seen."""

schema = schemathesis.openapi.from_dict(json.loads(FILE.read_text()))
schema.app = get_wsgi_application()


def test_the_file_is_the_codes_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert FILE.read_text() == openapi.text(), "run: python -m tests.docs"
    assert capsys.readouterr().err == "", "drf-spectacular warns"


@pytest.fixture
def hidden(make_run: MakeRun, settings: Settings) -> list[Run]:
    """One run of each kind that may not be seen, beside those that may."""
    settings.GATEWAY = settings.GATEWAY | {
        "RUN_VISIBILITY": "tests.review.scopes.of_the_shop",
        "API": {
            "KEY_PERMISSIONS": [
                *(
                    "gateway_runs.view_run",
                    "gateway_runs.view_content",
                    "gateway_runs.cancel_run",
                    "gateway_runs.set_legal_hold",
                ),
                *("gateway_access.view_apikey", "gateway_access.add_apikey", "gateway_access.change_apikey"),
            ]
        },
    }
    for kind in KINDS:
        keep(make_run(kind, principal_label="shop"))
    text = dict.fromkeys(("principal_label", "agent", "model", "client_request_id", "abort_reason"), ELSEWHERE)
    runs = [make_run(kind, **text) for kind in KINDS]
    for run in runs:
        keep(run, request=json.dumps({"messages": [ELSEWHERE]}))
    return runs


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """As Django's test client does: the test's transaction outlives a request."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def headers(db: None) -> dict[str, str]:
    """A key's that may do all that keys can."""
    key, text = APIKey.objects.create_key("fuzz", operate=True)
    APIKey.objects.filter(pk=key.pk).update(last_used_at=clock.now())
    return {"Authorization": f"Bearer {text}"}


@schema.parametrize()
@bounds(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_it_or_shows_a_run_that_may_not_be_seen(
    case: Any, hidden: list[Run], headers: dict[str, str]
) -> None:
    APIKey.objects.filter(name="fuzz").update(revoked_at=None)  # It may have revoked itself.
    # Not all that the file cannot rule out is right: a cursor, say, is none of the client's making.
    response: Any = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
    assert response.status_code < 500
    assert ELSEWHERE not in response.text
    if "run_id" in case.path_parameters:
        for run in hidden:
            case.path_parameters["run_id"] = str(run.pk)
            response = case.call(headers=headers)
            assert response.status_code in (400, 404, 405), response.text
            assert ELSEWHERE not in response.text
        assert not Run.objects.filter(principal_label=ELSEWHERE, abort_requested_by="API key fuzz").exists()
        assert not LegalHold.objects.filter(run__in=[run.pk for run in hidden]).exists()
