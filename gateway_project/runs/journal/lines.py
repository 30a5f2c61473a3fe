"""A change as a line of a spill file: the CRC-32 of the text, a space, the text (JSON)."""

import json
import logging
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from django.core.serializers.json import DjangoJSONEncoder

from gateway_project.runs.journal.changes import CallAgent, Change, CloseRun, InsertRun, Note, StartRun

logger = logging.getLogger("gateway.journal")


class SpillableChange(Change, Protocol):
    """What must not be lost: a change whose `record`, a flat dataclass, is all there is of it."""

    @property
    def record(self) -> Any:
        """What is written."""


_TYPES: dict[str, type[SpillableChange]] = {
    cls.__name__: cls for cls in (InsertRun, StartRun, CallAgent, CloseRun, Note)
}

_Change = TypeVar("_Change", bound=type[SpillableChange])


def spilled(cls: _Change) -> _Change:
    """Let the changes of an app's own class be kept while the database is away, like those of the runs.

    Any other change asks the database something, and can be asked again.
    """
    _TYPES[cls.__name__] = cls
    return cls


def spillable(changes: Sequence[Change]) -> list[SpillableChange]:
    """Those of `changes` that must not be lost."""
    kinds = tuple(_TYPES.values())
    return [change for change in changes if isinstance(change, kinds)]


def line_of(change: SpillableChange) -> bytes:
    """The line to write. A run's end has but the bare minimum where something in it cannot be written.

    Raises:
        Exception: whatever is wrong with the change; an agent may have put anything there.
    """
    try:
        return _encode(change)
    except Exception as error:
        if not isinstance(change, CloseRun):
            raise
        logger.error("spill.end_reduced", extra={"run": str(change.record.id), "error": type(error).__name__})
        return _encode(change.bare())


def _encode(change: SpillableChange) -> bytes:
    text = json.dumps([type(change).__name__, asdict(change.record)], cls=_Encoder).encode("utf-8", "replace")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def text_in(line: bytes) -> bytes | None:
    """The text in a line; None in a damaged one, such as a crash leaves at the end."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    return text if line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(text) else None


def change_in(text: bytes) -> SpillableChange:
    """The change that a text tells of.

    Raises:
        LookupError, TypeError, ValueError: when it says nothing to this process, such as one of an app that is gone.
    """
    name, values = json.loads(text)
    change = _TYPES[name]
    record, readers = _record_of(change)
    known = {each.name: values[each.name] for each in fields(record) if each.name in values}  # Columns may be gone.
    for key in readers:
        if known.get(key) is not None:
            known[key] = readers[key](known[key])
    return change(record(**known))  # type: ignore[call-arg]  # each is made of its record


class _Encoder(DjangoJSONEncoder):
    """Keeps microseconds, which Django's own cuts."""

    def default(self, value: Any) -> Any:
        if isinstance(value, uuid.UUID):
            return value.hex
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


_READERS: Mapping[type, Callable[[Any], Any]] = {uuid.UUID: uuid.UUID, datetime: datetime.fromisoformat}


@cache
def _record_of(change: type[SpillableChange]) -> tuple[type[Any], Mapping[str, Callable[[Any], Any]]]:
    """The class of a change's record, and how those of its fields are read that JSON does not know."""
    field = getattr(change, "record", None)  # Where it is made when it is asked for.
    record = get_type_hints(field.fget)["return"] if isinstance(field, property) else get_type_hints(change)["record"]
    readers = {}
    for name, hint in get_type_hints(record).items():
        for option in get_args(hint) or (hint,):
            if option in _READERS:
                readers[name] = _READERS[option]
    return record, readers
