"""The chains of seals, and the walks that verified them. Written by the journal's writer, and by ``verifyruns``."""

from django.db import models


class Chain(models.Model):
    """One writer's chain of seals, and where it ends. What it says is checked against the seals, never trusted."""

    id = models.UUIDField("chain id", primary_key=True, editable=False)
    writer = models.CharField("writer", max_length=270, help_text="Host and process id.")
    head_number = models.PositiveBigIntegerField("number of the last seal")
    head_hash = models.BinaryField("hash of the last seal", max_length=32)
    head_at = models.DateTimeField("time of the last seal")
    named_number = models.PositiveBigIntegerField(
        "last seal that another chain names", default=0, help_text="Spares naming it again, and in anchors; verified."
    )

    class Meta:
        db_table = "gateway_chain"
        verbose_name = "chain of seals"
        verbose_name_plural = "chains of seals"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.id} ({self.writer})"


class Seal(models.Model):
    """What one committed batch made final: a digest a row, bound to the seal before it."""

    id = models.UUIDField("seal id", primary_key=True, editable=False)
    chain = models.UUIDField("chain", editable=False)
    number = models.PositiveBigIntegerField("number", help_text="In its chain, from 1.")
    version = models.PositiveSmallIntegerField("version", help_text="Of the canonical form.")
    previous = models.BinaryField("hash of the seal before", max_length=32)
    sealed_at = models.DateTimeField("sealed")
    entries = models.BinaryField("entries", help_text="49 bytes each: kind, id, digest.")
    heads = models.BinaryField("heads of other chains", help_text="56 bytes each: chain, number, hash.")
    hash = models.BinaryField("hash", max_length=32)

    class Meta:
        db_table = "gateway_seal"
        verbose_name = "seal"
        verbose_name_plural = "seals"
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=("chain", "number"), name="gateway_seal_place"),)

    def __str__(self) -> str:
        return f"seal {self.number} of chain {self.chain}"


class Tombstone(models.Model):
    """Where to find the seal that tells of a purge or an erasure. An index only: what counts stands in the seal."""

    object_id = models.UUIDField("object id")
    kind = models.PositiveSmallIntegerField("kind", help_text="Of the entry in the seal.")
    seal = models.UUIDField("seal")

    class Meta:
        db_table = "gateway_tombstone"
        verbose_name = "tombstone"
        verbose_name_plural = "tombstones"
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=("object_id", "kind", "seal"), name="gateway_tombstone_once"),)

    def __str__(self) -> str:
        return f"{self.object_id}"


class Verification(models.Model):
    """One walk of ``verifyruns``: how far it is, and what it found."""

    started_at = models.DateTimeField("started")
    walked_at = models.DateTimeField("last step", help_text="When the checkpoint was written.")
    finished_at = models.DateTimeField("finished", null=True, blank=True)
    checkpoint = models.JSONField("checkpoint", default=dict, help_text="Where to go on.")
    seals = models.PositiveBigIntegerField("seals", default=0)
    rows = models.PositiveBigIntegerField("rows", default=0)
    breaks = models.JSONField("breaks", default=dict, help_text="How many of each kind.")
    first_break = models.CharField("first break", max_length=500, blank=True)

    class Meta:
        db_table = "gateway_verification"
        verbose_name = "verification"
        verbose_name_plural = "verifications"
        ordering = ("-id",)
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"verification of {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def is_clean(self) -> bool:
        """It came to its end and found nothing."""
        return self.finished_at is not None and not self.breaks
