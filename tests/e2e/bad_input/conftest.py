"""One server for all bad requests; which database it has makes no difference to most of them."""

from collections.abc import Iterator

import pytest

from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Templates


@pytest.fixture(scope="package")
def server(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A daphne that stays up through all of it, without an error in its log."""
    folder = tmp_path_factory.mktemp("bad-input")
    gateway = Gateway(templates("sqlite").copy(folder), CONFIG, folder).start()
    yield gateway
    assert gateway.process is not None
    assert gateway.process.poll() is None
    gateway.stop()
    failures = [line for line in gateway.log.splitlines() if "Traceback" in line or "ERROR" in line]
    assert not failures, gateway.log[-5000:]
