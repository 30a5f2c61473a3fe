"""How a request's JSON becomes a checked request: pydantic models, and one table of fields an endpoint."""

import uuid
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from gateway_project.access.principal import Principal
from gateway_project.agents.request import AgentRequest
from gateway_project.transport.errors import InvalidValue, UnsupportedParameter


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a request needs besides itself to become an `AgentRequest`."""

    run_id: uuid.UUID
    model: str
    principal: Principal


class WireModel(BaseModel):
    """A part of a request: strict types, unknown keys tolerated (real clients send more than the schema says)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


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
        for name, field in cls.fields_table.items():
            if field.treatment is Treatment.REFUSED and not _is_harmless(payload.get(name), field):
                raise UnsupportedParameter(f"The parameter {name!r} is not supported here.", param=name)
        try:
            request = cls.model_validate(payload)
        except ValidationError as error:
            raise _invalid(error, payload) from None
        return request

    def recorded(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """What of `payload` goes into the record without being bound to anything."""
        return {
            name: payload[name]
            for name, field in self.fields_table.items()
            if field.treatment is Treatment.RECORDED and payload.get(name) is not None
        }

    @abstractmethod
    def agent_request(self, context: RunContext) -> AgentRequest:
        """The same request in no endpoint's dialect.

        Raises:
            APIError: for what the schema cannot say, e.g. a tool result that answers no call.
        """


def _is_harmless(value: Any, field: Field) -> bool:
    return any(value == harmless and type(value) is type(harmless) for harmless in field.harmless)


def _invalid(error: ValidationError, payload: Mapping[str, Any]) -> InvalidValue:
    """The error of a union's branch that got furthest tells most."""
    details = [(_path(item, payload), item) for item in error.errors(include_url=False, include_context=False)]
    path, item = max(details, key=lambda pair: len(pair[0]))
    code = "missing_required_parameter" if item["type"] == "missing" else "invalid_value"
    param = _spell(path)
    message = f"Missing required parameter: {param!r}." if item["type"] == "missing" else f"{param}: {item['msg']}."
    return InvalidValue(message, param=param, code=code)


def _path(item: ErrorDetails, payload: Mapping[str, Any]) -> list[str | int]:
    """The error's place in the payload: pydantic's own names of union branches are left out."""
    path: list[str | int] = []
    here: Any = payload
    for step in item["loc"]:
        if _leads_on(here, step):
            here = here[step]
        elif not (item["type"] == "missing" and step == item["loc"][-1]):
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
