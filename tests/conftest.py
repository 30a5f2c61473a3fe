"""What all tests share: services that may be missing, and the report of what did not run."""

from collections.abc import Iterator

import pytest
from django.core.signals import setting_changed

from tests import services

_not_run: dict[str, int] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose service is missing, or fail it where the service is required."""
    for marker in item.iter_markers("needs"):
        for service in marker.args:
            reason = services.missing(service)
            if reason is None:
                continue
            if service in services.required():
                pytest.fail(f"{service} is required here, but {reason}", pytrace=False)
            _not_run[reason] = _not_run.get(reason, 0) + 1
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what did not run for want of a service."""
    if _not_run:
        terminalreporter.section("NOT RUN for want of a service", red=True, bold=True)
        for reason, count in _not_run.items():
            terminalreporter.line(f"{count} tests: {reason}")


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    """No test sees what another one's settings left in a cache."""
    yield
    setting_changed.send(sender=None, setting="GATEWAY", value=None, enter=False)
