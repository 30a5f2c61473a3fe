"""The tools of a Responses request and the choice among them.

Functions are the client's to run. Tools of other types would be the server's: those are left out, which the run's
record says, unless the choice asks for one. Source: Open Responses, OpenAPI file, ``ResponsesToolParam``,
``ToolChoiceParam``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field as Constraint

from gateway_project.agents.request import ToolChoice
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import Few, Unsupported, WireModel, by_type, refused, tag
from gateway_project.transport.tools import FunctionDefinition, check_offered


class Function(FunctionDefinition):
    """A function among the tools."""

    type: Literal["function"]


Tool = Annotated[Annotated[Function, tag("function")] | Annotated[Unsupported, tag("unsupported")], by_type("function")]


class NamedFunction(WireModel):
    """A function by its name: as a choice, the one that must be called."""

    type: Literal["function"]
    name: str


class AllowedTools(WireModel):
    """Only these tools may be called, or one of them must be."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required", "none"] | None = None
    tools: Annotated[
        Few[
            Annotated[
                Annotated[NamedFunction, tag("function")] | Annotated[Unsupported, tag("unsupported")],
                by_type("function"),
            ]
        ],
        Constraint(min_length=1, max_length=128),
    ]


Choice = (
    Literal["none", "auto", "required"]
    | Annotated[
        Annotated[NamedFunction, tag("function")]
        | Annotated[AllowedTools, tag("allowed_tools")]
        | Annotated[Unsupported, tag("unsupported")],
        by_type("function", "allowed_tools"),
    ]
)


def functions_of(tools: Sequence[Function | Unsupported] | None) -> list[Function]:
    """The tools that are supported."""
    return [tool for tool in tools or () if isinstance(tool, Function)]


def left_out(tools: Sequence[Function | Unsupported] | None) -> list[str]:
    """The types of the others."""
    return sorted({tool.type for tool in tools or () if isinstance(tool, Unsupported)})


def chosen(choice: Choice | None, functions: Sequence[Function]) -> ToolChoice:
    """What the request says of calling `functions`.

    Raises:
        InvalidValue: for a choice that names what is not offered.
        UnsupportedParameter: for one that asks for a tool which is not run here.
    """
    match choice:
        case None:
            return ToolChoice()
        case NamedFunction():
            check_offered(choice.name, functions, "tool_choice.name")
            return ToolChoice("function", choice.name)
        case AllowedTools():
            return _allowed(choice, functions)
        case Unsupported():
            raise refused(choice, "Choices", "tool_choice")
        case _:
            if choice == "required" and not functions:
                message = "'tool_choice' is 'required' but there is no function to call."
                raise InvalidValue(message, param="tool_choice")
            return ToolChoice(choice)


def _allowed(choice: AllowedTools, functions: Sequence[Function]) -> ToolChoice:
    named = [tool for tool in choice.tools if isinstance(tool, NamedFunction)]
    if not named:
        raise refused(choice.tools[0], "Tools", "tool_choice.tools[0]")  # type: ignore[arg-type]  # no NamedFunction
    for index, tool in enumerate(choice.tools):
        if isinstance(tool, NamedFunction):
            check_offered(tool.name, functions, f"tool_choice.tools[{index}].name")
    return ToolChoice(choice.mode or "auto", allowed=frozenset(tool.name for tool in named))
