"""Where changes wait while the database is away: an append-only file, one a process, replayed in order.

A record is a line: the CRC-32 of the text, a space, the text (JSON). A tail torn by a crash is left out. The
owner holds a lock on its file, so that another process knows a dead one's file from a living one's.
"""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from gateway_project import ids
from gateway_project.runs.journal.changes import CloseRun, InsertRun, Note, StartRun
from gateway_project.runs.record import NoteRecord, RunRecord

logger = logging.getLogger("gateway.journal")

SpillableChange = InsertRun | StartRun | CloseRun | Note
"""What must not be lost. Anything else asks the database something and can be asked again."""

_TYPES: dict[str, type[SpillableChange]] = {cls.__name__: cls for cls in (InsertRun, StartRun, CloseRun, Note)}


def spill_folder(configured: str | None, alias: str) -> Path:
    """The folder for the spill files of one database. Files of different databases never meet."""
    base = Path(configured) if configured else Path(tempfile.gettempdir()) / f"gateway-spill-{os.getuid()}"
    settings = connections[alias].settings_dict
    identity = "|".join(str(settings.get(key)) for key in ("ENGINE", "HOST", "PORT", "NAME"))
    return base / hashlib.sha256(identity.encode()).hexdigest()[:16]


class Spill:
    """This process's file. Not made before it is needed, and removed when all of it is replayed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{os.getpid()}-{ids.uuid7().hex}.spill"
        self._file: Any = None
        self._read_to = 0

    @property
    def pending(self) -> bool:
        """Whether something waits in it."""
        return self._file is not None

    def append(self, changes: Iterable[SpillableChange]) -> None:
        """Write changes so that a crash or a power cut does not lose them.

        Raises:
            OSError: when the disk does not take them; nothing then counts as written.
        """
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            _sync_folder(self._folder)
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(b"".join(map(_encode, changes)))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        """Let go of the file; what waits in it is the next process's."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def waiting(self, most: int) -> tuple[list[SpillableChange], int]:
        """The first changes that are not replayed yet, and what to tell `replayed` when they are."""
        return _read(self._path, self._read_to, most)

    def replayed(self, offset: int) -> None:
        """Everything up to `offset` is in the database."""
        self._read_to = offset
        if self._read_to >= self._path.stat().st_size:
            self._path.unlink()
            self._file.close()
            self._file = None
            self._read_to = 0


def orphans(folder: Path) -> Iterator[tuple[Path, list[SpillableChange]]]:
    """The files that dead processes left, each locked while it is looked at; the caller unlinks what it replayed."""
    for path in sorted(folder.glob("*.spill")) if folder.is_dir() else ():
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():
                    yield path, _read(path, 0, None)[0]
        except OSError:
            continue  # Its owner lives, or somebody else was faster.


def _read(path: Path, offset: int, most: int | None) -> tuple[list[SpillableChange], int]:
    """Changes from `offset` on, and the offset behind them. A damaged record ends the file."""
    changes: list[SpillableChange] = []
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if most is not None and len(changes) >= most:
                break
            change = _decode(line)
            if change is None:
                logger.error("spill.damaged_tail", extra={"path": str(path), "offset": offset})
                return changes, path.stat().st_size
            changes.append(change)
            offset += len(line)
    return changes, offset


def _encode(change: SpillableChange) -> bytes:
    fields = {key: _plain(value) for key, value in asdict(change.record).items()}
    text = json.dumps([type(change).__name__, fields], cls=DjangoJSONEncoder).encode("utf-8", "replace")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> SpillableChange | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    name, fields = json.loads(text)
    record = RunRecord if name != Note.__name__ else NoteRecord
    values = {key: _rich(key, value) for key, value in fields.items()}
    return _TYPES[name](record(**values))  # type: ignore[arg-type]  # each type has its record


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return value.hex
    return value.isoformat() if isinstance(value, datetime) else value


def _rich(key: str, value: Any) -> Any:
    if key in ("id", "run_id"):
        return uuid.UUID(value)
    return datetime.fromisoformat(value) if value is not None and (key == "at" or key.endswith("_at")) else value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spillable(changes: Sequence[object]) -> list[SpillableChange]:
    """Those of `changes` that must not be lost."""
    return [change for change in changes if isinstance(change, SpillableChange)]
