"""Instances of JSON schemas: `jsonschema` judges them."""

import json
import re
from collections.abc import Callable
from datetime import date, datetime, time
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway_project.agents.scripted.instances import NoInstance, instance_of

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 7},
        "age": {"type": "integer", "exclusiveMinimum": 17, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        "note": {"type": "string"},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/maybe"}, "right": {"$ref": "#/$defs/maybe"}},
            "required": ["left", "right"],
        },
        "maybe": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
    },
}


def _valid(schema: Any, made: Any) -> Any:
    Draft202012Validator(schema).validate(made)
    json.dumps(made, allow_nan=False)
    return made


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        (PERSON, {"name": "text...", "age": 18, "tags": ["a", "a"]}),
        (TREE, {"left": None, "right": None}),
        ({}, "text"),
        (True, "text"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"enum": [1, "b"], "type": "string"}, "b"),
        ({"type": ["null", "string"]}, None),
        ({"type": ["array", "null"], "minItems": 1, "items": False}, None),
        ({"type": "boolean"}, False),
        ({"properties": {"a": {}}, "required": ["a", "b"]}, {"a": "text", "b": "text"}),
        ({"type": "object", "additionalProperties": {"type": "integer"}, "required": ["x"]}, {"x": 0}),
        ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "minProperties": 1}, {"a": 1}),
        ({"type": "array"}, []),
        ({"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, [1, 2, 2]),
        ({"anyOf": [False, {"type": "integer"}]}, 0),
        ({"oneOf": [{"type": "string", "maxLength": 2}, {"type": "null"}]}, "te"),
        ({"anyOf": [{"type": "string"}], "oneOf": [{"minLength": 5}, {"maxLength": 4}]}, "text."),
        (
            {
                "allOf": [
                    {"properties": {"a": {"type": "number", "minimum": 2}}, "required": ["a"]},
                    {"type": "object", "properties": {"a": {"type": "integer", "maximum": 3}}},
                ]
            },
            {"a": 2},
        ),
        ({"allOf": [{"$ref": "#/$defs/a~1b%25"}, {"maxLength": 3}], "$defs": {"a/b%": {"type": "string"}}}, "tex"),
        ({"allOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"type": "integer"}}}, 0),
        ({"type": "string", "pattern": "^[A-Z][0-9]$"}, "A0"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "maximum": -2.5}, -3),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"multipleOf": 0.5, "exclusiveMinimum": 1}, 1.5),
    ],
)
def test_the_smallest_instance_is_made(schema: Any, instance: Any) -> None:
    made = _valid(schema, instance_of(schema))
    assert made == instance
    assert type(made) is type(instance)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("date-time", datetime.fromisoformat),
        ("date", date.fromisoformat),
        ("time", time.fromisoformat),
        ("email", re.compile(r"\w+@\w+\.\w+").fullmatch),
        ("hostname", re.compile(r"\w+\.\w+").fullmatch),
        ("ipv4", IPv4Address),
        ("ipv6", IPv6Address),
        ("uri", lambda made: urlsplit(made).netloc),
        ("uuid", UUID),
        ("regex", re.compile),
    ],
)
def test_formats_are_kept(name: str, read: Callable[[str], object]) -> None:
    assert read(instance_of({"type": "string", "format": name}))


def test_a_type_may_be_wanted_besides() -> None:
    assert instance_of({}, type="object") == {}
    assert instance_of({"anyOf": [{"type": "string"}, {"type": "object"}]}, type="object") == {}
    assert instance_of({"$ref": "#/$defs/x", "$defs": {"x": {"required": ["y"]}}}, type="object") == {"y": "text"}


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"enum": []},
        {"anyOf": []},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "minLength": 10**12},
        {"type": "array", "minItems": 10**12},
        {"type": "array", "minItems": 2, "maxItems": 1},
        {"type": "array", "minItems": 2, "uniqueItems": True},
        {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "minProperties": 1},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"$ref": "#"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"not": {"type": "string"}},
        {"type": "string", "pattern": "^q{7}$"},
        {"type": "string", "pattern": "("},
        {"allOf": [{"const": 1}, {"const": 2}]},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "thing"},
        {"type": "integer", "minimum": "1"},
        {"type": "number", "multipleOf": 0},
        {"properties": [], "required": ["a"]},
        {"anyOf": 7},
        "text",
        7,
    ],
    ids=repr,
)
def test_what_has_no_instance_is_told(schema: Any) -> None:
    with pytest.raises(NoInstance):
        instance_of(schema)


def test_a_schema_that_grows_without_end_is_given_up() -> None:
    nested: Any = {"type": "null"}
    for _ in range(2000):
        nested = {"allOf": [nested]}
    with pytest.raises(NoInstance, match="deeply"):
        instance_of(nested)
    doubling: Any = {"$defs": {"d0": {"type": "null"}}, "$ref": "#/$defs/d30"}
    for level in range(30):
        doubling["$defs"][f"d{level + 1}"] = {"type": "array", "items": {"$ref": f"#/$defs/d{level}"}, "minItems": 2}
    with pytest.raises(NoInstance, match="too long"):
        instance_of(doubling)


_LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 9)}),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"minimum": st.integers(-9, 9)}),
    st.fixed_dictionaries({"type": st.just("integer"), "exclusiveMaximum": st.integers(-9, 9)}),
    st.fixed_dictionaries({"enum": st.lists(st.integers() | st.sampled_from(["", "x"]), min_size=1, max_size=3)}),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, True]),
)


def _branches(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(schemas, min_size=1, max_size=3)
    arrays = st.fixed_dictionaries({"type": st.just("array"), "items": schemas, "minItems": st.integers(0, 2)})
    objects = st.dictionaries(st.sampled_from("abcd"), schemas).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties)[::2],
            "additionalProperties": False,
        }
    )
    return st.one_of(arrays, objects, st.fixed_dictionaries({"anyOf": several}), objects.map(lambda o: {"allOf": [o]}))


@given(st.recursive(_LEAVES, _branches, max_leaves=12))
def test_whatever_schema_is_built_of_these_has_a_valid_instance(schema: Any) -> None:
    _valid(schema, instance_of(schema))
