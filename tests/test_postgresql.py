"""What holds on SQLite holds on PostgreSQL: the same tests, in a database of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import POSTGRES_URL

_TESTS = Path(__file__).parent
_FILES = (
    "responses/test_reading.py",
    "responses/test_store.py",
    "responses/test_turns_back.py",
    "review/test_unstorable.py",
    "runs/alerts/test_courier.py",
    "runs/alerts/test_outbox.py",
    "runs/retention/test_race.py",
    "runs/retention/test_removal.py",
    "runs/seals/test_canonical.py",
    "runs/seals/test_chain.py",
    "runs/seals/test_content.py",
    "runs/seals/test_manipulations.py",
    "runs/seals/test_triggers.py",
    "runs/test_begin_at_once.py",
    "runs/test_bulk.py",
    "runs/test_close.py",
    "runs/test_isolation.py",
    "runs/test_lease.py",
    "runs/test_run_queryset.py",
)


@pytest.mark.needs("postgres")
def test_the_same_on_postgresql() -> None:
    name = f"gateway_same_{os.getpid()}"  # Django makes a test database of that name, and drops it.
    url = f"{POSTGRES_URL.rpartition('/')[0]}/{name}"
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "--no-cov", *(str(_TESTS / file) for file in _FILES)],
        env={**os.environ, "DATABASE_URL": url},
        cwd=_TESTS.parent,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
