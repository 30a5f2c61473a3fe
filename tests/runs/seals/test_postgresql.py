"""What holds on SQLite holds on PostgreSQL: the same tests, in a database of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import POSTGRES_URL

_HERE = Path(__file__).parent
_FILES = (
    "test_manipulations.py",
    "test_chain.py",
    "test_triggers.py",
    "test_canonical.py",
    "test_content.py",
    "../test_bulk.py",
    "../test_close.py",
    "../retention/test_removal.py",
    "../retention/test_race.py",
    "../alerts/test_outbox.py",
    "../alerts/test_courier.py",
)


@pytest.mark.needs("postgres")
def test_the_same_on_postgresql() -> None:
    name = f"gateway_seals_{os.getpid()}"  # Django makes a test database of that name, and drops it.
    url = f"{POSTGRES_URL.rpartition('/')[0]}/{name}"
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "--no-cov", *(str(_HERE / file) for file in _FILES)],
        env={**os.environ, "DATABASE_URL": url},
        cwd=_HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
