"""From a client's ``model`` to an agent: aliases, the default agent, and what a principal may use."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from django.core.signals import setting_changed
from django.dispatch import receiver

from gateway_project.agents.base import Agent
from gateway_project.agents.errors import ModelNotFound
from gateway_project.conf import GatewaySettings, gateway_settings, import_dotted

logger = logging.getLogger("gateway.agents")


@dataclass(frozen=True, slots=True)
class Target:
    """What a client's model name stands for."""

    agent: Agent
    model: str


class Registry:
    """The agents of ``GATEWAY["AGENTS"]``, each made once."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._aliases: Mapping[str, str] = settings.MODELS
        self._default = settings.DEFAULT_AGENT
        self.agents: dict[str, Agent] = {}
        for name, entry in settings.AGENTS.items():
            backend: type[Agent] = import_dotted(entry.BACKEND, f"GATEWAY['AGENTS'][{name!r}]['BACKEND']")
            self.agents[name] = backend(name, entry.OPTIONS)

    def resolve(self, name: str, allowed: frozenset[str] | None = None) -> Target:
        """Find the agent and its model for a client's `name`.

        Args:
            name: an alias, ``<agent>`` or ``<agent>/<model>``; with a default agent, any name at all.
            allowed: names of the agents that the principal may use; None for all.

        Raises:
            ModelNotFound: when there is none, or it is not allowed: the two look the same from outside.
        """
        agent_name, _, model = self._aliases.get(name, name).partition("/")
        agent = self.agents.get(agent_name)
        if agent is None and self._default is not None:
            agent, model = self.agents[self._default], name
        if agent is None or (allowed is not None and agent.name not in allowed):
            raise ModelNotFound(name)
        model = model or agent.default_model
        if not agent.has_model(model):
            raise ModelNotFound(name)
        return Target(agent, model)

    def names(self, allowed: frozenset[str] | None = None) -> Iterator[tuple[str, str]]:
        """The catalogue: each name that a client may send as ``model``, with the agent that owns it."""
        for agent in self.agents.values():
            if allowed is None or agent.name in allowed:
                yield agent.name, agent.name
                for model in agent.models():
                    yield f"{agent.name}/{model}", agent.name
        for alias, target in self._aliases.items():
            owner = target.partition("/")[0]
            if allowed is None or owner in allowed:
                yield alias, owner

    def load(self) -> None:
        """Let every agent load what takes long. Blocking; called before the server listens."""
        for agent in self.agents.values():
            agent.load()

    async def close(self, *, within: float) -> None:
        """Let every agent give back what it holds; what one raises, or takes too long for, is logged."""
        closing = {asyncio.ensure_future(agent.close()): agent.name for agent in self.agents.values()}
        if closing:
            await asyncio.wait(closing, timeout=within)
        for task, name in closing.items():
            if not task.done():
                task.cancel()
                logger.error("agent.close_timeout", extra={"agent": name})
            elif not task.cancelled() and task.exception() is not None:
                logger.error("agent.close_failed", exc_info=task.exception(), extra={"agent": name})


@cache
def registry() -> Registry:
    """The registry for the settings in force, made at the first call."""
    return Registry(gateway_settings())


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "GATEWAY":
        registry.cache_clear()
