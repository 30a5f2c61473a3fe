"""The record of a run. Written by the journal, read by everybody else.

What else is kept of runs stands in the folder that it belongs to. Django finds it here.
"""

from datetime import timedelta
from typing import Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Concat
from django.db.models.lookups import GreaterThan

from gateway_project import clock, ids
from gateway_project.runs.alerts.models import RunAlert
from gateway_project.runs.content.models import RunContent
from gateway_project.runs.retention.models import LegalHold
from gateway_project.runs.seals.models import Chain, Seal, Tombstone, Verification
from gateway_project.runs.vocabulary import (
    CLIENT_IS_GONE,
    OPEN_STATUSES,
    AbortCause,
    AbortOutcome,
    AbortPhase,
    Endpoint,
    NoteKind,
    RunStatus,
    UsageSource,
)

__all__ = [
    "CLIENT_GONE",
    "SLOW_ABORT",
    "Chain",
    "LegalHold",
    "Overview",
    "Run",
    "RunAlert",
    "RunContent",
    "RunLabel",
    "RunNote",
    "RunQuerySet",
    "Seal",
    "Tombstone",
    "Verification",
    "Worker",
]

CLIENT_GONE = models.Q(abort_cause__in=CLIENT_IS_GONE) | models.Q(
    # An agent that is configured to finish goes on without a cause; its answer reached nobody.
    abort_cause="",
    status=RunStatus.COMPLETED,
    delivered=False,
)
"""The runs whose client went away before it had its answer."""

SLOW_ABORT = models.Q(abort_outcome=AbortOutcome.UNRESPONSIVE) | models.Q(
    # A difference, not a sum: PostgreSQL takes no sum of time and interval into an index (migration 0003).
    GreaterThan(models.F("settled_at") - models.F("abort_requested_at"), timedelta(seconds=1))
)
"""The runs whose agent took more than a second to stop, or was not seen to."""


class RunQuerySet(models.QuerySet["Run"]):
    """The questions that are asked of the runs more than once."""

    def open(self) -> Self:
        """Queued or running: not ended yet.

        Said twice, for a run has `finished_at` just when its status is final: only that leads to the index of these.
        """
        return self.filter(status__in=sorted(OPEN_STATUSES), finished_at__isnull=True)

    def ended(self) -> Self:
        """Those that have their final status."""
        return self.exclude(status__in=sorted(OPEN_STATUSES))

    def open_by_owner(self) -> Self:
        """The open ones in no order, their worker as `owner`: for what is asked again and again.

        No index may lead to an owner: that of workers leads through all that one ever ran.
        """
        return self.open().alias(owner=Concat("worker", models.Value(""))).order_by()

    def held(self) -> Self:
        """Those that a legal hold is on, by itself or by their principal."""
        by_itself, by_principal = _holds()
        return self.filter(models.Q(by_itself) | models.Q(by_principal))

    def not_held(self) -> Self:
        """Those that none is on."""
        by_itself, by_principal = _holds()
        return self.filter(~by_itself, ~by_principal)

    def newest_first(self) -> Self:
        """By arrival, and by id where that is equal."""
        return self.order_by("-received_at", "-id")


def _holds() -> tuple[models.Exists, models.Exists]:
    """Whether a hold is on a run by itself, and by its principal."""
    holds = LegalHold.objects.in_force()
    whose = {"principal_kind": models.OuterRef("principal_kind"), "principal_id": models.OuterRef("principal_id")}
    by_principal = holds.filter(run__isnull=True, **whose)
    return models.Exists(holds.filter(run=models.OuterRef("pk"))), models.Exists(by_principal)


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
    background = models.BooleanField(
        "background", default=False, help_text="Meant to run on without its client, which comes back for the answer."
    )
    parent_run = models.UUIDField(
        "parent run", null=True, blank=True, help_text="The run of the response that this one continues."
    )
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
        "tokens sent", default=0, help_text="Of the output tokens, the share whose text was sent."
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

    seal = models.UUIDField("seal", null=True, editable=False, help_text="The seal that holds the digest of this row.")
    salts = models.BinaryField("salts", null=True, help_text="What the personal fields enter the digest with.")
    commitments = models.BinaryField("commitments", null=True, help_text="What is left of personal fields when erased.")

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "gateway_run"
        verbose_name = "run"
        verbose_name_plural = "runs"
        ordering = ("-received_at", "-id")
        indexes = (
            # Ascending: so they grow at their end, where that takes least. A list walks them backwards.
            models.Index(fields=("received_at", "id"), name="gateway_run_received"),
            models.Index(fields=("status", "received_at", "id"), name="gateway_run_status"),
            models.Index(fields=("principal_label", "received_at", "id"), name="gateway_run_principal"),
            models.Index(
                fields=("abort_outcome", "received_at", "id"),
                name="gateway_run_outcome",
                condition=~models.Q(abort_outcome=""),
            ),
            # The open ones. No value in its condition: of those SQLite sees but the marks when it chooses an index.
            models.Index(
                fields=("abort_requested_at",), name="gateway_run_open", condition=models.Q(finished_at__isnull=True)
            ),
            # For each question and thread of the list. In the list's whole order: with less of it PostgreSQL would
            # rather walk all runs, expecting to meet the few soon, and values come and go with time.
            models.Index(fields=("agent", "received_at", "id"), name="gateway_run_agent"),
            models.Index(fields=("model", "received_at", "id"), name="gateway_run_model"),
            models.Index(fields=("endpoint", "received_at", "id"), name="gateway_run_endpoint"),
            models.Index(fields=("worker", "received_at", "id"), name="gateway_run_worker"),
            models.Index(fields=("client_address", "received_at", "id"), name="gateway_run_address"),
            models.Index(fields=("principal_kind", "principal_id", "received_at", "id"), name="gateway_run_identity"),
            models.Index(
                fields=("client_request_id",),
                name="gateway_run_request_id",
                opclasses=("varchar_pattern_ops",),  # PostgreSQL: finds beginnings
                condition=~models.Q(client_request_id=""),
            ),
            models.Index(
                fields=("parent_run", "received_at", "id"),
                name="gateway_run_parent",
                condition=models.Q(parent_run__isnull=False),
            ),
            models.Index(
                fields=("abort_cause", "received_at", "id"),
                name="gateway_run_cause",
                condition=~models.Q(abort_cause=""),
            ),
            models.Index(
                fields=("abort_phase", "received_at", "id"),
                name="gateway_run_phase",
                condition=~models.Q(abort_phase=""),
            ),
            models.Index(fields=("received_at", "id"), name="gateway_run_client_gone", condition=CLIENT_GONE),
            models.Index(
                fields=("received_at", "id"), name="gateway_run_undelivered", condition=models.Q(delivered=False)
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
    def abort_latency(self) -> timedelta | None:
        """From the wish to abort to the agent's real end."""
        if self.abort_requested_at is None or self.settled_at is None:
            return None
        return self.settled_at - self.abort_requested_at


class Overview(Run):
    """The runs as a whole, for the figures over them: a page and a permission of its own, no table."""

    class Meta:
        proxy = True
        verbose_name = "overview"
        verbose_name_plural = "overview"
        default_permissions = ("view",)


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

    seal = models.UUIDField("seal", null=True, editable=False, help_text="The seal that holds the digest of this row.")
    salts = models.BinaryField("salts", null=True, help_text="What the personal fields enter the digest with.")
    commitments = models.BinaryField("commitments", null=True, help_text="What is left of personal fields when erased.")

    class Meta:
        db_table = "gateway_run_note"
        verbose_name = "run note"
        verbose_name_plural = "run notes"
        ordering = ("at", "id")

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.text}"


class RunLabel(models.Model):
    """What a client called a run: an index of its `parameters`, to find it by. See `runs.labels`."""

    pk = models.CompositePrimaryKey("run", "name")
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="labels", db_constraint=False, db_index=False, verbose_name="run"
    )
    name = models.CharField("name", max_length=80)
    value = models.CharField("value", max_length=512)

    class Meta:
        db_table = "gateway_run_label"
        verbose_name = "run label"
        verbose_name_plural = "run labels"
        default_permissions = ()  # Who may see the run may see them.
        indexes = (models.Index(fields=("name", "value"), name="gateway_run_label_value"),)

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"
