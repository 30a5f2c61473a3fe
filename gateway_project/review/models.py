"""What the auditor's figures are read from: the runs of each hour, counted; and who looked at which records.

The figures are kept by `rollups`, and made anew at will.
"""

from django.db import models

from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, RunStatus

KINDS = ("agent", "status", "abort_cause", "abort_phase", "abort_outcome")
"""What runs that are counted together have in common."""

MEASURES = (
    "runs",
    "undelivered",
    "worked_runs",
    "worked_ms",
    "counted_runs",
    "output_tokens",
    "unsent_tokens",
)
"""What is summed of them."""


class RolledHour(models.Model):
    """An hour of arrivals that has been counted, and whether its figures can still change."""

    hour = models.DateTimeField("hour", primary_key=True, help_text="Its first moment, UTC.")
    rolled_at = models.DateTimeField("counted", null=True, blank=True)
    settled = models.BooleanField(
        "settled", default=False, help_text="No run of this hour is open, and it is long enough ago."
    )

    class Meta:
        db_table = "gateway_rolled_hour"
        verbose_name = "counted hour"
        verbose_name_plural = "counted hours"
        ordering = ("-hour",)
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M}"


class RunCounts(models.Model):
    """How many runs share agent and end, and what they cost."""

    agent = models.CharField("agent", max_length=64, blank=True)
    status = models.CharField("status", max_length=16, choices=RunStatus.choices)
    abort_cause = models.CharField("abort cause", max_length=24, blank=True, choices=AbortCause.choices)
    abort_phase = models.CharField("abort phase", max_length=16, blank=True, choices=AbortPhase.choices)
    abort_outcome = models.CharField("abort outcome", max_length=16, blank=True, choices=AbortOutcome.choices)

    runs = models.PositiveIntegerField("runs")
    undelivered = models.PositiveIntegerField("undelivered", help_text="Whose answer did not wholly leave.")
    worked_runs = models.PositiveIntegerField("runs that worked", help_text="Whose agent was started and has ended.")
    worked_ms = models.PositiveBigIntegerField("worked (ms)", help_text="How long their agents worked, in all.")
    counted_runs = models.PositiveIntegerField("runs with usage")
    output_tokens = models.PositiveBigIntegerField("output tokens", help_text="In all, of the runs with usage.")
    unsent_tokens = models.PositiveBigIntegerField(
        "unsent tokens", help_text="Of streams whose client had gone: output tokens beyond those sent."
    )

    class Meta:
        abstract = True


class RunHour(RunCounts):
    """The counts of the runs that arrived in an hour."""

    hour = models.DateTimeField("hour", help_text="Its first moment, UTC.")

    class Meta:
        db_table = "gateway_run_hour"
        verbose_name = "runs of an hour"
        verbose_name_plural = "runs of hours"
        ordering = ("-hour", "id")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("hour", *KINDS), name="gateway_run_hour_once"),)

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M} {self.agent} {self.status}: {self.runs}"


class RunDay(RunCounts):
    """The same of a day: its hours, summed."""

    day = models.DateTimeField("day", help_text="Its first moment, UTC.")

    class Meta:
        db_table = "gateway_run_day"
        verbose_name = "runs of a day"
        verbose_name_plural = "runs of days"
        ordering = ("-day", "id")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("day", *KINDS), name="gateway_run_day_once"),)

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.agent} {self.status}: {self.runs}"


class AbortLatencyHour(models.Model):
    """One bucket of the histogram of an hour's abort latencies."""

    hour = models.DateTimeField("hour", help_text="Its first moment, UTC.")
    agent = models.CharField("agent", max_length=64, blank=True)
    up_to_ms = models.PositiveIntegerField("up to (ms)", help_text="The bucket's upper bound.")
    runs = models.PositiveIntegerField("runs")

    class Meta:
        db_table = "gateway_abort_latency_hour"
        verbose_name = "abort latencies of an hour"
        verbose_name_plural = "abort latencies of hours"
        ordering = ("-hour", "agent", "up_to_ms")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("hour", "agent", "up_to_ms"), name="gateway_abort_latency_hour_once"),
        )

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M} {self.agent} up to {self.up_to_ms} ms: {self.runs}"


class Accessed(models.TextChoices):
    """What was looked at; and the one other thing that is done to these records."""

    RUN = "run", "A run"
    CONTENT = "content", "A run's content"
    LIST = "list", "A list of runs"
    EXPORT = "export", "An export"
    REMOVAL = "removal", "Removal of access records"


class AccessVia(models.TextChoices):
    """By which way."""

    ADMIN = "admin", "Admin"
    API = "api", "REST API"
    COMMAND = "command", "Command line"


class AccessRecord(models.Model):
    """Somebody has looked at the records: who, when, at what."""

    at = models.DateTimeField("at")
    what = models.CharField("what", max_length=8, choices=Accessed.choices)
    via = models.CharField("way", max_length=8, choices=AccessVia.choices)
    # No key to the user, as with runs: the records may lie in a database of their own, and outlive a user.
    who_kind = models.CharField("kind", max_length=24, help_text="user, api_key or os_user")
    who_id = models.CharField("id", max_length=64, blank=True)
    who = models.CharField("who", max_length=150)
    run = models.UUIDField("run", null=True, blank=True)
    asked = models.CharField(
        "filter", max_length=1000, blank=True, help_text="Of a list or an export; of a removal, how many went."
    )
    address = models.CharField("address", max_length=64, blank=True)

    class Meta:
        db_table = "gateway_access_record"
        verbose_name = "access record"
        verbose_name_plural = "access records"
        ordering = ("-at", "-id")
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("at", "id"), name="gateway_access_at"),
            models.Index(fields=("who", "at", "id"), name="gateway_access_who"),
            models.Index(fields=("what", "at", "id"), name="gateway_access_what"),
            models.Index(fields=("via", "at", "id"), name="gateway_access_via"),
            models.Index(fields=("who_kind", "who_id", "what", "at"), name="gateway_access_again"),
            models.Index(fields=("run", "at", "id"), name="gateway_access_run", condition=models.Q(run__isnull=False)),
        )

    def __str__(self) -> str:
        did = (
            "removed access records"
            if self.what == Accessed.REMOVAL
            else f"looked at {self.get_what_display().lower()}"
        )
        return f"{self.who} {did}"
