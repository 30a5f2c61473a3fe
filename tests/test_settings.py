"""The project's own settings: nobody serves with the public constant that stands for a missing SECRET_KEY."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway_project.settings import _database
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


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgres://u@one/db", "one", ""),
        ("postgres://u:p%40@one:6432/db", "one", "6432"),
        ("postgres://u@one:5432,two:5433/db?target_session_attrs=read-write", "one,two", "5432,5433"),
        ("postgres://u@one,two/db", "one,two", ""),
        ("postgres://u@[::1]:5432,two:5432/db", "::1,two", "5432,5432"),
        ("postgres://u@%2Frun%2Fpostgresql/db", "/run/postgresql", ""),
        ("postgres:///db", "", ""),
    ],
)
def test_the_hosts_of_a_postgresql(url: str, host: str, port: str) -> None:
    found = _database(url)
    assert (found["HOST"], found["PORT"], found["NAME"]) == (host, port, "db")


def test_a_database_host_that_vanishes_is_noticed_soon_unless_one_says_otherwise() -> None:
    options = _database("postgres://u@one/db?tcp_user_timeout=9000&sslmode=require")["OPTIONS"]
    assert (options["tcp_user_timeout"], options["sslmode"]) == ("9000", "require")
    assert int(options["keepalives_idle"]) + int(options["keepalives_interval"]) * int(options["keepalives_count"]) < 15
