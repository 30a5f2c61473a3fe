"""The record of a run. Written by the journal, read by everybody else."""

from datetime import timedelta
from typing import Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from gateway_project import clock, ids
from gateway_project.runs.vocabulary import (
    OPEN_STATUSES,
    AbortCause,
    AbortOutcome,
    AbortPhase,
    Endpoint,
    NoteKind,
    RunStatus,
    UsageSource,
)


class RunQuerySet(models.QuerySet["Run"]):
    """The questions that are asked of the runs more than once."""

    def open(self) -> Self:
        """Queued or running: not ended yet."""
        return self.filter(status__in=sorted(OPEN_STATUSES))

    def ended(self) -> Self:
        """Those that have their final status."""
        return self.exclude(status__in=sorted(OPEN_STATUSES))

    def newest_first(self) -> Self:
        """By arrival, and by id where that is equal."""
        return self.order_by("-received_at", "-id")


class Run(models.Model):
    """One request for agent work: who asked for what, what ran, how it ended, did the agent stop."""

    id = models.UUIDField("run id", primary_key=True, default=ids.new_run_id, editable=False)
    status = models.CharField("status", max_length=16, choices=RunStatus.choices)
    endpoint = models.CharField("endpoint", max_length=24, choices=Endpoint.choices)
    agent = models.CharField("agent", max_length=64, blank=True, help_text="Name in GATEWAY['AGENTS'].")
    model = models.CharField("model", max_length=200, blank=True, help_text="The agent's own model that ran.")
    requested_model = models.CharField(
        "requested model", max_length=200, blank=True, help_text="What the client wrote in `model`."
    )
    streaming = models.BooleanField("streaming", default=False)
    worker = models.CharField("worker", max_length=32, blank=True, help_text="The process that owned the run.")

    principal_kind = models.CharField("principal kind", max_length=24, blank=True)
    principal_id = models.CharField("principal id", max_length=64, blank=True)
    principal_label = models.CharField("principal", max_length=150, blank=True)
    client_address = models.CharField("client address", max_length=64, blank=True)
    user_agent = models.CharField("user agent", max_length=200, blank=True)
    client_request_id = models.CharField(
        "client's request id", max_length=128, blank=True, help_text="As sent in x-client-request-id or x-request-id."
    )

    received_at = models.DateTimeField("received")
    started_at = models.DateTimeField("agent started", null=True, blank=True)
    first_output_at = models.DateTimeField("first output", null=True, blank=True)
    abort_requested_at = models.DateTimeField("abort requested", null=True, blank=True)
    settled_at = models.DateTimeField("agent settled", null=True, blank=True, help_text="When the agent really ended.")
    finished_at = models.DateTimeField("finished", null=True, blank=True)

    abort_cause = models.CharField("abort cause", max_length=24, blank=True, choices=AbortCause.choices)
    abort_phase = models.CharField("abort phase", max_length=16, blank=True, choices=AbortPhase.choices)
    abort_outcome = models.CharField("abort outcome", max_length=16, blank=True, choices=AbortOutcome.choices)
    abort_requested_by = models.CharField("abort requested by", max_length=150, blank=True)
    abort_reason = models.CharField("abort reason", max_length=500, blank=True)

    delivered = models.BooleanField(
        "delivered",
        null=True,
        blank=True,
        help_text="The whole answer left for the client before the connection ended.",
    )
    http_status = models.PositiveSmallIntegerField("HTTP status", null=True, blank=True)
    finish_reason = models.CharField("finish reason", max_length=24, blank=True)
    events_sent = models.PositiveIntegerField("events sent", default=0)
    bytes_sent = models.PositiveBigIntegerField("bytes sent", default=0)
    tokens_sent = models.PositiveIntegerField(
        "tokens sent", default=0, help_text="Pieces of output sent, about a token each."
    )

    input_tokens = models.PositiveIntegerField("input tokens", null=True, blank=True)
    output_tokens = models.PositiveIntegerField("output tokens", null=True, blank=True)
    cached_tokens = models.PositiveIntegerField("cached tokens", null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField("reasoning tokens", null=True, blank=True)
    usage_source = models.CharField("usage source", max_length=12, blank=True, choices=UsageSource.choices)

    error_type = models.CharField("error type", max_length=64, blank=True)
    error_code = models.CharField("error code", max_length=64, blank=True)
    error_message = models.CharField("error message", max_length=500, blank=True)
    parameters = models.JSONField(
        "parameters",
        default=dict,
        blank=True,
        encoder=DjangoJSONEncoder,
        help_text="Request fields that are recorded and bound to nothing, and sampling hints.",
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "gateway_run"
        verbose_name = "run"
        verbose_name_plural = "runs"
        ordering = ("-received_at", "-id")
        indexes = (
            models.Index(fields=("-received_at", "-id"), name="gateway_run_received"),
            models.Index(fields=("status", "-received_at", "-id"), name="gateway_run_status"),
            models.Index(fields=("principal_label", "-received_at", "-id"), name="gateway_run_principal"),
            models.Index(
                fields=("abort_outcome", "-received_at", "-id"),
                name="gateway_run_outcome",
                condition=~models.Q(abort_outcome=""),
            ),
            models.Index(
                fields=("worker",),
                name="gateway_run_open",
                condition=models.Q(status__in=sorted(OPEN_STATUSES)),
            ),
        )
        default_permissions = ("view",)  # nobody adds, changes or deletes a record
        permissions = (("cancel_run", "Can cancel a running run"),)

    def __str__(self) -> str:
        return str(self.id)

    @property
    def is_open(self) -> bool:
        """Not ended yet."""
        return self.status in OPEN_STATUSES

    @property
    def duration(self) -> timedelta:
        """From arrival to the end, or until now."""
        return (self.finished_at or clock.now()) - self.received_at

    @property
    def time_to_first_output(self) -> timedelta | None:
        """From arrival to the agent's first output."""
        return self.first_output_at - self.received_at if self.first_output_at else None

    @property
    def abort_latency(self) -> timedelta | None:
        """From the wish to abort to the agent's real end."""
        if self.abort_requested_at is None or self.settled_at is None:
            return None
        return self.settled_at - self.abort_requested_at


class Worker(models.Model):
    """A process that serves runs. It lives as long as it renews its lease; what it leaves open is closed by others."""

    id = models.CharField("worker id", max_length=32, primary_key=True, editable=False)
    host = models.CharField("host", max_length=255)
    pid = models.PositiveIntegerField("process id")
    boot_id = models.CharField("boot id", max_length=36, blank=True, help_text="Of the host's kernel, where it tells.")
    started_at = models.DateTimeField("started")
    lease_until = models.DateTimeField("lease until")
    ended_at = models.DateTimeField("ended", null=True, blank=True, help_text="When it ended in good order.")
    lost_at = models.DateTimeField("lost", null=True, blank=True, help_text="When others found its lease lapsed.")

    class Meta:
        db_table = "gateway_worker"
        verbose_name = "worker"
        verbose_name_plural = "workers"
        ordering = ("-started_at", "id")
        default_permissions = ("view",)
        indexes = (
            models.Index(
                fields=("lease_until",),
                name="gateway_worker_alive",
                condition=models.Q(ended_at__isnull=True, lost_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class RunNote(models.Model):
    """What the columns of a run cannot hold: a second cause, a late end, who asked and why, the agent's tools."""

    # Made by whoever notes, not by the database: the same note written twice is one.
    id = models.UUIDField("note id", primary_key=True, default=ids.uuid7, editable=False)
    # A run may be written by another connection, or purged: a note must never be what stops that.
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="notes", db_constraint=False, verbose_name="run"
    )
    at = models.DateTimeField("at")
    kind = models.CharField("kind", max_length=24, choices=NoteKind.choices)
    by = models.CharField("by", max_length=150, blank=True)
    text = models.CharField("text", max_length=500, blank=True)

    class Meta:
        db_table = "gateway_run_note"
        verbose_name = "run note"
        verbose_name_plural = "run notes"
        ordering = ("at", "id")

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.text}"
