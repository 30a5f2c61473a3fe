"""The status of an agent's error is one of HTTP's errors."""

from typing import Any

import pytest

from gateway_project.agents.errors import AgentError, UnsupportedRequest


@pytest.mark.parametrize(
    ("status", "told"),
    [(None, 500), (400, 400), (429, 429), (599, 599), (200, 500), (299, 500), (99999, 500), (0, 500)],
)
def test_a_status_that_is_no_errors_is_500(status: Any, told: int) -> None:
    assert AgentError("x", status=status).status == told


def test_a_kind_of_error_has_its_own() -> None:
    assert UnsupportedRequest("x").status == 400
