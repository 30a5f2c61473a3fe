"""The database goes away while runs run: what they were asked and answered waits with their ends, redacted already."""

from pathlib import Path

import pytest

from tests.e2e.abort.test_records import open_run
from tests.e2e.conftest import WITH_A_DATABASE_TO_CUT, MakeGateway
from tests.e2e.content.test_modes import KEPT, SECRET, answered, asked, kept
from tests.e2e.gateway import Gateway, manage, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client

pytestmark = [pytest.mark.e2e, *WITH_A_DATABASE_TO_CUT]


@pytest.fixture
def gateway(make_to_cut: MakeGateway) -> Gateway:
    return make_to_cut(**KEPT)


def _spilled(gateway: Gateway) -> str:
    return "".join(file.read_text() for file in (gateway.folder / "spill").glob("*/*.spill"))


@pytest.mark.parametrize("dies", [False, True], ids=["comes back", "process dies too"])
def test_content_waits_on_disk_with_the_end_and_without_secrets(
    gateway: Gateway, route: Route, dies: bool, tmp_path: Path
) -> None:
    client = Client(gateway.port)
    prompt = f"my key is {SECRET} please"
    body = route.body("redacted/slow-60x50ms", stream=False, prompt=prompt)
    client.send("POST", route.path, key=gateway.key, body=body)
    run = open_run(gateway, set())
    gateway.store.cut()
    assert client.read_reply().status == 200
    wait_for(lambda: "CloseRun" in _spilled(gateway), what="the end in the spill file")
    on_disk = [line for line in _spilled(gateway).splitlines() if "KeepContent" in line]
    assert len(on_disk) == 1
    assert "[redacted: API key]" in on_disk[0]
    assert SECRET not in on_disk[0]
    if dies:
        gateway.stop()
    gateway.store.restore()
    if dies:
        manage("sweepruns", env=gateway.env)  # It first writes what the dead process left on disk.
    row = kept(gateway, run["id"])
    assert asked(row) == prompt.replace(SECRET, "[redacted: API key]")
    assert (len(answered(row).split()), row["delivered_characters"]) == (60, row["answer_characters"])
    assert "Clean" in manage("verifyruns", env=gateway.env)
