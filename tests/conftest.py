"""What all tests share: services that may be missing, and the report of what did not run."""

from collections import Counter
from collections.abc import Iterator

import pytest
from django.core.signals import setting_changed
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import services

# How long an example takes says something of the machine only.
hypothesis_settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any machine")

_MISSING = "service missing: "
"""How the reason of such a skip begins: only the report of a test comes back from a worker of pytest-xdist."""


_LONG = (
    "tests/test_postgresql.py",
    "tests/test_bench.py",
    "tests/chaos/",
    "tests/soak/",
    "tests/execution/test_state_machine.py",
    "tests/review/browser/",
    "tests/e2e/retention/",
    "tests/e2e/abort/",
)
"""Few tests that take long: they begin first, so that nobody waits for them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the long ones to the front; with ``--no-loadscope-reorder`` pytest-xdist keeps that order."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose service is missing, or fail it where the service is required."""
    for marker in item.iter_markers("needs"):
        for service in marker.args:
            reason = services.missing(service)
            if reason is None:
                continue
            if service in services.required():
                pytest.fail(f"{service} is required here, but {reason}", pytrace=False)
            pytest.skip(f"{_MISSING}{reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what did not run for want of a service."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    not_run = Counter(reason.partition(_MISSING)[2] for reason in reasons if _MISSING in reason)
    if not_run:
        terminalreporter.section("NOT RUN for want of a service", red=True, bold=True)
        for reason, count in not_run.items():
            terminalreporter.line(f"{count} tests: {reason}")


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    """No test sees what another one's settings left in a cache."""
    yield
    setting_changed.send(sender=None, setting="GATEWAY", value=None, enter=False)
