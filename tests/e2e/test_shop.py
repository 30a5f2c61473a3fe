"""An existing shop adopts the gateway: the built wheel, its own user model, views and WebSocket route."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.abort.test_records import assert_aborted, open_run
from tests.e2e.gateway import ROOT, Gateway, Store, base_env
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed beside a `responses` that is the mocking library's stand-in."""
    folder = tmp_path_factory.mktemp("installed")
    built = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built), cwd=ROOT)
    [wheel] = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel), cwd=folder)
    (folder / "responses").mkdir()
    (folder / "responses" / "__init__.py").write_text("def activate(function): return function\n")
    return folder


@pytest.fixture(scope="session")
def shop(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The shop under daphne."""
    folder = tmp_path_factory.mktemp("shop")
    project = folder / "project"
    shutil.copytree(ROOT / "tests" / "shop", project)
    store = Store("sqlite", folder)
    environment = {
        "PYTHONPATH": str(installed),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "SHOP_DATABASE": str(store.path),
    }
    env = base_env() | environment
    run(sys.executable, "manage.py", "migrate", "--verbosity", "0", cwd=project, env=env)
    run(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", cwd=project, env=env)
    run(sys.executable, "manage.py", "check", "--fail-level", "WARNING", cwd=project, env=env)
    store.key = run(sys.executable, "manage.py", "createkey", "shop key", cwd=project, env=env).splitlines()[-1]
    server = Gateway(store, {}, folder, "shop.asgi:application", environment=environment, cwd=project).start()
    yield server
    server.stop()


def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run(command, cwd=cwd, env=env or dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_named_responses_is_installed(installed: Path) -> None:
    found = {path.name for path in installed.iterdir()}
    assert "completions" not in found
    assert (installed / "gateway_project" / "completions" / "consumer.py").exists()
    assert (installed / "gateway_project" / "responses" / "consumer.py").exists()
    assert not (installed / "responses" / "consumer.py").exists()


def test_the_shops_own_function_answers(shop: Gateway, route: Route, stream: bool) -> None:
    body = route.body("gpt-4o", stream=stream, prompt="hello")
    reply = ask(shop.port, "POST", route.path, key=shop.key, body=body)
    assert reply.status == 200
    text = route.streamed_text(reply.events) if stream else route.text(reply.json)
    assert text == "You asked: hello … 0 … 1"
    row = shop.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["agent"], row["requested_model"]) == ("completed", "support", "gpt-4o")


def test_a_client_that_leaves_the_shop_stops_its_function(shop: Gateway, route: Route, stream: bool) -> None:
    seen = {row["id"] for row in shop.store.runs()}
    client = Client(shop.port)
    client.send("POST", route.path, key=shop.key, body=route.body("support", stream=stream, prompt="slowly"))
    if stream:
        client.read_until("… 1".encode())
    run_ = open_run(shop, seen)
    client.leave("fin")
    row = shop.store.ended(run_["id"])
    if row["first_output_at"] is not None:
        assert_aborted(row, "streaming")
    else:
        assert_aborted(row, "before_output")


def test_the_shops_own_routes_are_as_they_were(shop: Gateway) -> None:
    home = Client(shop.port)
    home.send("GET", "/", key=None)
    assert home.read_reply().body == b"Welcome to the shop."
    assert ask(shop.port, "GET", "/admin/login/", key=None).status == 200


def test_the_shops_own_websocket_still_speaks(shop: Gateway) -> None:
    client = Client(shop.port)
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
    }
    client.send("GET", "/ws/echo", key=None, headers=upgrade)
    assert client.read_head().status == 101
    # A masked text frame (RFC 6455, section 5.2); a mask of zeros changes nothing.
    client.socket.sendall(b"\x81\x82\x00\x00\x00\x00hi")
    assert client.read_until(b"hi").endswith(b"shop says hi")


@pytest.mark.parametrize("path", ["shop/settings.py", "shop/asgi.py", "shop/agents.py"])
def test_the_readme_shows_what_the_shop_did(path: str) -> None:
    text = (ROOT / "tests" / "shop" / path).read_text()
    added = text.split("# gateway\n")[1].split("# gateway end")[0] if "# gateway\n" in text else text
    shown = "\n".join(line.removesuffix("  # noqa: E402") for line in added.strip().splitlines())
    assert shown in README
