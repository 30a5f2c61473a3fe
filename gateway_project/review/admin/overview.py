"""The overview: what runs, how runs ended, did agents stop, and what the aborts spared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Max
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from gateway_project import clock
from gateway_project.admin_pages.times import NOTHING
from gateway_project.conf import gateway_settings
from gateway_project.review.admin import columns
from gateway_project.review.admin.charts import Chart, stacked
from gateway_project.review.admin.live import LIVE_SCRIPT, unless_unchanged
from gateway_project.review.admin.ranges import RANGES, Range, RangeForm, chosen
from gateway_project.review.admin.read_only import ReadOnlyAdmin
from gateway_project.review.admin.verifications import verification_badge
from gateway_project.review.figures import ENDINGS, Figures, Step
from gateway_project.review.models import RolledHour
from gateway_project.review.rollups import BEYOND_MS, DAY, HOUR, LATENCY_BOUNDS_MS, due_hours, first_hour, keep_up
from gateway_project.review.verified import last_verification
from gateway_project.review.visibility import sees_all_runs
from gateway_project.runs.models import Overview, Run
from gateway_project.runs.vocabulary import AbortCause, AbortPhase

MOST_OPEN = 20
_PERCENTILES = (("median", 50), ("95th percentile", 95), ("99th percentile", 99))
_STEP_NAMES = {HOUR: "hour", DAY: "day"}
_COUNT_WITHIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in a table, and the list that it counts."""

    count: int
    url: str


@admin.register(Overview)
class OverviewAdmin(ReadOnlyAdmin):
    """One page of figures over all runs, for who may see all of them."""

    class Media:
        css = {"all": ("gateway_review/review.css", "gateway_review/overview.css")}
        js = (Script(LIVE_SCRIPT, defer=True),)

    def get_urls(self) -> list[URLPattern]:
        """The one page: there is nothing to open, add or change."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="gateway_runs_overview_changelist")]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see runs, and the figures over all of them, and from whom ``RUN_VISIBILITY`` keeps none."""
        allowed = request.user.has_perms(("gateway_runs.view_run", "gateway_runs.view_overview"))
        return allowed and sees_all_runs(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """``?range=24h|7d|30d|custom&since=…&until=…&agent=…``."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        when, form = chosen(request.GET.dict())
        alias = gateway_settings().DATABASE
        hours_left = _keep_up(when)
        open_runs = list(Run.objects.using(alias).open().newest_first().defer("parameters")[: MOST_OPEN + 1])
        verification = last_verification()
        counted_at = RolledHour.objects.using(alias).aggregate(at=Max("rolled_at"))["at"]

        def page() -> HttpResponse:
            context = {
                **self.admin_site.each_context(request),
                **self._around(when, form, request.GET.get("agent", "")),
                **running(open_runs),
                **figures_of(Figures(when.since, when.until, request.GET.get("agent", ""))),
                "hours_left": hours_left,
                "counted_at": counted_at,
                "verification_badge": verification_badge(request, verification),
            }
            return TemplateResponse(request, "admin/gateway_runs/overview/overview.html", context)

        shown = [(run.pk, run.status, run.abort_requested_at) for run in open_runs]
        return unless_unchanged(request, page, shown, counted_at, hours_left, verification and verification.pk)

    def _around(self, when: Range, form: RangeForm, agent: str) -> dict[str, Any]:
        """What is there whatever the figures are: title, range picker, agents."""
        return {
            "opts": self.opts,
            "media": self.media,
            "title": "Overview",
            "form": form,
            "agent": agent,
            "ranges": [(label, self._url(agent, key), key == when.key) for key, (label, _) in RANGES.items()],
            "agents": self._agents(when, agent),
        }

    def _url(self, agent: str, key: str, **more: str) -> str:
        query = {"range": key, "agent": agent, **more}
        return f"?{urlencode({name: value for name, value in query.items() if value})}"

    def _agents(self, when: Range, chosen_one: str) -> Sequence[tuple[str, str, bool]]:
        between = {"since": when.since.isoformat(), "until": when.until.isoformat()} if when.key == "custom" else {}
        names = ["", *gateway_settings().AGENTS]
        if chosen_one and chosen_one not in names:
            names.append(chosen_one)
        return [(name or "all", self._url(name, when.key, **between), name == chosen_one) for name in names]


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A run that has not ended, in a line."""

    run: Run
    url: str
    what: str
    status: str
    asked: str

    @classmethod
    def of(cls, run: Run) -> "OpenRow":
        """The line of `run`."""
        url = reverse("admin:gateway_runs_run_change", args=(run.pk,))
        return cls(run, url, columns.agent_and_model(run) or NOTHING, columns.status(run), columns.outcome(run))


def running(open_runs: Sequence[Run]) -> dict[str, Any]:
    """What has not ended, the newest first."""
    return {
        "now": clock.now(),
        "open_runs": [OpenRow.of(run) for run in open_runs[:MOST_OPEN]],
        "open_count": f"more than {MOST_OPEN}" if len(open_runs) > MOST_OPEN else str(len(open_runs)),
    }


def _keep_up(when: Range) -> int:
    """Count what is due, for a moment: a page must not be slow for it, and the next one goes on."""
    oldest = first_hour()
    if oldest is None:
        return 0
    figures = Figures(when.since, when.until)
    since, until = max(figures.since, oldest), figures.until - clock.SMALLEST
    try:
        return keep_up(since, until, within=_COUNT_WITHIN_SECONDS)
    except OperationalError:  # Somebody else writes, or nobody may: the figures are as old as they are.
        return len(due_hours(since, until))


def figures_of(figures: Figures) -> dict[str, Any]:
    """All figures, as the templates show them."""
    return {
        "figures": figures,
        "list_url": reverse("admin:gateway_runs_run_changelist"),
        "counted": _counted(figures),
        **over_time(figures),
        **aborts(figures),
        **latencies(figures),
    }


def _counted(figures: Figures, step: Step | None = None, **asked: str) -> str:
    """The parameters by which the list shows the runs that a number counts: of all the time, or of a step."""
    when = step or figures
    asked |= {"agent": figures.agent, "since": when.since.isoformat()}
    asked |= {"until": (when.until - clock.SMALLEST).isoformat()}
    return urlencode({name: value for name, value in asked.items() if value})


def over_time(figures: Figures) -> dict[str, Any]:
    """Runs by how they ended, as a chart and as the table behind it."""
    steps = figures.steps
    names = [_name(step, figures) for step in steps]
    chart = stacked([(name, step.runs) for name, step in zip(names, steps, strict=True)], ENDINGS)
    rows = [(name, _step_url(step, figures), step) for name, step in zip(names, steps, strict=True) if step.total]
    return {
        "chart": chart,
        "steps": [(name, url, [step.runs[key] for key in ENDINGS], step.total) for name, url, step in rows][::-1],
        "step_name": _STEP_NAMES.get(figures.step, f"{figures.step // HOUR} hours"),
        "axis": [names[0], names[len(names) // 2], names[-1]] if len(names) > 2 else names,
        "endings": [(key, label, figures.endings[key]) for key, label in ENDINGS.items()],
        "ending_names": list(ENDINGS.values()),
    }


def _name(step: Step, figures: Figures) -> str:
    return f"{step.since:%d %b}" if figures.step == DAY else f"{step.since:%d %b %H:%M}"


def _step_url(step: Step, figures: Figures) -> str:
    return f"{reverse('admin:gateway_runs_run_changelist')}?{_counted(figures, step)}"


def aborts(figures: Figures) -> dict[str, Any]:
    """Aborts by cause and phase: a bar a cause, and the table of both."""
    counts = figures.aborts
    phases = [phase for phase in AbortPhase if any(key == phase for _, key in counts)]
    causes = [cause for cause in AbortCause if any(key == cause for key, _ in counts)]
    totals = {cause: sum(count for (key, _), count in counts.items() if key == cause) for cause in causes}
    most = max(totals.values(), default=0)
    return {
        "abort_phases": [phase.label for phase in phases],
        "abort_rows": [
            (
                cause.label,
                [_abort_cell(figures, counts.get((cause, phase), 0), cause, phase) for phase in phases],
                _abort_cell(figures, totals[cause], cause),
                round(1000 * totals[cause] / most, 1),
            )
            for cause in causes
        ],
        "abort_total": sum(totals.values()),
    }


def _abort_cell(figures: Figures, count: int, cause: str, phase: str = "") -> Cell:
    query = _counted(figures, abort_cause=cause, abort_phase=phase)
    return Cell(count, f"{reverse('admin:gateway_runs_run_changelist')}?{query}")


def latencies(figures: Figures) -> dict[str, Any]:
    """Abort latencies: percentiles, and the histogram that they are read from."""
    histogram = figures.latencies
    bars = [(bound_name(bound), {"latency": histogram.buckets[bound]}) for bound in histogram.buckets]
    chart: Chart = stacked(bars, {"latency": "aborts"})
    return {
        "percentiles": [(name, bound_name(histogram.percentile(percent))) for name, percent in _PERCENTILES],
        "latency_chart": chart,
        "latency_rows": [(bound_name(bound), count) for bound, count in histogram.buckets.items() if count],
        "latency_axis": [bound_name(bound) for bound in _axis_bounds()],
        "latency_total": histogram.total,
    }


def _axis_bounds() -> Iterable[int]:
    return (LATENCY_BOUNDS_MS[0], LATENCY_BOUNDS_MS[len(LATENCY_BOUNDS_MS) // 2], BEYOND_MS)


def bound_name(bound: int | None) -> str:
    """``≤ 50 ms``, as exact as a bucket is."""
    if bound is None:
        return NOTHING
    longest = f"{LATENCY_BOUNDS_MS[-1] // 1000} s"
    if bound == BEYOND_MS:
        return f"> {longest} or never"
    return f"≤ {bound} ms" if bound < 1000 else f"≤ {bound // 1000} s"
