"""Writes the parts of the guides that are made from the code: ``python -m tests.docs``."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import django

from tests.spec import matrix
from tests.spec.requirements import SPECIFICATIONS, Requirement

DOCS = Path(__file__).resolve().parent.parent / "gateway_project" / "docs"

_HEAD = """# Fields and errors

What happens to each field of a request. *Honoured*: checked, and passed to the agent. What changes the output's shape
and the agent cannot do (tools, a JSON format, several choices, log probabilities) is refused by name; hints (sampling,
`stop` and limits of length, effort, verbosity, `parallel_tool_calls`) it may ignore. *Recorded only*: kept with the run,
bound to nothing. *Refused*: a 400 that names it, unless it is null or a value that asks for nothing. Other keys are
tolerated, and their names kept with the run. Made from the code by `python -m tests.docs`.
"""

_WEBSOCKET = """
## WebSocket at `/v1/responses`

A GET with `Upgrade: websocket` and the same `Authorization`; a page may send its key as one of its subprotocols,
`openai-insecure-api-key.<key>`, beside another one. A handshake that is refused is answered with a status and the JSON
of an error. Text frames of JSON go both ways.

- `{"type": "response.create", …}` takes the fields of `POST /v1/responses` without `stream`, `stream_options` and
  `background`, which are refused. The answer is the events of the stream, each in one frame, without `[DONE]`.
- One response is made at a time. Up to eight more messages wait; answers come in the order of the messages, and so do
  errors, since no frame tells which message it answers. Whoever leaves a hundred messages unanswered is closed with 1008.
- An error leaves the socket open. What the protocol itself forbids closes it: 1007 for text that is no UTF-8, 1009 for
  a message larger than `LIMITS["BODY_BYTES"]`.
- With `store: false` only the socket remembers its latest response: `previous_response_id` finds it there, until the
  next response is there, or until one that goes on from it fails; not when the conversation is longer than `BODY_BYTES`.
- Closing the socket, in whatever way, aborts what runs on it with `client_disconnect`, and drops what waits: each
  message that waited leaves a run `aborted` in the phase `queued`. `linger` means `cancel` here.
- A message is a run when its turn has come, not while it waits for the ones before it. Each is stored with
  `{"transport": "websocket"}` among its parameters.
- After `SOCKET_SECONDS` the socket is closed; a run that is not done by then is aborted as `timeout`.
- When the process ends, a run on the socket may go on for the drain time, further messages are refused with
  `shutting_down`, and then the socket is closed with 1001.
"""

_ERRORS = """
## Errors

Every error is JSON: `{"error": {"message", "type", "param", "code"}}`. In a Chat Completions stream it is a frame of
that shape before `[DONE]`, in a Responses stream a `response.failed` with the same code. On a WebSocket it is a frame
`{"type": "error", "status", "error"}` of its own, or, after the first event of a response, its `response.failed`.

| status | code | when | `x-should-retry` |
|---|---|---|---|
| 400 | `invalid_json`, `invalid_value`, `missing_required_parameter`, `unsupported_parameter` | the request is wrong; `param` says where | |
| 400 | `invalid_host` | the Host header is not in `ALLOWED_HOSTS` | |
| 400 | `websocket_connection_limit_reached` | the WebSocket was open for `SOCKET_SECONDS`; it is closed behind this | |
| 400 | `context_length_exceeded` | the conversation does not fit | |
| 400 | `invalid_content_encoding` | the body is not the gzip that it claims to be | |
| 400 | `malformed_request` | no HTTP request, or one whose end cannot be told for sure; the connection is closed | |
| 400 | `invalid_image_url`, `unsupported_file_media_type`, … | an image, sound or file cannot be taken: [Inputs](inputs.md) | |
| 401 | `invalid_api_key` | no key, or not a usable one | |
| 400 | `previous_response_not_found`, `item_not_found` | what the request continues or refers to is not there, or is somebody else's | |
| 403 | `origin_not_allowed` | a page of an origin that is not in `CORS_ORIGINS` opens a WebSocket | |
| 404 | `response_not_found` | no such response, or somebody else's | |
| 404 | `model_not_found` | no such model, or not for this key | |
| 404 | `unknown_url` | no endpoint has this path | |
| 405 | `method_not_allowed` | `Allow` says which are | |
| 408 | `request_timeout` | the request did not arrive as a whole in time | |
| 413 | `request_too_large` | the body is over the limit | |
| 415 | `unsupported_media_type` | no JSON, or compressed otherwise than by gzip | |
| 431 | `headers_too_large` | too many headers, or too large ones | |
| 429 | `queue_full`, `rate_limit_exceeded` | too many wait (on a WebSocket: more than 8), or the key has used up its rate; `Retry-After` | true |
| 500 | `internal_error` | the agent or the server failed | |
| 502 | `tool_choice_not_satisfied` | the answer does not keep to the request's `tool_choice` | |
| 502, 504 | `upstream_…` | what is behind the agent failed | |
| 503 | `queue_timeout` | no place became free; `Retry-After` | true |
| 503 | `database_unavailable` | the database is away; `Retry-After` | true |
| 503 | `shutting_down` | the process ends; `Retry-After` | true |
| 503 | `run_cancelled` | somebody cancelled the run | false |
| 504 | `run_timeout` | the run took too long | false |
"""


_MATRIX = """# Compliance

Each requirement of the protocols, in their own words for it, and the tests that hold it; then what is not supported,
with the reason. Made from the tests' markers by `python -m tests.docs`; a test fails when a requirement has neither
a test nor a reason.

Sources: OpenAI's OpenAPI file of Chat Completions and of stored responses, and the specification and OpenAPI file of
Open Responses of 2026-04-24. Every body, and every frame of every stream, is validated against them.
"""

_NOT_SUPPORTED = """
## NOT SUPPORTED

| specification | section | what happens | why | tests |
|---|---|---|---|---|
"""


def fields() -> str:
    """The whole of ``fields.md``."""
    return _HEAD + "".join(_tables()) + _WEBSOCKET + _ERRORS


def _tables() -> Iterator[str]:
    from completions.schema import ChatCompletionRequest
    from responses.compact import CompactRequest
    from responses.schema import ResponseRequest

    for title, request in (
        ("POST /v1/chat/completions", ChatCompletionRequest),
        ("POST /v1/responses", ResponseRequest),
        ("POST /v1/responses/compact", CompactRequest),
    ):
        yield f"\n## `{title}`\n\n| field | treatment | let pass |\n|---|---|---|\n"
        for name, field in request.fields_table.items():
            passed = ", ".join(f"`{value!r}`" for value in field.harmless if value is not None)
            yield f"| `{name}` | {field.treatment.value} | {passed} |\n"


def compliance() -> str:
    """The whole of ``compliance.md``."""
    held = matrix.held()
    return _MATRIX + "".join(_requirements(held)) + _NOT_SUPPORTED + "".join(_reasons(held))


def _requirements(held: Mapping[matrix.Key, Sequence[str]]) -> Iterator[str]:
    for name, rules in SPECIFICATIONS.items():
        yield f"\n## {name}\n\n| section | requirement | tests |\n|---|---|---|\n"
        for rule in rules:
            if not rule.not_supported:
                yield f"| `{rule.section}` | {rule.rule} | {_tests(held, name, rule)} |\n"


def _reasons(held: Mapping[matrix.Key, Sequence[str]]) -> Iterator[str]:
    for name, rules in SPECIFICATIONS.items():
        for rule in rules:
            if rule.not_supported:
                tests = _tests(held, name, rule)
                yield f"| {name} | `{rule.section}` | {rule.rule} | {rule.not_supported} | {tests} |\n"


def _tests(held: Mapping[matrix.Key, Sequence[str]], name: str, rule: Requirement) -> str:
    return "<br>".join(f"`{test.removeprefix('tests/')}`" for test in held.get((name, rule.section), ()))


MADE: Mapping[str, Callable[[], str]] = {"fields.md": fields, "compliance.md": compliance}
"""The guides that are made, by their names."""


def main() -> None:
    """Write them."""
    from tests import openapi

    for name, make in MADE.items():
        (DOCS / name).write_text(make())
    (DOCS / "api.openapi.json").write_text(openapi.text())


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
