"""Pages that keep themselves fresh while something is open, and rest otherwise."""

import re

import pytest
from playwright.sync_api import Page, Request, Response, expect

from gateway_project import clock
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, RunStatus
from tests.review.browser.conftest import PATIENCE_MS, Open
from tests.review.conftest import MakeRun, ms

pytestmark = [pytest.mark.needs("chromium")]

LIST = "/admin/gateway_runs/run/"
OVERVIEW = "/admin/gateway_runs/overview/"
QUIET_MS = 5_000
"""More than twice the time between two questions."""


def end(run: Run) -> None:
    """The agent stopped; nobody tells the page."""
    now = clock.now()
    Run.objects.filter(pk=run.pk).update(
        status=RunStatus.ABORTED,
        abort_cause=AbortCause.OPERATOR_CANCELLED,
        abort_phase=AbortPhase.STREAMING,
        abort_outcome=AbortOutcome.STOPPED,
        abort_requested_at=now - ms(40),
        settled_at=now,
        finished_at=now,
    )


def answers(page: Page) -> list[int]:
    """The status of each answer to the page's own questions, as they come."""
    seen: list[int] = []

    def note(response: Response) -> None:
        if response.request.resource_type == "fetch":
            seen.append(response.status)

    page.on("response", note)
    return seen


def unanswered(page: Page) -> set[Request]:
    """The page's own questions that are under way."""
    asked: set[Request] = set()
    page.on("request", lambda request: asked.add(request) if request.resource_type == "fetch" else None)
    page.on("requestfinished", lambda request: asked.discard(request))
    page.on("requestfailed", lambda request: asked.discard(request))
    return asked


def wait_for(page: Page, seen: list[int], status: int) -> None:
    """Until such an answer came."""
    waited = 0
    while status not in seen:
        assert waited < PATIENCE_MS, seen
        page.wait_for_timeout(100)
        waited += 100


def test_a_running_run_tells_its_end_by_itself_and_then_rests(open_page: Open, make_run: MakeRun) -> None:
    run = make_run("running", ago=5)
    page = open_page(f"{LIST}{run.pk}/change/")
    seen = answers(page)
    expect(page.locator(".gw-cancel")).to_be_visible()
    wait_for(page, seen, 304)
    end(run)
    expect(page.locator(".gw-badges")).to_contain_text("Stopped")
    expect(page.get_by_role("status").first).to_contain_text("the agent stopped")
    expect(page.locator(".gw-cancel")).to_have_count(0)
    expect(page.get_by_role("heading", name="Delivery")).to_be_visible()
    seen.clear()
    page.wait_for_timeout(QUIET_MS)
    assert seen == []


def test_a_run_that_has_ended_never_asks(open_page: Open, make_run: MakeRun) -> None:
    page = open_page(f"{LIST}{make_run().pk}/change/")
    seen = answers(page)
    page.wait_for_timeout(QUIET_MS)
    assert seen == []


def test_how_long_a_run_has_been_running_goes_on(open_page: Open, make_run: MakeRun) -> None:
    page = open_page(f"{LIST}{make_run('running', ago=100).pk}/change/")
    since = page.locator(".gw-total [data-gw-since]")
    for _ in range(2):
        shown = since.inner_text()
        expect(since).not_to_have_text(shown)
        expect(since).to_have_text(re.compile(r"[1-9] min \d\d s"))


def test_the_running_runs_come_and_go_but_not_under_a_tick(open_page: Open, make_run: MakeRun) -> None:
    first = make_run("running", ago=5)
    page = open_page(f"{LIST}?question=running")
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    second = make_run("running", ago=1)
    expect(rows).to_have_count(2)
    expect(page.locator("#gw-voice")).to_have_text("2 runs open")
    rows.last.locator("input.action-select").check()
    end(second)
    page.wait_for_timeout(QUIET_MS)
    expect(rows).to_have_count(2)
    expect(rows.last.locator("input.action-select")).to_be_checked()
    rows.last.locator("input.action-select").uncheck()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text(f"{first.received_at:%H:%M:%S}")


def test_rows_that_came_by_themselves_are_ticked_and_counted_as_all_others(open_page: Open, make_run: MakeRun) -> None:
    make_run("running", ago=5)
    page = open_page(f"{LIST}?question=running")
    make_run("running", ago=1)
    boxes = page.locator("#result_list tbody input.action-select")
    expect(boxes).to_have_count(2)
    page.locator("#action-toggle").click()
    expect(boxes.first).to_be_checked()
    expect(boxes.last).to_be_checked()
    expect(page.locator(".action-counter")).to_have_text("2 of 2 selected")
    boxes.first.click()
    expect(page.locator(".action-counter")).to_have_text("1 of 2 selected")


def test_a_hidden_page_rests_and_asks_at_once_when_it_is_seen_again(open_page: Open, make_run: MakeRun) -> None:
    run = make_run("running", ago=5)
    page = open_page(f"{LIST}{run.pk}/change/")
    seen, open_questions = answers(page), unanswered(page)
    wait_for(page, seen, 200)
    hide = "hidden => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange'))}"
    page.evaluate(hide, True)
    while open_questions:  # What was under way comes back.
        page.wait_for_timeout(50)
    seen.clear()
    end(run)
    page.wait_for_timeout(QUIET_MS)
    assert seen == []
    page.evaluate(hide, False)
    expect(page.locator(".gw-badges")).to_contain_text("Stopped")


def test_the_overview_keeps_the_running_runs_fresh_and_opened_tables_open(open_page: Open, make_run: MakeRun) -> None:
    make_run("completed")
    run = make_run("running", ago=5)
    page = open_page(OVERVIEW)
    expect(page.locator("#gw-now-heading")).to_have_text("Running now: 1")
    page.locator("#gw-time-table summary").click()
    end(run)
    expect(page.locator("#gw-now-heading")).to_have_text("Running now: 0")
    expect(page.locator("#gw-time-table")).to_have_attribute("open", "")


def test_focus_stays_where_it_was(open_page: Open, make_run: MakeRun) -> None:
    make_run("completed")
    run = make_run("running", ago=5)
    kept = make_run("running", ago=8)
    page = open_page(OVERVIEW)
    page.locator(f'#gw-now a[href*="{kept.pk}"]').focus()
    end(run)
    expect(page.locator("#gw-now-heading")).to_have_text("Running now: 1")
    expect(page.locator(f'#gw-now a[href*="{kept.pk}"]')).to_be_focused()
