"""The outbox: who is still to be told that a run ended badly. A row is written with the end itself."""

from django.db import models

from gateway_project import clock, ids


class RunAlert(models.Model):
    """One message to one target. It names no person. Deleted when it was delivered, or is given up."""

    id = models.UUIDField("message id", primary_key=True, default=ids.uuid7, editable=False)
    run = models.UUIDField("run")
    target = models.CharField("target", max_length=32, help_text="The signal, or a digest of a webhook's address.")
    event = models.CharField("event", max_length=24)
    payload = models.TextField("payload", help_text="JSON, as it is sent and signed.")
    attempts = models.PositiveSmallIntegerField("attempts", default=0)
    due_at = models.DateTimeField("due", help_text="When anybody may try (again).")
    last_error = models.CharField(
        # With a default of the database's: while an upgrade is under way, older processes write rows without it.
        "last error",
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Of the attempt before.",
    )
    created_at = models.DateTimeField("made", default=clock.now)

    class Meta:
        db_table = "gateway_run_alert"
        verbose_name = "alert"
        verbose_name_plural = "waiting alerts"  # behind the overview, which comes first
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("target", "due_at"), name="gateway_run_alert_due"),
            models.Index(fields=("run",), name="gateway_run_alert_run"),
        )

    def __str__(self) -> str:
        return f"{self.event} of {self.run}"
