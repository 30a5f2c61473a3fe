"""No query of the API or of an export reads the table of runs from end to end (PostgreSQL)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_project.review.paging import WINDOW
from tests.e2e.gateway import ROOT, Store, base_env
from tests.review.plans import ADDRESSES

pytestmark = pytest.mark.needs("postgres")

RUNS = 30_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    store = Store("postgres", tmp_path)
    store.create()
    yield store
    store.drop()


def test_no_query_reads_the_whole_table(store: Store) -> None:
    command = [sys.executable, "-m", "tests.review.plans", str(RUNS)]
    env = base_env() | {"DATABASE_URL": store.url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(ADDRESSES)
    for one in told:
        assert one["scans"] == [], one
        assert one["queries"] <= 8, one  # four of them for the row of who looked, in its transaction
        assert one["rows"] <= WINDOW + 1, one  # the page before ends with one of them
