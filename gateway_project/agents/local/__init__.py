"""The agent `local`: a small language model inside this process, no network."""

from gateway_project.agents.local.agent import LocalAgent

__all__ = ["LocalAgent"]
