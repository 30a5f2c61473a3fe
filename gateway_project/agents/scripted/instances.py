"""A JSON schema → a small instance of it. For agents that have to answer in a shape and have nothing to say.

Source: JSON Schema 2020-12, "Core" and "Validation", and ``definitions`` of the older drafts.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Schema = Any
"""A JSON schema as a client sends it: an object, or a boolean."""

_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "json-pointer": "",
    "regex": "a",
}
_TEXT = "text"
_SAMPLES = (_TEXT, "", "a", "A", "0", "ab", "AB", "a0", "A0", "00", "000", "0000", "00000", "0.0", *_FORMATS.values())
"""Strings to try where a pattern is wanted. They are short: a pattern may be one that takes exponential time."""

_UNKNOWN = frozenset(
    {
        "not", "if", "contains", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
        "dependencies", "$dynamicRef", "$recursiveRef",
    }
)  # fmt: skip
"""Keywords that may forbid what is made here without regard to them."""

_MOST_STEPS = 10_000
_MOST_CHARACTERS = 10_000
_DEEPEST = 60


class NoInstance(ValueError):
    """The schema allows no value, or none that can be found here, or is no schema."""


def instance_of(schema: Schema, *, type: str | None = None) -> Any:  # noqa: A002 - the keyword's name
    """A value that is valid against `schema`, and one of `type` if that is given.

    An object has its required properties only, an array as few items as it may, and of alternatives the first
    that works is taken. The same schema always gives the same value.

    Raises:
        NoInstance: if there is none, it takes too long, or the schema cannot be read.
    """
    wanted = schema if type is None else {"allOf": [{"type": type}, schema]}
    try:
        return _Maker(schema).make(wanted, _Path())
    except NoInstance:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, re.error) as error:
        raise NoInstance(f"This is no JSON schema: {error}") from error


@dataclass(frozen=True, slots=True)
class _Path:
    """How deep a value is, and through which references it was come to."""

    depth: int = 0
    references: frozenset[str] = frozenset()

    def below(self) -> "_Path":
        if self.depth == _DEEPEST:
            raise NoInstance("The schema is nested too deeply.")
        return _Path(self.depth + 1, self.references)

    def through(self, reference: str) -> "_Path":
        if reference in self.references:
            raise NoInstance(f"{reference} needs itself.")
        return _Path(self.depth, self.references | {reference})

    def with_all(self, other: "_Path") -> "_Path":
        return _Path(self.depth, self.references | other.references)


@dataclass(slots=True)
class _Flat:
    """A schema without references and ``allOf``: one set of keywords, and the alternatives still to choose from."""

    path: _Path
    keywords: dict[str, Any] = field(default_factory=dict)
    choices: list[list[Schema]] = field(default_factory=list)


class _Maker:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._steps = 0

    def make(self, schema: Schema, path: _Path) -> Any:
        """A value for `schema`."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise NoInstance("The schema takes too long.")
        flat = _Flat(path)
        self._flatten(schema, flat, path)
        if not flat.choices:
            return self._value(flat.keywords, flat.path)
        alternatives, *rest = flat.choices
        others = [{"anyOf": choice} for choice in rest]
        for alternative in alternatives:
            try:
                return self.make({"allOf": [flat.keywords, alternative, *others]}, flat.path.below())
            except NoInstance as error:
                reason = error
        raise NoInstance(f"No alternative works: {reason}" if alternatives else "There is no alternative.")

    def _flatten(self, schema: Schema, flat: _Flat, path: _Path) -> None:
        if schema is False:
            raise NoInstance("The schema forbids every value.")
        if schema is True:
            return
        own = dict(schema)
        reference = own.pop("$ref", None)
        if reference is not None:
            flat.path = flat.path.with_all(path.through(reference))
            self._flatten(self._resolve(reference), flat, path.through(reference).below())
        for part in own.pop("allOf", ()):
            self._flatten(part, flat, path.below())
        flat.choices += [own.pop(name) for name in ("anyOf", "oneOf") if name in own]
        for name, value in own.items():
            flat.keywords[name] = _both(name, flat.keywords[name], value) if name in flat.keywords else value

    def _resolve(self, reference: str) -> Schema:
        if reference != "#" and not reference.startswith("#/"):
            raise NoInstance(f"{reference} is elsewhere.")
        found = self._root
        for step in reference.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        return found

    def _value(self, keywords: Mapping[str, Any], path: _Path) -> Any:
        for keyword in _UNKNOWN & keywords.keys():
            raise NoInstance(f"{keyword} is not understood.")
        if "const" in keywords or "enum" in keywords:
            return _one_of(keywords)
        reason: NoInstance | None = None
        for kind in _types(keywords):
            try:
                return self._of_type(kind, keywords, path)
            except NoInstance as error:
                reason = error
        raise reason or NoInstance("No type is allowed.")

    def _of_type(self, kind: str, keywords: Mapping[str, Any], path: _Path) -> Any:
        match kind:
            case "object":
                return self._object(keywords, path)
            case "array":
                return self._array(keywords, path)
            case "string":
                return _string(keywords)
            case "integer" | "number":
                return _number(keywords, whole=kind == "integer")
            case "boolean":
                return False
            case "null":
                return None
            case _:
                raise NoInstance(f"{kind!r} is no type.")

    def _object(self, keywords: Mapping[str, Any], path: _Path) -> dict[str, Any]:
        properties = keywords.get("properties", {})
        others = keywords.get("additionalProperties", True)
        required = keywords.get("required", [])
        made = {name: self.make(properties.get(name, others), path.below()) for name in required}
        for name in properties:
            if len(made) >= keywords.get("minProperties", 0):
                break
            if name not in made:
                made[name] = self.make(properties[name], path.below())
        if not keywords.get("minProperties", 0) <= len(made) <= keywords.get("maxProperties", math.inf):
            raise NoInstance("No object has so many properties.")
        return made

    def _array(self, keywords: Mapping[str, Any], path: _Path) -> list[Any]:
        first = keywords.get("prefixItems", [])
        others = keywords.get("items", True)
        if isinstance(others, list):  # drafts before 2020-12
            first, others = others, keywords.get("additionalItems", True)
        fewest = keywords.get("minItems", 0)
        made: list[Any] = []
        while len(made) < fewest:
            made.append(self.make(first[len(made)] if len(made) < len(first) else others, path.below()))
        if fewest > keywords.get("maxItems", math.inf):
            raise NoInstance("No array is so short and so long.")
        if keywords.get("uniqueItems") and any(item in made[:index] for index, item in enumerate(made)):
            raise NoInstance("No different items were found.")
        return made


def _both(name: str, one: Any, other: Any) -> Any:
    """The value of a keyword that demands what two values of it demand."""
    match name:
        case "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties":
            return max(one, other)
        case "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties":
            return min(one, other)
        case "required":
            return [*one, *(value for value in other if value not in one)]
        case "enum":
            return [value for value in one if value in other]
        case "type":
            return [kind for kind in _with_integer(one) if kind in _with_integer(other)]
        case "properties":
            return {
                **one,
                **{key: {"allOf": [one[key], value]} if key in one else value for key, value in other.items()},
            }
        case "items" | "additionalProperties":
            return {"allOf": [one, other]}
        case "const" | "pattern" | "multipleOf" | "prefixItems" if one != other:
            raise NoInstance(f"Two different values of {name} are too much.")
        case _:
            return other


def _with_integer(types: str | list[str]) -> list[str]:
    listed = [types] if isinstance(types, str) else types
    return [*listed, "integer"] if "number" in listed and "integer" not in listed else listed


_TYPE_OF = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def _one_of(keywords: Mapping[str, Any]) -> Any:
    allowed = keywords.get("enum", [keywords.get("const")])
    types = keywords.get("type")
    for value in allowed:
        fits = types is None or _TYPE_OF.get(type(value), "null") in _with_integer(types)
        if fits and ("const" not in keywords or value == keywords["const"]):
            return value
    raise NoInstance("None of the values listed is allowed.")


def _types(keywords: Mapping[str, Any]) -> Iterator[str]:
    """The types to try. A schema that names none tells by its other keywords which it means."""
    given = keywords.get("type")
    if given is not None:
        yield from [given] if isinstance(given, str) else given
    elif keywords.keys() & {"properties", "required", "additionalProperties", "minProperties"}:
        yield "object"
    elif keywords.keys() & {"items", "prefixItems", "minItems"}:
        yield "array"
    elif keywords.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}:
        yield "number"
    else:
        yield "string"


def _string(keywords: Mapping[str, Any]) -> str:
    shortest, longest = keywords.get("minLength", 0), keywords.get("maxLength", _MOST_CHARACTERS)
    if not shortest <= min(longest, _MOST_CHARACTERS):
        raise NoInstance("No text is so long.")
    pattern = keywords.get("pattern")
    shape = _FORMATS.get(keywords.get("format", ""))
    if shape is not None:
        samples: tuple[str, ...] = (shape,)
    elif pattern is None:
        samples = (_TEXT[:longest].ljust(shortest, "."),)
    else:
        samples = _SAMPLES
    for sample in samples:
        if shortest <= len(sample) <= longest and (pattern is None or re.search(pattern, sample)):
            return sample
    raise NoInstance("No text of this pattern was found.")


def _number(keywords: Mapping[str, Any], *, whole: bool) -> float:
    """The number nearest to zero, or near to that."""
    step = keywords.get("multipleOf", 1)
    low, high = keywords.get("minimum", -math.inf), keywords.get("maximum", math.inf)
    above, below = keywords.get("exclusiveMinimum", -math.inf), keywords.get("exclusiveMaximum", math.inf)
    floor, ceiling = max(low, above), min(high, below)
    near = 0 if floor <= 0 <= ceiling else floor if floor > 0 else ceiling
    multiples = [times * step for times in range(math.floor(near / step) - 1, math.ceil(near / step) + 2)]
    between = [] if "multipleOf" in keywords else [near, (floor + ceiling) / 2]
    for value in sorted(multiples, key=lambda multiple: abs(multiple - near)) + between:
        if low <= value <= high and above < value < below and (not whole or float(value).is_integer()):
            return int(value) if float(value).is_integer() else value
    raise NoInstance("No number is in these bounds.")
