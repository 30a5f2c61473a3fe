"""Legal holds: what must be kept, whatever the retention says. The table; how it is used is in `retention.holds`."""

from typing import Self

from django.db import models
from django.db.models import Q

from gateway_project import clock

_ONE_TARGET = Q(run__isnull=False, principal_kind="") | Q(run__isnull=True) & ~Q(principal_kind="")


class LegalHoldQuerySet(models.QuerySet["LegalHold"]):
    """The questions that are asked of holds more than once."""

    def in_force(self) -> Self:
        """Not lifted."""
        return self.filter(lifted_at__isnull=True)


class LegalHold(models.Model):
    """A wish that a run, or all runs of a principal, be kept until it is lifted. Closed runs take no such mark."""

    run = models.UUIDField("run", null=True, blank=True, help_text="The one run that is held.")
    principal_kind = models.CharField("principal kind", max_length=24, blank=True, help_text="api_key, for our keys.")
    principal_id = models.CharField(
        "principal id", max_length=64, blank=True, help_text="All its runs are held, also those to come."
    )
    reason = models.CharField("reason", max_length=500)
    set_by = models.CharField("set by", max_length=150, editable=False)
    set_at = models.DateTimeField("set", default=clock.now, editable=False)
    lifted_by = models.CharField("lifted by", max_length=150, blank=True, editable=False)
    lifted_at = models.DateTimeField("lifted", null=True, blank=True, editable=False)
    lift_reason = models.CharField("reason for lifting it", max_length=500, blank=True)

    objects = LegalHoldQuerySet.as_manager()

    class Meta:
        db_table = "gateway_legal_hold"
        verbose_name = "legal hold"
        verbose_name_plural = "runs' legal holds"  # behind the overview, which comes first
        ordering = ("-set_at", "-id")
        default_permissions = ("view",)
        permissions = (("set_legal_hold", "Can set and lift legal holds"),)
        constraints = (models.CheckConstraint(condition=_ONE_TARGET, name="gateway_legal_hold_target"),)
        indexes = (
            models.Index(fields=("run",), name="gateway_legal_hold_run", condition=Q(lifted_at__isnull=True)),
            models.Index(
                fields=("principal_kind", "principal_id"),
                name="gateway_legal_hold_principal",
                condition=Q(lifted_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"legal hold {self.pk}"  # Without whom it is on: this goes into logs that nobody erases.

    @property
    def is_in_force(self) -> bool:
        """Not lifted."""
        return self.lifted_at is None
