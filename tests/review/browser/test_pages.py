"""Each page, wide and narrow, light and dark."""

from typing import Any

import pytest
from playwright.sync_api import Page

from gateway_project import clock
from gateway_project.review.access import Onlooker, record_look
from gateway_project.review.models import Accessed, AccessRecord, AccessVia
from gateway_project.runs.alerts.outbox import SIGNAL
from gateway_project.runs.models import Run, RunAlert, Verification
from gateway_project.runs.retention.holds import lift_hold, set_hold
from tests.review.browser.axe import serious_faults
from tests.review.browser.conftest import Open
from tests.review.test_content import keep

pytestmark = [pytest.mark.needs("chromium")]

LIST = "/admin/gateway_runs/run/"
OVERVIEW = "/admin/gateway_runs/overview/"
PAGES = {
    "overview": OVERVIEW + "?range=7d",
    "list": LIST,
    "running now": LIST + "?question=running",
    "a narrowed list": LIST + "?question=client-gone&since=2026-01-01&agent=scripted",
    "run": LIST + "{unresponsive}/change/",
    "running run": LIST + "{running}/change/",
    "cancel": LIST + "cancel/?run={running}",
    "content": LIST + "{aborted}/content/",
    "who looked": "/admin/gateway_review/accessrecord/",
    "set a hold": "/admin/gateway_runs/legalhold/add/?run={completed}",
    "holds": "/admin/gateway_runs/legalhold/",
    "lift a hold": "/admin/gateway_runs/legalhold/{hold}/change/",
    "waiting alerts": "/admin/gateway_runs/runalert/",
    "waiting alert": "/admin/gateway_runs/runalert/{alert}/change/",
    "look": "/admin/gateway_review/accessrecord/{look}/change/",
    "hold on a principal": "/admin/gateway_runs/legalhold/{lifted}/change/",
    "verifications": "/admin/gateway_runs/verification/",
    "verification": "/admin/gateway_runs/verification/{verification}/change/",
}


@pytest.fixture
def address(one_of_each: dict[str, Run]) -> dict[str, str]:
    """Where each page is."""
    keep(one_of_each["aborted"])
    ids: dict[str, Any] = {kind: run.pk for kind, run in one_of_each.items()}
    ids["hold"] = set_hold(run=one_of_each["failed"].pk, by="nora", reason="case 12").pk
    lifted = set_hold(
        kind="api_key", principal_id="1", by="nora", reason="case 13: all of it, until the court has decided"
    )
    lift_hold(lifted.pk, by="nora", reason="decided")
    ids["lifted"] = lifted.pk
    now = clock.now()
    event = {"run": one_of_each["failed"].pk, "event": "failed", "due_at": now, "payload": '{"type":"run.failed"}'}
    ids["alert"] = RunAlert.objects.create(target=SIGNAL, attempts=3, last_error="answered with 503", **event).pk
    looker = Onlooker(AccessVia.API, "api_key", "1", "API key ops", "192.0.2.1")
    record_look(looker, Accessed.EXPORT, asked="question=client-gone&since=2026-01-01&principal=the+night+batch")
    record_look(looker, Accessed.CONTENT, run_id=one_of_each["aborted"].pk)
    ids["look"] = AccessRecord.objects.latest("pk").pk
    found = {"breaks": {"changed row": 2}, "first_break": f"changed row: run {one_of_each['failed'].pk}"}
    ids["verification"] = Verification.objects.create(started_at=now, walked_at=now, finished_at=now, **found).pk
    return {name: template.format(**ids) for name, template in PAGES.items()}


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than its window, or a list than the room it has."""
    widths: list[int] = page.evaluate(
        "[document.documentElement, ...document.querySelectorAll('#changelist .results')]"
        ".map(part => part.scrollWidth - part.clientWidth)"
    )
    return max(widths)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_has_a_serious_fault_or_is_scrolled_sideways(
    open_page: Open, address: dict[str, str], width: int, scheme: str
) -> None:
    page = open_page("/admin/", width=width, scheme=scheme)
    base = page.url.removesuffix("/admin/")
    for name, where in address.items():
        page.goto(base + where)
        page.evaluate("for (const part of document.querySelectorAll('#content details')) part.open = true")
        assert serious_faults(page) == [], name
        assert sideways(page) == 0, name


def test_the_overview_is_reached_and_read_by_keyboard(open_page: Open, address: dict[str, str]) -> None:
    page = open_page("/admin/gateway_runs/")
    page.locator("#content-main").get_by_role("link", name="Overview").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**" + OVERVIEW)
    page.locator("#gw-time-table summary").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("table", name="Runs per hour, the latest first").is_visible()
    headings = page.locator("#content").get_by_role("heading").all_inner_texts()
    assert headings[0] == "Overview"
    assert [heading.split(":")[0].split(",")[0] for heading in headings[1:]] == [
        "Running now",
        "In short",
        "Runs per hour",
        "Aborts",
        "Abort latency",
        "What the aborts saved",
    ]


def test_from_right_to_left_the_rail_stands_beside_the_times_and_not_on_them(
    open_page: Open, address: dict[str, str], settings: Any
) -> None:
    settings.LANGUAGE_CODE = "ar"
    page = open_page(address["run"])
    left_of_rail, right_of_time = page.locator(".gw-moment").first.evaluate(
        """moment => {
            const box = moment.getBoundingClientRect();
            const rail = box.right - parseFloat(getComputedStyle(moment, "::after").right);
            return [rail - 15, moment.querySelector("time").getBoundingClientRect().right];
        }"""
    )
    assert left_of_rail > right_of_time


def test_the_charts_are_drawn_in_colours_that_differ_from_the_ground(open_page: Open, address: dict[str, str]) -> None:
    for scheme in ("light", "dark"):
        page = open_page(OVERVIEW, scheme=scheme)
        bars = page.locator("#gw-figures figure rect")
        assert bars.count() >= 4
        fills = set(bars.evaluate_all("found => found.map(bar => getComputedStyle(bar).fill)"))
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert len(fills) >= 4
        assert not fills & {ground, "none", "rgb(0, 0, 0)"}


def test_a_cell_leads_to_its_thread_and_a_time_range_narrows_it(open_page: Open, address: dict[str, str]) -> None:
    page = open_page(LIST)
    page.get_by_role("link", name="night-batch").click()
    page.wait_for_url("**?principal=night-batch")
    assert page.locator("#result_list tbody tr").count() == 1
    page.locator("summary", has_text="By time").click()
    page.get_by_label("From (UTC)").fill("2999-01-01")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**principal=night-batch**since=2999-01-01**")
    assert page.locator("#result_list tbody tr").count() == 0
