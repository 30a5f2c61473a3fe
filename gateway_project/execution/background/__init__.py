"""Runs that go on without a client: a small contract, and the backend that keeps them in this process.

What a run needs is in the database before it is handed over, so that its id is enough to start it anywhere.
"""

from gateway_project.execution.background.base import BackgroundBackend, Starter, background_backend, register_starter

__all__ = ["BackgroundBackend", "Starter", "background_backend", "register_starter"]
