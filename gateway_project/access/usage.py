"""Notes when keys were used, beside the requests: nobody waits for it."""

import threading
from contextlib import suppress

from django.db import DatabaseError, connections, router

from gateway_project import clock
from gateway_project.access.models import APIKey


class UseNotes:
    """Writes ``last_used_at``, in a thread that lives as long as there is something to write."""

    def __init__(self) -> None:
        self._due: set[int] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, key: APIKey) -> None:
        """The key is in use now."""
        with self._lock:
            self._due.add(key.pk)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write, name="gateway-key-uses", daemon=True)
                self._thread.start()

    def join(self, *, within: float = 5) -> None:
        """Wait until all is written. Blocking."""
        thread = self._thread
        if thread is not None:
            thread.join(within)

    def _write(self) -> None:
        try:
            while due := self._take():
                with suppress(DatabaseError):  # The next use is noted again.
                    APIKey.objects.touch(due, clock.now())
        finally:
            connections[router.db_for_write(APIKey)].close()

    def _take(self) -> set[int]:
        with self._lock:
            due, self._due = self._due, set()
            if not due:
                self._thread = None  # Whoever comes from now on finds no thread that takes theirs.
        return due
