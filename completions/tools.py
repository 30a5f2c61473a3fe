"""The tools of a Chat Completions request, the choice among them, and their old form, ``functions``.

Source: OpenAI's OpenAPI file, ``ChatCompletionTool``, ``ChatCompletionToolChoiceOption``, ``ChatCompletionFunctions``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field as Constraint

from gateway_project.agents.request import FunctionTool, ToolChoice
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import Few, Unsupported, WireModel, by_type, refused, tag
from gateway_project.transport.tools import FunctionDefinition, check_offered


class FunctionToolParam(WireModel):
    """A tool that the client offers."""

    type: Literal["function"]
    function: FunctionDefinition


Tool = Annotated[
    Annotated[FunctionToolParam, tag("function")] | Annotated[Unsupported, tag("unsupported")], by_type("function")
]


class NamedFunction(WireModel):
    """A function by its name."""

    name: str


class NamedTool(WireModel):
    """A tool by its name: as a choice, the one that must be called."""

    type: Literal["function"]
    function: NamedFunction


class AllowedTools(WireModel):
    """The tools that may be called, or one of which must be."""

    mode: Literal["auto", "required"]
    tools: Annotated[
        Few[
            Annotated[
                Annotated[NamedTool, tag("function")] | Annotated[Unsupported, tag("unsupported")], by_type("function")
            ]
        ],
        Constraint(min_length=1, max_length=128),
    ]


class AllowedToolsChoice(WireModel):
    """Only these tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


Choice = (
    Literal["none", "auto", "required"]
    | Annotated[
        Annotated[NamedTool, tag("function")]
        | Annotated[AllowedToolsChoice, tag("allowed_tools")]
        | Annotated[Unsupported, tag("unsupported")],
        by_type("function", "allowed_tools"),
    ]
)


def offered(tools: Sequence[FunctionToolParam | Unsupported]) -> tuple[FunctionTool, ...]:
    """The tools of a request.

    Raises:
        UnsupportedParameter: for one that is no function, naming it.
    """
    found = []
    for index, tool in enumerate(tools):
        if isinstance(tool, Unsupported):
            raise refused(tool, "Tools", f"tools[{index}]")
        found.append(tool.function.as_tool())
    return tuple(found)


def chosen(choice: Choice | None, tools: Sequence[FunctionTool]) -> ToolChoice:
    """What the request says of calling `tools`.

    Raises:
        InvalidValue: for a choice that names what is not offered.
        UnsupportedParameter: for a kind of choice that is not supported.
    """
    match choice:
        case None:
            return ToolChoice()
        case NamedTool():
            check_offered(choice.function.name, tools, "tool_choice")
            return ToolChoice("function", choice.function.name)
        case AllowedToolsChoice():
            return _allowed(choice.allowed_tools, tools)
        case Unsupported():
            raise refused(choice, "Choices", "tool_choice")
        case _:
            if choice == "required" and not tools:
                raise InvalidValue("'tool_choice' is 'required' but there are no tools.", param="tool_choice")
            return ToolChoice(choice)


def chosen_function(
    choice: Literal["none", "auto"] | NamedFunction | None, tools: Sequence[FunctionTool]
) -> ToolChoice:
    """The same for ``function_call``, the old form. Raises InvalidValue."""
    if isinstance(choice, NamedFunction):
        check_offered(choice.name, tools, "function_call")
        return ToolChoice("function", choice.name)
    return ToolChoice(choice or "auto")


def _allowed(allowed: AllowedTools, tools: Sequence[FunctionTool]) -> ToolChoice:
    names = set()
    for index, tool in enumerate(allowed.tools):
        where = f"tool_choice.allowed_tools.tools[{index}]"
        if isinstance(tool, Unsupported):
            raise refused(tool, "Tools", where)
        check_offered(tool.function.name, tools, where)
        names.add(tool.function.name)
    return ToolChoice(allowed.mode, allowed=frozenset(names))
