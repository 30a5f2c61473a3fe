"""``make bench-compare REV=…``: two revisions of the code, measured alternately by the same benches.

The bench and the machine are those of today; only what is measured changes: the other revision's packages are checked
out beside this one's tests.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.e2e.gateway import ROOT

PACKAGES = ("gateway_project", "completions", "responses", "manage.py", "pyproject.toml")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="what to compare with: a commit, a branch, a tag")
    parser.add_argument("--bench", default="costs")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few requests only, to see that it runs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gateway-compare-"))
    try:
        other = _checked_out(options.revision, folder)
        found: tuple[list[dict[str, float]], ...] = ([], [])
        for turn in range(options.times):
            for tree, series in zip((other, ROOT), found, strict=True):
                series.append(_measure(tree, options.bench, quick=options.quick))
            print(f"{turn + 1} of {options.times}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
    print("\n".join(table(options.revision, *found)))


def _checked_out(revision: str, folder: Path) -> Path:
    """A tree of that revision's packages and today's tests."""
    there = subprocess.run(
        ["git", "archive", revision, "--", *PACKAGES], cwd=ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=there, check=True)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    return folder


def _measure(tree: Path, bench: str, *, quick: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench", bench, "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"in {tree}:\n{done.stderr}")
    return dict(_leaves(json.loads(done.stdout)[bench], ()))


def _leaves(found: Any, path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Each number, and the way to it."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield from _leaves(value, (*path, name))
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield " ".join(path), float(found)


def table(revision: str, other: list[dict[str, float]], ours: list[dict[str, float]]) -> list[str]:
    """For each figure the medians, and how far the runs of one revision are apart."""
    names = [name for name in ours[0] if all(name in one for one in (*other, *ours))]
    width = max(len(name) for name in names)
    lines = [f"{'':{width}}  {revision[:12]:>14}  {'here':>14}   here / there   spread"]
    for name in names:
        then, now = ([one[name] for one in series] for series in (other, ours))
        ratio = f"{median(now) / median(then):.2f}" if median(then) else "-"
        spread = max((max(series) - min(series)) / median(series) if median(series) else 0 for series in (then, now))
        lines.append(f"{name:{width}}  {median(then):>14.2f}  {median(now):>14.2f}   {ratio:>12}   {spread:.0%}")
    return lines


if __name__ == "__main__":
    main()
