"""How values look on a page: badges, times, durations. A badge is never colour alone, its text says it all."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway_project.runs.vocabulary import AbortOutcome, RunStatus

Tone = Literal["good", "bad", "warn", "info", "quiet"]

WORD_BREAK = format_html("<wbr>{}", "")
"""Where a long name may be broken."""

STATUS_TONES: Mapping[str, Tone] = {
    RunStatus.QUEUED: "quiet",
    RunStatus.RUNNING: "info",
    RunStatus.COMPLETED: "good",
    RunStatus.FAILED: "bad",
    RunStatus.ABORTED: "warn",
    RunStatus.REJECTED: "quiet",
}
OUTCOME_TONES: Mapping[str, Tone] = {
    AbortOutcome.STOPPED: "good",
    AbortOutcome.FINISHED_FIRST: "info",
    AbortOutcome.UNRESPONSIVE: "bad",
    AbortOutcome.ERRORED: "warn",
    AbortOutcome.UNKNOWN: "bad",
}


def badge(text: str, tone: Tone) -> SafeString:
    """A short text in a coloured box."""
    return format_html('<span class="gw-badge gw-{}">{}</span>', tone, text)


def run_link(run_id: uuid.UUID) -> SafeString:
    """A run's id, which leads to its page."""
    return format_html('<a href="{}">{}</a>', reverse("admin:gateway_runs_run_change", args=(run_id,)), run_id)


def utc_exact(at: datetime) -> str:
    """``2026-11-20 14:03:22.123456``, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def milliseconds(span: timedelta) -> float:
    """A duration in ms."""
    return span / timedelta(milliseconds=1)


def exact_ms(span: timedelta) -> str:
    """``0.4 ms``, ``8,401.9 ms``."""
    return f"{milliseconds(span):,.1f} ms"


def duration(span: timedelta) -> str:
    """As exact as a reader wants it: ``0.4 ms``, ``123 ms``, ``3.21 s``, ``2 min 05 s``, ``3 h 07 min``."""
    ms = milliseconds(span)
    if abs(ms) < 10:
        return f"{ms:.1f} ms"
    if abs(ms) < 999.5:
        return f"{ms:.0f} ms"
    if abs(ms) < 59_950:
        return f"{ms / 1000:.2f} s" if abs(ms) < 9_995 else f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
