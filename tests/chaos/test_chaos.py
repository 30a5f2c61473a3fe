"""A storm in which every fault comes once; ``make chaos`` is a long one."""

import random
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.storm import storm

pytestmark = [pytest.mark.e2e, pytest.mark.needs("postgres-server", "redis-server")]


def test_after_a_storm_the_books_balance(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    books = storm(tmp_path, seconds=0, seed=seed)
    assert books.is_balanced, f"seed {seed}\n{books}"
    assert books.admitted > 0
    assert books.aborts.total() > 0
    assert books.faults.total() >= FAULTS, books
