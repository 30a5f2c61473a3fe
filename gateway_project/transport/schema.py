"""How a request's JSON becomes a checked request: pydantic models, and one table of fields an endpoint."""

import json
import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag, ValidationError
from pydantic import Field as Constraint
from pydantic_core import ErrorDetails

from gateway_project.access.principal import Principal
from gateway_project.agents.request import AgentRequest
from gateway_project.transport.errors import InvalidValue, MissingParameter, UnsupportedParameter


class Treatment(Enum):
    """What happens to a field of the schema."""

    HONOURED = "honoured"
    RECORDED = "recorded only"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Field:
    """One row of an endpoint's table. Values in `harmless` are let pass where the field is refused."""

    treatment: Treatment
    harmless: tuple[Any, ...] = (None,)


HONOURED = Field(Treatment.HONOURED)
RECORDED = Field(Treatment.RECORDED)
REFUSED = Field(Treatment.REFUSED)


def refused_unless(*harmless: Any) -> Field:
    """Refused, unless null or one of these values, which ask for nothing that is not done anyway."""
    return Field(Treatment.REFUSED, (None, *harmless))


RECORDED_CHARACTERS = 512
"""How much of a recorded text is kept; no field of either schema that is recorded may be longer."""


_RECORDED_KEYS = 20
_KEY_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a request needs besides itself to become an `AgentRequest`."""

    run_id: uuid.UUID
    model: str
    principal: Principal


class WireModel(BaseModel):
    """A part of a request: strict types, unknown keys tolerated (real clients send more than the schema says)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


Item = TypeVar("Item")
Few = Annotated[list[Item], Constraint(fail_fast=True)]
"""A list whose check ends at its first fault: a million faults must not be collected to name one."""


def at_most(entries: int) -> BeforeValidator:
    """A bound for an object, held before its entries are looked at, for the same reason."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > entries:
            raise ValueError(f"Object should have at most {entries} entries, not {len(value)}")
        return value

    return BeforeValidator(check)


Temperature = Annotated[float, Constraint(ge=0, le=2)] | None
TopP = Annotated[float, Constraint(ge=0, le=1)] | None
Penalty = Annotated[float, Constraint(ge=-2, le=2)] | None
TopLogprobs = Annotated[int, Constraint(ge=0, le=20)] | None
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]
Label = Annotated[str, Constraint(max_length=64)]
Metadata = Annotated[dict[Label, Annotated[str, Constraint(max_length=512)]], at_most(16)]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
CacheRetention = Literal["in_memory", "in-memory", "24h"]
"""Shapes that both protocols share."""


class Unsupported(WireModel):
    """Something of a type that is not supported here: it is let through the schema, to be refused by name."""

    type: str


def name_of_tag(type: str) -> str:  # noqa: A002 - the keyword's name
    """How the branch of a union for this ``type`` is named.

    pydantic puts it into an error's place; no key of JSON must be taken for it, as ``function`` would be.
    """
    return f"<{type}>"


def tag(type: str) -> Tag:  # noqa: A002 - the keyword's name
    """Marks the branch of a union for this ``type``."""
    return Tag(name_of_tag(type))


def by_type(*known: str, missing: str | None = None) -> Discriminator:
    """Tells the branches of a union apart by ``type``, or `missing`; every other type has the tag ``unsupported``."""

    def kind(value: Any) -> str:
        found = value.get("type", missing) if isinstance(value, dict) else None
        return name_of_tag(found if found in known else "unsupported")

    return Discriminator(kind)


def refused(thing: Unsupported, things: str, where: str) -> UnsupportedParameter:
    """The error that names a type which is not supported."""
    return UnsupportedParameter(f"{things} of type {thing.type!r} are not supported here.", param=f"{where}.type")


class RunRequest(WireModel):
    """A whole request. Subclasses add the fields they honour and say of every field of the schema what it means."""

    fields_table: ClassVar[Mapping[str, Field]]

    model: str
    stream: bool | None = None

    @classmethod
    def parse(cls, payload: Mapping[str, Any]) -> Self:
        """Check a JSON object.

        Raises:
            UnsupportedParameter: for a field that the table refuses.
            InvalidValue: naming the first field that is wrong.
        """
        for name, field in _treated(cls, Treatment.REFUSED):
            if name in payload and not _is_harmless(payload[name], field):
                raise UnsupportedParameter(f"The parameter {name!r} is not supported here.", param=name)
        try:
            request = cls.model_validate(payload)
        except ValidationError as error:
            raise _invalid(error, payload) from None
        return request

    def recorded(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """What of `payload` goes into the record without being bound to anything; of unknown keys their names."""
        recorded = {
            name: _bounded(payload[name])
            for name, _ in _treated(type(self), Treatment.RECORDED)
            if payload.get(name) is not None
        }
        unknown = [name for name in payload if name not in self.fields_table]
        if unknown:
            recorded["unknown_keys"] = [name[:_KEY_CHARACTERS] for name in sorted(unknown)[:_RECORDED_KEYS]]
        return recorded

    @abstractmethod
    def agent_request(self, context: RunContext) -> AgentRequest:
        """The same request in no endpoint's dialect.

        Raises:
            APIError: for what the schema cannot say, e.g. a tool result that answers no call.
        """


@cache
def _treated(model: type[RunRequest], treatment: Treatment) -> Sequence[tuple[str, Field]]:
    """The rows of a table that are treated so, in order. Null asks for nothing, and is harmless in each."""
    return [(name, field) for name, field in model.fields_table.items() if field.treatment is treatment]


def _bounded(value: Any) -> Any:
    """`value`, or its beginning: a client's megabytes have no place in a run's row."""
    if isinstance(value, str):
        return value[:RECORDED_CHARACTERS]
    spelled = json.dumps(value, ensure_ascii=False)
    return value if len(spelled) <= 20 * RECORDED_CHARACTERS else spelled[:RECORDED_CHARACTERS]


def _is_harmless(value: Any, field: Field) -> bool:
    return any(value == harmless and type(value) is type(harmless) for harmless in field.harmless)


def _invalid(error: ValidationError, payload: Mapping[str, Any]) -> InvalidValue:
    """The error of a union's branch that got furthest tells most, and of the right type more than of a wrong one."""
    details = [(_path(item, payload), item) for item in error.errors(include_url=False)]
    path, _ = max(details, key=lambda pair: len(pair[0]))
    item = max((item for at, item in details if at == path), key=lambda item: not item["type"].endswith("_type"))
    param = _spell(path)
    told = "Input should be an object" if item["type"] in _NO_OBJECT else item["msg"]
    if item["type"] in _OF_NO_BRANCH:
        # It is told of the object; what is wrong is the key that tells the branches apart.
        param = f"{param}.{item['ctx']['discriminator'].strip(chr(39))}"
        told = f"Input should be one of {item['ctx'].get('expected_tags')}"
    if item["type"] in ("missing", "union_tag_not_found"):
        return MissingParameter(param)
    return InvalidValue(f"{param}: {told}.", param=param)


_NO_OBJECT = frozenset({"model_type", "model_attributes_type", "dict_type"})
"""Errors whose own words name our classes."""

_OF_NO_BRANCH = frozenset({"union_tag_invalid", "union_tag_not_found"})
"""Errors of an object that may be one of several, and is none."""


def _path(item: ErrorDetails, payload: Mapping[str, Any]) -> list[str | int]:
    """The error's place in the payload: pydantic's own names of union branches are left out."""
    path: list[str | int] = []
    here: Any = payload
    last = len(item["loc"]) - 1
    for position, step in enumerate(item["loc"]):
        if _leads_on(here, step):
            here = here[step]
        elif not (item["type"] == "missing" and position == last):
            continue
        path.append(step)
    return path


def _leads_on(here: Any, step: str | int) -> bool:
    if isinstance(step, str):
        return isinstance(here, Mapping) and step in here
    return isinstance(here, list) and step < len(here)


def _spell(path: list[str | int]) -> str:
    """``messages[0].content``"""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")
