"""``make test``: the whole suite on this Python, and once more on the other end of the support matrix.

Needs nothing but a Python. The first corner also runs ``make lint``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORNERS = ("3.13", "3.11")
ONCE = (
    "tests/chaos",
    "tests/e2e/bad_input",
    "tests/e2e/clients",
    "tests/fuzz",
    "tests/soak",
    "tests/test_bench.py",
    "tests/e2e/platform/test_nginx.py",
    "tests/e2e/platform/test_vanished.py",
    "tests/e2e/platform/test_vanished_database.py",
    "tests/e2e/retention",
    "tests/review/browser",
)
"""What runs on the first corner only: long, and about what is the same on every Python."""


def main() -> int:
    """Run the corners that are there. Returns the exit status."""
    here = "{}.{}".format(*sys.version_info[:2])
    pythons = {here: sys.executable} | {v: path for v in CORNERS if v != here and (path := find_python(v))}
    wanted = [version for version in CORNERS if version in pythons] or [here]
    for missing in [version for version in CORNERS if version not in pythons]:
        print(f"NOT RUN: no Python {missing} was found; its corner of the support matrix is not tested here.")
    for index, version in enumerate(wanted):
        venv = ".venv" if version == here else f".venv-{version}"
        arguments = ["make", "--no-print-directory", f"PYTHON={pythons[version]}", f"VENV={venv}"]
        print(f"== Python {version} ({venv})", flush=True)
        if index == 0 and (status := run([*arguments, "lint"])):
            return status
        more = [] if index == 0 else ["MORE_ARGS=" + " ".join(f"--ignore={path}" for path in ONCE)]
        if more:
            os.environ["GATEWAY_SECOND_CORNER"] = "1"
            print(f"NOT RUN here, but on Python {wanted[0]}: {', '.join(ONCE)};", flush=True)
            print("and on SQLite what runs over a server on both databases there.", flush=True)
        if status := run([*arguments, "test-here", *more]):
            return status
    return 0


def run(command: list[str]) -> int:
    """Run a command in the repository's folder and return its exit status."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def find_python(version: str) -> str | None:
    """A Python of this version that starts: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True),
    ]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


if __name__ == "__main__":
    sys.exit(main())
