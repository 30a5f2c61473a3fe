"""The project's own settings: nobody serves with the public constant that stands for a missing SECRET_KEY."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.gateway import ROOT, base_env

LOAD = "from gateway_project import settings; print(settings.SECRET_KEY)"


def load(*arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Load the settings in a process that was started with these arguments."""
    whole = {name: value for name, value in base_env().items() if name != "SECRET_KEY"} | env
    command = [sys.executable, "-c", LOAD, *arguments]
    return subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", ["runserver", "runserver check", "createkey test", "createkey migrate", "-p 8000 check", ""]
)
def test_without_a_secret_key_and_debug_nothing_runs(arguments: str) -> None:
    done = load(*arguments.split(), env={})
    assert done.returncode != 0
    assert "Set SECRET_KEY in the environment" in done.stderr


@pytest.mark.parametrize("command", ["check", "migrate", "makemigrations --check", "collectstatic"])
def test_commands_that_sign_nothing_go_without(command: str) -> None:
    done = load(*command.split(), env={})
    assert done.returncode == 0, done.stderr


def test_a_trial_may_serve_without_one() -> None:
    assert load("runserver", env={"DEBUG": "1"}).returncode == 0


def test_a_given_key_is_the_key() -> None:
    assert load("runserver", env={"SECRET_KEY": "given"}).stdout.strip() == "given"


def test_the_check_command_runs_without_one(tmp_path: Path) -> None:
    env = {name: value for name, value in base_env().items() if name != "SECRET_KEY"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=env | {"DATABASE_URL": f"sqlite:///{tmp_path / 'none.sqlite3'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
