"""JSON Schema → values that keep to it, mostly; and the ways in which a value is then spoilt."""

from typing import Any

from hypothesis import strategies as st

from tests import spec

Schema = dict[str, Any]

DEPTH = 5
"""How many levels deep a value may go; the files refer to themselves."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, -(10**30), 0.5, -0.0, 1e308, 5e-324]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "\0", "\uffff", "\U0001f600", "a\r\nb: c", "auto", "text", "function", "x" * 5000]),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "a", "", "\0"]), inner),
    max_leaves=8,
)


def valid(document: str, schema: Schema, depth: int = DEPTH) -> st.SearchStrategy[Any]:
    """Values for `schema`. What the generator does not know of JSON Schema makes some of them invalid."""
    if "$ref" in schema:
        return valid(document, spec.schemas(document)[schema["$ref"].rpartition("/")[2]], depth)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            branches = [valid(document, branch, depth) for branch in schema[union]]
            return st.one_of(branches)
    if "allOf" in schema:
        return st.tuples(*(valid(document, part, depth) for part in schema["allOf"])).map(_joined)
    return _of_type(document, schema, depth)


def _joined(parts: tuple[Any, ...]) -> Any:
    """What is an object in each part is one object; else the last part says what it is."""
    objects = [part for part in parts if isinstance(part, dict)]
    if len(objects) == len(parts):
        return {name: value for part in objects for name, value in part.items()}
    return parts[-1]


def _of_type(document: str, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of([_of_type(document, schema | {"type": one}, depth) for one in kind])
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
        case "string":
            least = schema.get("minLength", 0)
            return st.text(max_size=min(schema.get("maxLength", 30), least + 30), min_size=least)
        case "array":
            least = schema.get("minItems", 0)
            if depth <= 0:
                return st.just([])
            return st.lists(valid(document, schema.get("items", {}), depth - 1), min_size=least, max_size=least + 2)
        case "object":
            return _object(document, schema, depth)
        case _:
            return _object(document, schema, depth) if "properties" in schema else ANYTHING


def _object(document: str, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
    needed = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    known = {name: valid(document, part, depth - 1) for name, part in properties.items() if depth > 0 or name in needed}
    if not known:
        return st.dictionaries(st.text(max_size=5), ANYTHING, max_size=2)
    required = {name: part for name, part in known.items() if name in needed}
    return st.fixed_dictionaries(required, optional={name: p for name, p in known.items() if name not in needed})


@st.composite
def spoilt(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """A value in which something, somewhere, is replaced, removed or added."""
    value = draw(values)
    for _ in range(draw(st.integers(1, 3))):
        value = _spoil(draw, value)
    return value


def _spoil(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 3)) == 0:
            return {key: part for key, part in value.items() if key != name}
        return value | {name: _spoil(draw, value[name])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _spoil(draw, value[index]), *value[index + 1 :]]
    if isinstance(value, dict) and draw(st.booleans()):
        return value | {draw(st.text(max_size=5)): draw(ANYTHING)}
    return draw(ANYTHING)
