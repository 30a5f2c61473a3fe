"""How a request describes a function that may be called, in both protocols."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field as Constraint

from gateway_project.agents.request import FunctionTool
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import WireModel

Name = Annotated[str, Constraint(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
"""Of a function, and of the schema of an answer."""


class FunctionDefinition(WireModel):
    """A function that the client offers."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def as_tool(self) -> FunctionTool:
        """The same in no endpoint's dialect."""
        return FunctionTool(self.name, self.description, self.parameters, self.strict)


def check_offered(name: str, tools: Sequence[FunctionTool] | Sequence[FunctionDefinition], where: str) -> None:
    """Raise InvalidValue, with the place `where`, when none of `tools` is called `name`."""
    if name not in {tool.name for tool in tools}:
        raise InvalidValue(f"No tool is named {name!r}.", param=where)
