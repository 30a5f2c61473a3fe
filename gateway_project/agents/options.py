"""A backend's ``OPTIONS``: a dataclass says which there are; reading and checking follow from it."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from gateway_project.agents.base import Agent
from gateway_project.conf import did_you_mean, wrong_type

ABILITIES = tuple(name.removeprefix("supports_") for name in vars(Agent) if name.startswith("supports_"))
"""What an agent may be able to do, as an option ``supports`` spells it: ``tools``, ``json_schema``, …"""

_Options = TypeVar("_Options")


def problems(cls: type[Any], options: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with `options` for the dataclass `cls`, a sentence each. Values are never repeated:
    they may be secrets. None stands for an option that is not given.
    """
    hints = get_type_hints(cls)
    for key, value in options.items():
        if key not in hints:
            yield sentence(f"{key!r} is not a known option.", did_you_mean(str(key), hints))
        elif value is not None:
            wrong = wrong_type(hints[key], value, zero=False)
            if wrong:
                yield f"{key!r} {wrong}"
    for field in fields(cls):
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and options.get(field.name) is None:
            yield f"{field.name!r} is missing."
    abilities = options.get("supports")
    if "supports" in hints and abilities is not None and not wrong_type(tuple[str, ...], abilities):
        for name in abilities:
            if name not in ABILITIES:
                yield sentence(f"'supports' does not know {name!r}.", did_you_mean(name, ABILITIES))


def read(cls: type[_Options], options: Mapping[str, Any]) -> _Options:
    """Make the dataclass `cls` of `options`.

    Raises:
        ValueError: naming all that `problems` finds.
    """
    found = list(problems(cls, options))
    if found:
        raise ValueError(" ".join(found))
    given = {key: value for key, value in options.items() if value is not None}
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def declare(agent: Agent, abilities: tuple[str, ...]) -> None:
    """Let this very agent support just `abilities`, whatever its class says."""
    for name in ABILITIES:
        setattr(agent, f"supports_{name}", name in abilities)


def sentence(text: str, hint: str | None) -> str:
    """`text` with a hint behind it, if there is one."""
    return f"{text} {hint}" if hint else text
