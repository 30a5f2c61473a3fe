"""A request for agent work on its way in, whatever it came by: checked, and recorded also when it is refused."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from gateway_project.access.authentication import header
from gateway_project.access.principal import Principal
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, UnsupportedRequest
from gateway_project.agents.registry import registry
from gateway_project.agents.request import AgentRequest
from gateway_project.conf import gateway_settings
from gateway_project.execution.content import choose_mode
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import Endpoint, RunStatus
from gateway_project.transport.caller import client_request_id, content_mode
from gateway_project.transport.errors import UnsupportedParameter
from gateway_project.transport.host import client_address
from gateway_project.transport.schema import RunContext, RunRequest


@dataclass(frozen=True, slots=True)
class Work:
    """A request that passed every check, and what came of it on the way."""

    payload: Mapping[str, Any]
    request: RunRequest
    context: RunContext
    asked: AgentRequest
    agent: Agent
    record: RunRecord


class Intake:
    """One request. It knows its sender and its body, but not how the answer will go out."""

    endpoint: ClassVar[Endpoint]
    request_model: ClassVar[type[RunRequest]]
    parameter_names: ClassVar[Mapping[str, str]] = {}
    """This endpoint's names for fields of `AgentRequest`, where they differ."""

    scope: Mapping[str, Any]
    principal: Principal | None
    run_id: uuid.UUID
    received_at: datetime
    payload: dict[str, Any]
    record: RunRecord | None

    async def context(self, request: RunRequest, model: str) -> RunContext:
        """What `request` needs besides itself."""
        assert self.principal is not None
        return RunContext(run_id=self.run_id, model=model, principal=self.principal)

    async def _take(self) -> Work:
        """Record whose request it is, hold its sender to the rates, and check it.

        Raises:
            AgentError: when it is refused.
        """
        self.record = self._record(self.payload)
        await current_supervisor().check_rate(self.record)
        return await self._checked(self.payload, self.record)

    async def _checked(self, payload: dict[str, Any], record: RunRecord) -> Work:
        """Check the request.

        Raises:
            AgentError: when it is refused.
        """
        assert self.principal is not None
        wanted = content_mode(self.scope)
        request = self.request_model.parse(payload)
        target = registry().resolve(request.model, self.principal.agents)
        record.agent, record.model = target.agent.name, target.model
        record.parameters = {**record.parameters, **request.recorded(payload)}
        choose_mode(gateway_settings(), record, key=self.principal.content, asked=wanted)
        context = await self.context(request, target.model)
        asked = request.agent_request(context)
        try:
            target.agent.check_request(asked)
        except UnsupportedRequest as error:
            name = self.parameter_names.get(error.param or "", error.param)
            raise UnsupportedParameter(error.message, param=name, record_as=error.record_as) from None
        return Work(payload, request, context, asked, target.agent, record)

    def _record_refusal(self, error: Exception) -> None:
        """A refused request leaves a row too, once it is known whose it was."""
        if self.principal is not None and isinstance(error, AgentError):
            current_supervisor().reject(self.record or self._record({}), error)

    def _record(self, payload: Mapping[str, Any]) -> RunRecord:
        assert self.principal is not None
        model = payload.get("model")
        return RunRecord(
            id=self.run_id,
            status=RunStatus.QUEUED,
            endpoint=self.endpoint,
            received_at=self.received_at,
            requested_model=model if isinstance(model, str) else "",
            streaming=payload.get("stream") is True,
            principal_kind=self.principal.kind,
            principal_id=self.principal.id,
            principal_label=self.principal.label,
            client_address=client_address(self.scope),
            user_agent=header(self.scope, b"user-agent") or "",
            client_request_id=client_request_id(self.scope),
        )
