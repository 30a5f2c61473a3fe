"""The same sealed runs as the seals' own tests have."""

from tests.runs.seals.conftest import sealed

__all__ = ["sealed"]
