"""Stored responses: what the protocol needs to be asked for again. Written through the journal, like the runs."""

from datetime import datetime
from typing import Self

from django.db import models


class StoredStatus(models.TextChoices):
    """The statuses of a response on the wire."""

    QUEUED = "queued", "Queued"
    IN_PROGRESS = "in_progress", "In progress"
    COMPLETED = "completed", "Completed"
    INCOMPLETE = "incomplete", "Incomplete"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


OPEN_STATUSES = frozenset({StoredStatus.QUEUED, StoredStatus.IN_PROGRESS})


class StoredResponseQuerySet(models.QuerySet["StoredResponse"]):
    """The questions that are asked of stored responses more than once."""

    def of(self, kind: str, principal_id: str, *, at: datetime) -> Self:
        """Those that a principal may still ask for. Somebody else's look as if they did not exist."""
        return self.filter(principal_kind=kind, principal_id=principal_id, expires_at__gt=at)


class StoredResponse(models.Model):
    """A response that its client may come back for. Its id is that of its run."""

    id = models.UUIDField("run id", primary_key=True, editable=False)
    principal_kind = models.CharField("principal kind", max_length=24)
    principal_id = models.CharField("principal id", max_length=64)
    previous = models.UUIDField("previous response", null=True, blank=True)
    status = models.CharField("status", max_length=16, choices=StoredStatus.choices)
    background = models.BooleanField("background", default=False)
    created_at = models.DateTimeField("created")
    expires_at = models.DateTimeField("expires")
    followed_until = models.DateTimeField(
        "followed until", null=True, blank=True, help_text="Renewed by whoever reads its stream again."
    )
    # JSON as text: it is handed back as it was made, never searched, and may hold what jsonb refuses.
    request = models.TextField("request", blank=True, help_text="The request's body, while the response is open.")
    input = models.TextField("input items", help_text="Those that came with this request, each with its id.")
    body = models.TextField("response object")

    objects = StoredResponseQuerySet.as_manager()

    class Meta:
        db_table = "gateway_response"
        verbose_name = "stored response"
        verbose_name_plural = "stored responses"
        ordering = ("-created_at", "-id")
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("created_at", "id"), name="gateway_response_created"),
            models.Index(fields=("expires_at",), name="gateway_response_expires"),
            # For the filters of the admin's list, in its order, and to find what a principal has left.
            models.Index(fields=("status", "created_at", "id"), name="gateway_response_status"),
            models.Index(fields=("principal_id", "created_at", "id"), name="gateway_response_principal"),
            models.Index(
                fields=("created_at", "id"), name="gateway_response_background", condition=models.Q(background=True)
            ),
        )

    def __str__(self) -> str:
        return f"resp_{self.id.hex}"

    @property
    def is_open(self) -> bool:
        """Not ended yet."""
        return self.status in OPEN_STATUSES


class StoredFrames(models.Model):
    """A piece of the stream of a response that can be followed again: whole events, as they go over the wire."""

    id = models.BigAutoField("frames id", primary_key=True)
    response = models.ForeignKey(
        StoredResponse,
        on_delete=models.CASCADE,
        related_name="frames",
        db_constraint=False,
        verbose_name="response",
    )
    first_number = models.PositiveIntegerField("first sequence number")
    frames = models.TextField("events")

    class Meta:
        db_table = "gateway_response_frames"
        verbose_name = "stored events"
        verbose_name_plural = "stored events"
        ordering = ("response", "first_number")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("response", "first_number"), name="gateway_response_frames_place"),
        )

    def __str__(self) -> str:
        return f"{self.response_id} from {self.first_number}"
