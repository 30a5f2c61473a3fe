"""The benchmarks run, and lose nothing. How long what takes is nobody's promise here."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.gateway import ROOT

pytestmark = pytest.mark.e2e


def bench(name: str) -> Any:
    command = [sys.executable, "-m", "tests.bench", name, "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[name]


def test_costs() -> None:
    results = bench("costs")
    for name in ("json", "long", "stream", "paced"):
        assert results[name]["gateway_cpu_us"] > 0
    assert results["first_chunk"]["gateway_p50_ms"] > 0


def test_no_abort_is_lost_on_the_way_to_the_upstream() -> None:
    results = bench("abort")
    series = [*results["gateway"].values(), *results["floor"].values(), results["busy"]]
    assert len(series) == 11
    assert {(one["trials"] > 0, one["lost"]) for one in series} == {(True, 0)}
    assert (results["recorded"], results["recorded_otherwise"]) == (results["asked"], {})


def test_a_crowd_that_leaves_at_once_is_recorded_one_by_one() -> None:
    results = bench("crowd")
    assert results["streams"] == results["upstream_requests"] == results["upstream_closed"] == results["recorded"] > 0
    assert (results["recorded_otherwise"], results["notes"]) == ({}, 0)


def test_readers_that_never_read_are_stopped_when_they_go() -> None:
    results = bench("readers")
    assert len(results["bytes_each"]) == 4
    assert (results["recorded"], results["recorded_otherwise"]) == (results["asked"], {})


def test_throughput() -> None:
    results = bench("throughput")
    assert set(results["json"]) == {"1", "16", "64", "256"}
    for row in (*results["json"].values(), results["stream"]):
        assert set(row) == {"floor", "upstream", "gateway"}
    assert results["stream"]["gateway"]["chunks_per_second"] > 0
    assert set(results["paced"]) == {"upstream", "gateway"}


def test_memory_of_silent_streams() -> None:
    results = bench("memory")
    assert set(results["steps"]) == {"0", "20", "50"}
    assert results["ended"] == {"aborted/client_disconnect/stopped": 50, "completed//": 80}


def test_a_burst_of_ends_is_written_whole() -> None:
    results = bench("writing")
    assert results["runs"] == results["ended"] == 600
    assert results["runs_per_second"] > 0


def test_processes_beside_each_other() -> None:
    results = bench("processes")
    assert set(results["processes"]) == {"1", "2"}


def test_start() -> None:
    assert bench("start")["gateway"] > 0


def test_two_revisions_are_measured_by_the_same_bench() -> None:
    command = [sys.executable, "-m", "tests.bench.compare", "HEAD", "--bench", "start", "--times", "1", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["floor", "gateway"]
