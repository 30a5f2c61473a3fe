"""``/api/agents/``: which agents there are, within which limits, and what they are doing now."""

from collections import Counter
from typing import TypedDict

from django.db.models import Count
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.conf import AgentSettings, gateway_settings
from gateway_project.review.api.runs import VIEW
from gateway_project.review.api.shapes import Refusal, shape_of
from gateway_project.review.api.views import Operation, OperatorView, django_request
from gateway_project.review.visibility import visible_runs
from gateway_project.runs.vocabulary import RunStatus


class AgentLimitsDict(TypedDict):
    """Of each process; times in seconds. None: no limit of its own."""

    concurrent_runs: int | None
    timeout_seconds: float
    first_output_seconds: float | None
    grace_seconds: float


class AgentDict(TypedDict):
    """An agent. One that is not configured any more, but has runs under way, has neither backend nor limits."""

    name: str
    configured: bool
    backend: str | None
    on_disconnect: str | None
    running: int
    queued: int
    limits: AgentLimitsDict | None


class AgentListDict(TypedDict):
    """All agents."""

    results: list[AgentDict]


class AgentList(OperatorView):
    """The agents."""

    operations = {"GET": Operation(VIEW, {200: shape_of(AgentListDict), **dict.fromkeys((400, 401, 403), Refusal)})}

    def get(self, request: Request) -> Response:
        """Lists the agents by name, with the runs under way that you may see, those of all processes."""
        self.query()
        open_runs = visible_runs(django_request(request)).open().order_by()
        counted = open_runs.values_list("agent", "status").annotate(count=Count("pk"))
        counts = Counter({(agent, status): count for agent, status, count in counted})
        configured = gateway_settings().AGENTS
        names = sorted({*configured, *(agent for agent, _ in counts if agent)})
        return Response({"results": [_shown(name, configured.get(name), counts) for name in names]})


def _shown(name: str, agent: AgentSettings | None, counts: Counter[tuple[str, str]]) -> AgentDict:
    return {
        "name": name,
        "configured": agent is not None,
        "backend": agent.BACKEND if agent else None,
        "on_disconnect": agent.ON_DISCONNECT if agent else None,
        "running": counts[name, RunStatus.RUNNING],
        "queued": counts[name, RunStatus.QUEUED],
        "limits": _limits(agent) if agent else None,
    }


def _limits(agent: AgentSettings) -> AgentLimitsDict:
    whole = gateway_settings()
    return {
        "concurrent_runs": agent.CONCURRENT_RUNS,
        "timeout_seconds": whole.TIMEOUT_SECONDS if agent.TIMEOUT_SECONDS is None else agent.TIMEOUT_SECONDS,
        "first_output_seconds": agent.FIRST_OUTPUT_SECONDS,
        "grace_seconds": whole.GRACE_SECONDS if agent.GRACE_SECONDS is None else agent.GRACE_SECONDS,
    }
