"""What did not run is said, however the tests were started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.gateway import ROOT

NEEDY = """
import pytest

@pytest.mark.needs("postgres")
@pytest.mark.parametrize("n", range(3))
def test_it(n):
    raise AssertionError

@pytest.mark.skip(reason="for another reason")
def test_other():
    pass
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_did_not_run_for_want_of_a_service_is_said(tmp_path: Path, workers: str) -> None:
    needy = tmp_path / "test_needy.py"
    needy.write_text(NEEDY)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    env = os.environ | {"GATEWAY_TEST_POSTGRES": "postgres://nobody@127.0.0.1:1/none", "GATEWAY_REQUIRE": ""}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--numprocesses", workers, str(needy)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    summary = done.stdout.partition("NOT RUN for want of a service")[2]
    assert "3 tests: no PostgreSQL at 127.0.0.1" in summary
    assert "another reason" not in summary.partition("\n=")[0]
