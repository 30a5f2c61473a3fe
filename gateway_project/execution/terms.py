"""What a run is granted: its times, and what its client's leaving means for it."""

from dataclasses import dataclass, field
from typing import Self

from gateway_project.conf import AgentSettings, GatewaySettings, OnDisconnect
from gateway_project.input_settings import InputSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of one run. Times in seconds."""

    grace_seconds: float
    """How long the agent may take to stop."""
    timeout_seconds: float
    """How long the whole run may take, waiting included."""
    queue_seconds: float
    """How long it may wait for its place."""
    first_output_seconds: float | None = None
    """How long the agent may take to its first output."""
    on_disconnect: OnDisconnect = "cancel"
    inputs: InputSettings = field(default_factory=InputSettings)

    @classmethod
    def of(cls, settings: GatewaySettings, agent: AgentSettings) -> Self:
        """Those of an agent: its own, else the gateway's."""
        own_grace, own_timeout = agent.GRACE_SECONDS, agent.TIMEOUT_SECONDS
        return cls(
            grace_seconds=settings.GRACE_SECONDS if own_grace is None else own_grace,
            timeout_seconds=settings.TIMEOUT_SECONDS if own_timeout is None else own_timeout,
            queue_seconds=settings.LIMITS.QUEUE_SECONDS,
            first_output_seconds=agent.FIRST_OUTPUT_SECONDS,
            on_disconnect=agent.on_disconnect,
            inputs=settings.INPUTS,
        )
