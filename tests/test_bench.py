"""The benchmark runs. What it measures is nobody's promise."""

import json
import subprocess
import sys

import pytest

from tests.e2e.gateway import ROOT

pytestmark = pytest.mark.e2e


def test_the_benchmark_runs_and_loses_no_abort() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["abort"]["recorded"] == results["abort"]["trials"] > 0
    assert results["json"]["gateway_cpu_us"] > 0
    assert results["stream"]["gateway_cpu_us"] > 0
