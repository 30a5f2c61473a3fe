"""The columns of the run list: what ran, for whom, how it ended, did the agent really stop."""

from datetime import timedelta

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from gateway_project.admin_pages.times import NOTHING, utc_column
from gateway_project.review.admin.display import OUTCOME_TONES, STATUS_TONES, WORD_BREAK, badge, duration, milliseconds
from gateway_project.review.admin.filters import CLICKED
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortOutcome, RunStatus, UsageSource

_LONG_ID = 18


received = utc_column("received_at", "Received")


@admin.display(description="How it ended")
def ending(run: Run) -> SafeString:
    """Status and outcome as badges; below, why: cause · phase, the error, or the finish reason."""
    badges = format_html_join(" ", "{}", [(shown,) for shown in (status(run), outcome(run)) if shown])
    if run.abort_requested_at is not None:
        return two_lines(badges, _joined(run.get_abort_cause_display(), run.get_abort_phase_display()))
    if run.error_code:
        return two_lines(badges, _joined(run.error_code, f"HTTP {run.http_status}" if run.http_status else ""))
    return two_lines(badges, run.finish_reason)


@admin.display(description="What ran")
def what(run: Run) -> SafeString:
    """Agent/model, and by which endpoint it was asked."""
    name = format_html_join(format_html("/{}", WORD_BREAK), "{}", [(part,) for part in agent_and_model(run).split("/")])
    follows = thread("parent_run", run.parent_run, "continues another") if run.parent_run else ""
    return two_lines(thread("agent", run.agent, name) if name else NOTHING, _listed(endpoint(run), follows))


@admin.display(description="For whom")
def principal(run: Run) -> SafeString:
    """As it was called at the time; below, from where, and under which request id of its own."""
    where = thread("client_address", run.client_address, run.client_address)
    request_id = thread("client_request_id", run.client_request_id, _shortened(run.client_request_id))
    who = thread("principal_label", run.principal_label, run.principal_label)
    return two_lines(who or NOTHING, _listed(where, request_id))


@admin.display(description="Duration")
def took(run: Run) -> SafeString:
    """From arrival to the end, or until now; below, how long the agent took to stop."""
    latency = abort_latency(run)
    return two_lines(
        duration(run.duration) + ("…" if run.is_open else ""), "" if latency == NOTHING else f"abort {latency}"
    )


@admin.display(description="Delivered")
def answer(run: Run) -> SafeString:
    """Whether the whole answer left for the client; below, what it cost."""
    return two_lines(delivered(run), tokens(run))


RUN_COLUMNS = (received, ending, what, principal, took, answer)


# -- parts that the run's page uses too ---------------------------------------------------------------


def status(run: Run) -> SafeString:
    """The status as a badge."""
    return badge(run.get_status_display(), STATUS_TONES.get(run.status, "quiet"))


def outcome(run: Run) -> SafeString | str:
    """The abort's outcome as a badge; before there is one, that it was asked for; nothing without an abort."""
    if run.abort_requested_at is None:
        return ""
    if run.abort_outcome:
        return badge(run.get_abort_outcome_display(), OUTCOME_TONES.get(run.abort_outcome, "quiet"))
    return badge("Cancel asked" if run.is_open else "No outcome", "warn")


@admin.display(description="abort latency")
def abort_latency(run: Run) -> str:
    """From the wish to the agent's real end. An agent that was not seen to end took longer than the grace period."""
    stopping = stopping_time(run)
    if stopping is not None:
        return _ms(stopping)
    if run.abort_outcome == AbortOutcome.UNRESPONSIVE and run.abort_requested_at and run.finished_at:
        return f"> {_ms(run.finished_at - run.abort_requested_at)}"
    return NOTHING


@admin.display(description="delivered")
def delivered(run: Run) -> SafeString | str:
    """As a badge. An aborted run has no whole answer: "No" is what one expects there and alarms nobody."""
    if run.delivered is None:
        return NOTHING
    if run.delivered:
        return badge("Yes", "good")
    return badge("No", "warn" if run.status == RunStatus.COMPLETED else "quiet")


def tokens(run: Run) -> str:
    """``12 / 340 tokens``, in and out; with a tilde when they are estimated."""
    if run.input_tokens is None and run.output_tokens is None:
        return ""
    about = "~" if run.usage_source == UsageSource.ESTIMATED else ""
    counts = ("?" if count is None else f"{about}{count:,}" for count in (run.input_tokens, run.output_tokens))
    return f"{' / '.join(counts)} tokens"


@admin.display(description="endpoint")
def endpoint(run: Run) -> str:
    """By which endpoint, and whether as a stream."""
    return _joined(run.get_endpoint_display(), "streaming" if run.streaming else "")


def stopping_time(run: Run) -> timedelta | None:
    """The abort latency, if there was anything left to stop when the abort was asked."""
    latency = run.abort_latency
    return latency if latency is not None and latency >= timedelta() else None


def agent_and_model(run: Run) -> str:
    """``agent/model``, the model being what the client wrote when none was found."""
    return "/".join(filter(None, (run.agent, run.model or ("" if run.agent else run.requested_model))))


def thread_url(field: str, value: object) -> str:
    """The list of all runs that have this value."""
    return f"{reverse('admin:gateway_runs_run_changelist')}?{urlencode({CLICKED.get(field, field): str(value)})}"


def thread(field: str, value: object, shown: str) -> SafeString | str:
    """A value that leads to all runs that have it; nothing without one."""
    if not value:
        return shown
    title = f"All runs with this {Run._meta.get_field(field).verbose_name}"  # type: ignore[union-attr]  # no relation
    return format_html('<a class="gw-thread" href="{}" title="{}">{}</a>', thread_url(field, value), title, shown)


def two_lines(first: str, second: str) -> SafeString:
    """A cell's answer, and below it in small what goes with it."""
    small = format_html_join("", '<span class="gw-small">{}</span>', [(second,)] if second else [])
    return format_html('<span class="gw-main">{}</span>{}', first, small)


def _ms(span: timedelta) -> str:
    ms = milliseconds(span)
    return f"{ms:.1f} ms" if ms < 100 else f"{ms:,.0f} ms"


def _joined(*parts: str) -> str:
    return " · ".join(filter(None, parts))


def _listed(*parts: str) -> SafeString:
    return format_html_join(" · ", "{}", [(part,) for part in parts if part])


def _shortened(text: str) -> str:
    return text if len(text) <= _LONG_ID else f"{text[:_LONG_ID]}…"
