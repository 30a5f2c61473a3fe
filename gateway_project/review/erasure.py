"""The erasure of a principal: who is meant, and what names it outside of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.conf import gateway_settings
from gateway_project.runs.models import Run, RunQuerySet
from gateway_project.runs.retention.models import LegalHold
from gateway_project.runs.retention.pages import of_principal

API_KEY = "api_key"
ERASED_REPR = "(erased)"


@dataclass(frozen=True, slots=True)
class Erasure:
    """One principal that is to be forgotten. Blocking."""

    kind: str
    id: str

    @property
    def runs(self) -> RunQuerySet:
        """Those that still name it."""
        return of_principal(self.kind, self.id, connections[gateway_settings().DATABASE])

    @property
    def key(self) -> APIKey | None:
        """Its API key, where it is one and is still there."""
        if self.kind != API_KEY or not self.id.isdecimal() or len(self.id) > 18:
            return None
        found: APIKey | None = APIKey.objects.filter(pk=int(self.id)).first()
        return found

    def labels(self) -> Sequence[str]:
        """The names under which it is known here."""
        known = set(self.runs.order_by().values_list("principal_label", flat=True).distinct())
        if (key := self.key) is not None:
            known.add(key.name)
        return sorted(known - {""})

    def holds(self) -> list[LegalHold]:
        """Those that are on all its runs."""
        holds = LegalHold.objects.using(gateway_settings().DATABASE).in_force()
        return list(holds.filter(principal_kind=self.kind, principal_id=self.id))

    def revoke_key(self) -> bool:
        """So that no more runs come. Returns whether it had been usable until now."""
        key = self.key
        if key is None or not key.is_usable:
            return False
        return bool(APIKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=clock.now()))

    def delete_key(self) -> bool:
        """Delete the API key's row, and take its name out of Django's own log of what was done in the admin."""
        key = self.key
        if self.kind == API_KEY:
            self._clear_admin_log()
        return key is not None and bool(key.delete())

    def _clear_admin_log(self) -> None:
        """That somebody made or changed this key stays, and when."""
        if not apps.is_installed("django.contrib.admin"):
            return
        from django.contrib.admin.models import LogEntry

        entries: Any = LogEntry.objects.filter(
            content_type__app_label=APIKey._meta.app_label,
            content_type__model=APIKey._meta.model_name,
            object_id=self.id,
        )
        entries.update(object_repr=ERASED_REPR, object_id=None)


def with_label(label: str) -> list[Erasure]:
    """Whoever is or was known by this name, in the runs and among the API keys."""
    runs = Run.objects.using(gateway_settings().DATABASE).filter(principal_label=label).order_by()
    found = set(runs.values_list("principal_kind", "principal_id").distinct())
    found |= {(API_KEY, str(key)) for key in APIKey.objects.filter(name=label).values_list("pk", flat=True)}
    return [Erasure(kind, id_) for kind, id_ in sorted(found)]
