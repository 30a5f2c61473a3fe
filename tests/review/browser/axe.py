"""axe-core on a page: what stands in the way of people who see, hear or move otherwise."""

from functools import cache
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page


@cache
def _script() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text()


def serious_faults(page: Page) -> list[str]:
    """Faults of impact `serious` or `critical`, with the first element that has each."""
    page.evaluate(_script())
    found: dict[str, Any] = page.evaluate(
        "axe.run({exclude: [['.breadcrumbs']]})"
    )  # Django's own; not underlined before 6.0
    assert found["passes"], "axe-core found nothing to look at"
    return [
        f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
