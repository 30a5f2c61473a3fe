"""Where changes wait while the database is away: an append-only file, one a process, replayed in order.

A record is a line (see `lines`). A tail torn by a crash is left out. The owner holds a lock on its file, so that
another process knows a dead one's file from a living one's.

A process can leave two: what is older than its queue, and what is younger. Their names sort in that order, in which
they are adopted.

What is adopted becomes part of the sealed records, so that a file counts only if nobody else can have written it.
"""

import errno
import fcntl
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from io import FileIO
from itertools import count
from pathlib import Path
from typing import BinaryIO
from weakref import WeakSet

from django.db import connections

from gateway_project import clock, ids
from gateway_project.runs.journal.lines import SpillableChange, change_in, line_of, text_in

logger = logging.getLogger("gateway.journal")


_SAYING_WHICH = ("host", "hostaddr", "port", "dbname", "service", "options")
"""Where in PostgreSQL's options a database may be named, too; in the last a schema."""
_FOLDER_NAME = "[0-9a-f]" * 16


def spill_folder(configured: str | None, alias: str) -> Path:
    """The folder for the spill files of one database. Files of different databases never meet."""
    base = Path(configured) if configured else Path(tempfile.gettempdir()) / f"gateway-spill-{os.getuid()}"
    settings = connections[alias].settings_dict
    parts = [settings.get(key) for key in ("ENGINE", "HOST", "PORT", "NAME")]
    if connections[alias].vendor == "sqlite":
        parts[-1] = Path(settings["NAME"]).absolute()
    for key in _SAYING_WHICH:
        value = settings["OPTIONS"].get(key)
        if value is not None and (key != "options" or "search_path" in value):
            parts.append(f"{key}={value}")
    return base / hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]


_STARTED_MS = clock.unix_ms()
_numbers = count()
_all: "WeakSet[Spill]" = WeakSet()


def _let_go_in_child() -> None:
    """A forked child has our files, and with them our locks: they would outlive us, who then never counted as dead."""
    for spill in list(_all):
        spill.close()


os.register_at_fork(after_in_child=_let_go_in_child)


class Spill:
    """This process's file. Not made before it is needed, and removed when all of it is replayed.

    What goes into one is older than what goes into those that are constructed later, whichever file is made first.

    Args:
        behind: one that is to be followed by this, in front of all that were constructed after it.
    """

    def __init__(self, folder: Path, *, behind: "Spill | None" = None) -> None:
        self._folder = folder
        # Not of the time: two can be constructed within a millisecond, and clocks are set back.
        place = f"{os.getpid()}-{_STARTED_MS:013d}-{next(_numbers):06d}"
        self._place: str = place if behind is None else f"{behind._place}a"  # sorts behind the hyphen that follows else
        self._path = folder
        self._file: FileIO | None = None
        self._read_to = 0
        _all.add(self)

    @property
    def pending(self) -> bool:
        """Whether something waits in it."""
        return self._file is not None

    def append(self, changes: Iterable[SpillableChange]) -> list[Exception | None]:
        """Write changes so that a crash or a power cut does not lose them.

        Returns:
            For each None, or why it can never be written. The others are.

        Raises:
            OSError: when the disk does not take them; nothing then counts as written.
        """
        lines: list[bytes] = []
        faults: list[Exception | None] = []
        for change in changes:
            try:
                lines.append(line_of(change))
            except Exception as error:  # noqa: BLE001 (an agent may have put anything there)
                faults.append(error)
            else:
                faults.append(None)
        if lines:
            self._write(b"".join(lines))
        return faults

    def _write(self, lines: bytes) -> None:
        file = self._file or self._open()
        end = file.seek(0, os.SEEK_END)
        try:
            # Unbuffered: what a full disk has refused must not come back with the next write.
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise

    def _open(self) -> FileIO:
        """Begin a file. Its name is new each time, so that nobody takes it for one that he has found dead."""
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        _check_folder(self._folder)
        while self._file is None:
            self._path = self._folder / f"{self._place}-{ids.uuid7().hex}.spill"
            file = FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "r+")
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._path.exists():
                self._file = file
            else:  # Found without its lock, in the moment between, and taken for a dead one's.
                file.close()
        self._read_to = 0
        _sync_folder(self._folder)
        return self._file

    def close(self) -> None:
        """Let go of the file; what waits in it is the next process's."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def waiting(self, most: int) -> tuple[list[SpillableChange], int]:
        """The first changes that are not replayed yet, and what to tell `replayed` when they are."""
        with self._path.open("rb") as file:
            return _read(file, self._path, self._read_to, most)

    def replayed(self, offset: int) -> None:
        """Everything up to `offset` is in the database."""
        self._read_to = offset
        if self._read_to >= self._path.stat().st_size:
            self._path.unlink()
            self.close()


def orphans(folder: Path) -> Iterator[tuple[Path, list[SpillableChange]]]:
    """What dead processes left, file by file; the caller unlinks what it replayed.

    A dead one's file gets another name first. From then on nobody locks it: whoever is about to sweep replays all
    of them, also one that another process has begun to replay, since a change that is applied twice counts once.
    """
    try:
        _check_folder(folder)
        for path in sorted(folder.glob("*.spill")):
            _disown(path)
        left = sorted(folder.glob("*.orphan"))
    except FileNotFoundError:
        return  # Nothing was ever spilled.
    except OSError as error:
        logger.error("spill.unreadable", extra={"path": str(folder), "error": str(error)})
        return
    for path in left:
        try:
            with _open_ours(path) as file:
                changes, _ = _read(file, path, 0, None)
        except FileNotFoundError:
            continue  # Somebody else has replayed it.
        except OSError as error:
            logger.error("spill.unreadable", extra={"path": str(path), "error": str(error)})
        else:
            yield path, changes


def elsewhere(folder: Path) -> set[Path]:
    """The folders beside, for other databases, in which dead processes left something.

    That may be this very database, under the address that it had then.
    """
    try:
        _check_owner(folder.parent, folder.parent.stat())
        others = folder.parent.glob(f"{_FOLDER_NAME}/*.*")
        return {path.parent for path in others if path.parent != folder and _is_left(path)}
    except OSError:
        return set()  # Nothing was ever spilled, or it is not ours.


def _is_left(path: Path) -> bool:
    """Whether it is a file of a dead process's."""
    if path.suffix == ".orphan":
        return True
    if path.suffix != ".spill":
        return False
    try:
        with _open_ours(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _check_folder(folder: Path) -> None:
    """Refuse a folder of somebody else's, or one that others may write to.

    Of the folder above only the owner counts, who could replace this one: what others would put in its place is not
    ours either. So a volume may lie there that several write to.

    Raises:
        PermissionError: which says what to do.
    """
    _check_owner(folder.parent, folder.parent.stat())
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise PermissionError(errno.EPERM, "Not a folder: remove it, or set another SPILL_DIR", str(folder))
    _check_ours(folder, status)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {os.geteuid(), 0}:
        said = (
            f"Belongs to user {status.st_uid}, not to {os.geteuid()}: run as that user, "
            "or change the owner if you know what is in it, or set another SPILL_DIR"
        )
        raise PermissionError(errno.EPERM, said, str(path))


def _check_ours(path: Path, status: os.stat_result) -> None:
    _check_owner(path, status)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        said = "Others may write to it: look at what is in it, then chmod go-w, or set another SPILL_DIR"
        raise PermissionError(errno.EPERM, said, str(path))


def _open_ours(path: Path) -> BinaryIO:
    """Open a file that only we can have written. Raises OSError, as `_check_folder` does."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    try:
        _check_ours(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _disown(path: Path) -> None:
    """Rename the file if its owner is dead."""
    try:
        with _open_ours(path) as file:
            # Shared: of several who do this none may take another for the living owner.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.rename(path.with_suffix(".orphan"))
    except (BlockingIOError, FileNotFoundError):
        pass  # Its owner lives, or somebody else was faster.
    except OSError as error:
        logger.error("spill.unreadable", extra={"path": str(path), "error": str(error)})


def _read(file: BinaryIO, path: Path, offset: int, most: int | None) -> tuple[list[SpillableChange], int]:
    """Changes from `offset` on, and the offset behind them. A damaged record ends the file.

    One that is whole but says nothing to this process, such as one of an app that is gone, is set aside.
    """
    changes: list[SpillableChange] = []
    file.seek(offset)
    for line in file:
        if most is not None and len(changes) >= most:
            break
        text = text_in(line)
        if text is None:
            logger.error("spill.damaged_tail", extra={"path": str(path), "offset": offset})
            return changes, path.stat().st_size
        try:
            changes.append(change_in(text))
        except (LookupError, TypeError, ValueError) as error:
            aside = _set_aside(path, line)
            logger.error("spill.unknown_record", extra={"path": str(aside), "error": repr(error)})
        offset += len(line)
    return changes, offset


def _set_aside(path: Path, line: bytes) -> Path:
    """Keep a record for people to look at; it may stand there twice, as what is replayed may be replayed again."""
    aside = path.with_suffix(".unknown")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)
    return aside


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
