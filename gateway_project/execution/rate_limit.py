"""Holds principals to their rates, counted over all processes in the records themselves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway_project import clock
from gateway_project.agents.errors import AgentError
from gateway_project.conf import LimitSettings
from gateway_project.runs.rates import Spent
from gateway_project.runs.record import RunRecord

_MANY_RUNS = 1000
_FRESH_SECONDS = 1.0
_ROOM = 0.9


@dataclass(slots=True)
class _Counted:
    """What a principal had spent, and how many runs of it this process has let pass since."""

    spent: Spent
    at: float
    passed: int = 0


class RateLimit:
    """Whether a principal may have one more run now.

    To count takes time in proportion to the runs of the last minute. A count of many therefore serves for a second, as
    long as a tenth of each limit is left: whoever keeps to one spends a sixtieth of it in a second.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._most_runs = limits.RUNS_PER_MINUTE
        self._most_tokens = limits.TOKENS_PER_MINUTE
        self.is_set = self._most_runs is not None or self._most_tokens is not None
        self._counted: dict[tuple[str, str, str], _Counted] = {}

    async def check(self, record: RunRecord, count: Callable[[], Awaitable[Spent]]) -> None:
        """Refuse a run that is one too many.

        Args:
            count: asks the records what its principal has spent.

        Raises:
            AgentError: 429, with the time after which there is room again.
        """
        whose = (record.principal_kind, record.principal_id, record.principal_label)
        now = clock.monotonic()
        counted = self._counted.get(whose)
        if counted is not None and self._has_room(counted):
            if now - counted.at < _FRESH_SECONDS:
                counted.passed += 1
                return
            counted.at = now  # It serves the others until the new one is there.
        spent = await count()
        if spent.runs >= _MANY_RUNS:
            self._counted[whose] = _Counted(spent, now)
        else:
            self._counted.pop(whose, None)
        self._refuse_beyond(spent)

    def _has_room(self, counted: _Counted) -> bool:
        runs = counted.spent.runs + counted.passed
        tokens = counted.spent.tokens * runs / counted.spent.runs
        return all(
            most is None or used < _ROOM * most for used, most in ((runs, self._most_runs), (tokens, self._most_tokens))
        )

    def _refuse_beyond(self, spent: Spent) -> None:
        limits = (("requests", spent.runs, self._most_runs), ("tokens", spent.tokens, self._most_tokens))
        for name, used, most in limits:
            if most is not None and used >= most:
                raise AgentError(
                    f"Rate limit reached: {most} {name} a minute. Please try again later.",
                    code="rate_limit_exceeded",
                    type="rate_limit_error",
                    status=429,
                    retry_after=spent.retry_after,
                )
