"""What a run was asked and what it answered. Written by the journal together with the run's end."""

from django.db import models

from gateway_project import ids
from gateway_project.content_modes import ContentMode


class RunContent(models.Model):
    """The content of one run, as far as its mode lets it be kept. A run of the mode ``none`` has none."""

    # An id of its own: seals and tombstones tell it from the run's.
    id = models.UUIDField("content id", primary_key=True, default=ids.uuid7, editable=False)
    # As with notes: it must never be what stops a run from being written or purged.
    run = models.OneToOneField(
        "gateway_runs.Run", on_delete=models.CASCADE, related_name="content", db_constraint=False, verbose_name="run"
    )
    at = models.DateTimeField("kept")
    mode = models.CharField("mode", max_length=8, choices=ContentMode.choices)
    remarks = models.CharField("remarks", max_length=500, blank=True, help_text="What was cut or left out, and why.")

    request = models.TextField("request", blank=True, help_text="What the agent was asked, as JSON.")
    request_digest = models.CharField(
        "digest of the request", max_length=120, blank=True, help_text="sha256:<salt>:<SHA-256 of salt and text>"
    )
    request_characters = models.PositiveBigIntegerField("characters asked", default=0)
    answer = models.TextField("answer", blank=True, help_text="What the agent generated, as JSON, piece by piece.")
    answer_digest = models.CharField(
        "digest of the answer", max_length=120, blank=True, help_text="sha256:<salt>:<SHA-256 of salt and text>"
    )
    answer_characters = models.PositiveBigIntegerField("characters generated", default=0)
    delivered_characters = models.PositiveBigIntegerField(
        "characters delivered", default=0, help_text="Of those generated, how many were handed to the client."
    )

    seal = models.UUIDField("seal", null=True, editable=False, help_text="The seal that holds the digest of this row.")
    salts = models.BinaryField("salts", null=True, help_text="What the personal fields enter the digest with.")
    commitments = models.BinaryField("commitments", null=True, help_text="What is left of personal fields when erased.")

    class Meta:
        db_table = "gateway_run_content"
        verbose_name = "content of a run"
        verbose_name_plural = "contents of runs"
        ordering = ("-at", "-id")
        indexes = (models.Index(fields=("at", "run"), name="gateway_run_content_at"),)
        default_permissions = ()
        permissions = (("view_content", "Can view what a run was asked and answered"),)

    def __str__(self) -> str:
        return f"content of run {self.run_id}"
