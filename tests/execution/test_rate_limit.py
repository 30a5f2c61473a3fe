"""How often what a principal has spent is counted, and what becomes of who has spent too much."""

import pytest

from gateway_project.agents.errors import AgentError
from gateway_project.conf import LimitSettings
from gateway_project.execution import rate_limit
from gateway_project.execution.rate_limit import RateLimit
from gateway_project.runs.rates import Spent
from tests.runs.records import make_record


class Records:
    """What a principal has spent, and how often it was counted."""

    def __init__(self, runs: int, tokens: int = 0) -> None:
        self.runs = runs
        self.tokens = tokens
        self.counts = 0

    async def count(self) -> Spent:
        self.counts += 1
        return Spent(self.runs, self.tokens, 7.0)


async def pass_runs(limit: RateLimit, records: Records, number: int) -> None:
    for _ in range(number):
        await limit.check(make_record(), records.count)
        records.runs += 1


@pytest.mark.parametrize("limits", [LimitSettings(RUNS_PER_MINUTE=100), LimitSettings(TOKENS_PER_MINUTE=5000)])
async def test_who_has_spent_too_much_is_refused(limits: LimitSettings) -> None:
    with pytest.raises(AgentError, match="Rate limit reached") as caught:
        await RateLimit(limits).check(make_record(), Records(100, tokens=5000).count)
    assert (caught.value.status, caught.value.retry_after) == (429, 7.0)


async def test_few_runs_are_counted_each_time() -> None:
    records = Records(0)
    with pytest.raises(AgentError):
        await pass_runs(RateLimit(LimitSettings(RUNS_PER_MINUTE=20)), records, 100)
    assert (records.runs, records.counts) == (20, 21)


@pytest.mark.parametrize("limits", [LimitSettings(RUNS_PER_MINUTE=10_000), LimitSettings(TOKENS_PER_MINUTE=1_000_000)])
async def test_many_runs_are_not_counted_for_each_run(limits: LimitSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(5000, tokens=500_000)
    limit = RateLimit(limits)
    await pass_runs(limit, records, 1000)
    assert records.counts == 1
    monkeypatch.setattr(rate_limit, "_FRESH_SECONDS", 0)
    await pass_runs(limit, records, 1)
    assert records.counts == 2


async def test_near_the_limit_they_are() -> None:
    records = Records(5000)
    with pytest.raises(AgentError):
        await pass_runs(RateLimit(LimitSettings(RUNS_PER_MINUTE=5010)), records, 100)
    assert records.runs == 5010
    records = Records(4000)
    with pytest.raises(AgentError):
        await pass_runs(RateLimit(LimitSettings(RUNS_PER_MINUTE=5000)), records, 2000)
    assert records.runs == 5000


async def test_one_principal_does_not_use_the_count_of_another() -> None:
    limit = RateLimit(LimitSettings(RUNS_PER_MINUTE=10_000))
    await limit.check(make_record(principal_id="1"), Records(5000).count)
    with pytest.raises(AgentError):
        await limit.check(make_record(principal_id="2"), Records(10_000).count)
