"""The protocols' OpenAPI files as their makers published them, and what they say of a JSON value."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

OPEN_RESPONSES = "open-responses"
OPENAI_RESPONSES = "openai-responses-crud"
OPENAI_CHAT = "openai-chat-completions"


@cache
def schemas(document: str) -> dict[str, Any]:
    """The schemas of a document by name."""
    contents = json.loads((Path(__file__).parent / f"{document}.openapi.json").read_text())
    return {name: _with_null(schema) for name, schema in contents["components"]["schemas"].items()}


def properties(document: str, schema: str) -> set[str]:
    """The names of a schema's properties, with those that it takes from others."""
    return set(_properties(document, {"$ref": f"#/components/schemas/{schema}"}))


def faults(document: str, schema: str, value: Any) -> list[str]:
    """What of `value` the schema does not allow, a line each; an empty list when all is well."""
    return [f"{error.json_path}: {error.message}" for error in _validator(document, schema).iter_errors(value)]


@cache
def _validator(document: str, schema: str) -> Draft202012Validator:
    contents = {"components": {"schemas": schemas(document)}}
    resource: Resource[Any] = DRAFT202012.create_resource(contents)
    registry: Registry[Any] = Registry().with_resource("spec:", resource)
    return Draft202012Validator({"$ref": f"spec:#/components/schemas/{schema}"}, registry=registry)


def _properties(document: str, schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _properties(document, schemas(document)[schema["$ref"].rpartition("/")[2]])
    for part in schema.get("allOf", ()):
        yield from _properties(document, part)
    yield from schema.get("properties", ())


def _with_null(schema: Any) -> Any:
    """OpenAI's files say ``nullable``, a word of OpenAPI 3.0 that JSON Schema does not know."""
    if isinstance(schema, list):
        return [_with_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {key: _with_null(part) for key, part in schema.items() if key != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if schema.get("nullable") is True else rest
