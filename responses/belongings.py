"""Stored responses and their streams go with their run, and sooner with its content."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.retention.belongings import Belongings, Place, next_places
from gateway_project.runs.seals.rows import chunks

from .models import StoredFrames, StoredResponse


class StoredResponses(Belongings):
    """Request, answer and stream, in `responses`' own tables. The id of a response is that of its run."""

    name = "stored responses"
    is_content = True

    def purge(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Delete both."""
        for chunk in chunks(run_ids):
            StoredFrames.objects.using(connection.alias).filter(response__in=chunk).delete()
            StoredResponse.objects.using(connection.alias).filter(pk__in=chunk).delete()

    def content_before(
        self, before: datetime, after: Place | None, size: int, connection: BaseDatabaseWrapper
    ) -> Sequence[Place]:
        """In the order in which they were made."""
        rows = StoredResponse.objects.using(connection.alias).filter(created_at__lt=before)
        return next_places(rows, "created_at", "id", after, size)

    def count_content_before(self, before: datetime, connection: BaseDatabaseWrapper) -> int:
        """As many as there are."""
        return StoredResponse.objects.using(connection.alias).filter(created_at__lt=before).count()

    def forget(self, kind: str, id_: str, labels: Sequence[str], connection: BaseDatabaseWrapper) -> None:
        """Those whose run is not there any more."""
        rows = StoredResponse.objects.using(connection.alias).filter(principal_kind=kind, principal_id=id_)
        while orphans := list(rows.values_list("pk", flat=True)[:500]):
            self.purge(orphans, connection)
