"""The agent `scripted`: it does what its model's name says."""

from gateway_project.agents.scripted.agent import ScriptedAgent

__all__ = ["ScriptedAgent"]
