"""Writes the parts of the guides that are made from the code: ``python -m tests.docs``."""

import os
from collections.abc import Iterator
from pathlib import Path

import django

DOCS = Path(__file__).resolve().parent.parent / "gateway_project" / "docs"

_HEAD = """# Fields and errors

What happens to each field of a request. *Honoured*: checked, and passed to the agent. What changes the output's shape
and the agent cannot do (tools, a JSON format, several choices, log probabilities) is refused by name; hints (sampling,
`stop` and limits of length, effort, verbosity, `parallel_tool_calls`) it may ignore. *Recorded only*: kept with the run,
bound to nothing. *Refused*: a 400 that names it, unless it is null or a value that asks for nothing. Other keys are
tolerated and ignored. Made from the code by `python -m tests.docs`.
"""

_ERRORS = """
## Errors

Every error is JSON: `{"error": {"message", "type", "param", "code"}}`. In a Chat Completions stream it is a frame of
that shape before `[DONE]`, in a Responses stream a `response.failed` with the same code.

| status | code | when | `x-should-retry` |
|---|---|---|---|
| 400 | `invalid_json`, `invalid_value`, `missing_required_parameter`, `unsupported_parameter` | the request is wrong; `param` says where | |
| 400 | `invalid_host` | the Host header is not in `ALLOWED_HOSTS` | |
| 400 | `context_length_exceeded` | the conversation does not fit | |
| 401 | `invalid_api_key` | no key, or not a usable one | |
| 404 | `model_not_found` | no such model, or not for this key | |
| 405 | `method_not_allowed` | `Allow` says which are | |
| 413 | `request_too_large` | the body is over the limit | |
| 415 | `unsupported_media_type` | no JSON, or compressed | |
| 429 | `queue_full`, `rate_limit_exceeded` | too many wait, or the key has used up its rate; `Retry-After` | true |
| 500 | `internal_error` | the agent or the server failed | |
| 502, 504 | `upstream_…` | what is behind the agent failed | |
| 503 | `queue_timeout` | no place became free; `Retry-After` | true |
| 503 | `database_unavailable`, `journal_unavailable` | the database is away; `Retry-After` | true |
| 503 | `shutting_down` | the process ends; `Retry-After` | true |
| 503 | `run_cancelled` | somebody cancelled the run | false |
| 504 | `run_timeout` | the run took too long | false |
"""


def fields() -> str:
    """The whole of ``fields.md``."""
    return _HEAD + "".join(_tables()) + _ERRORS


def _tables() -> Iterator[str]:
    from completions.schema import ChatCompletionRequest
    from responses.schema import ResponseRequest

    for title, request in (
        ("POST /v1/chat/completions", ChatCompletionRequest),
        ("POST /v1/responses", ResponseRequest),
    ):
        yield f"\n## `{title}`\n\n| field | treatment | let pass |\n|---|---|---|\n"
        for name, field in request.fields_table.items():
            passed = ", ".join(f"`{value!r}`" for value in field.harmless if value is not None)
            yield f"| `{name}` | {field.treatment.value} | {passed} |\n"


def main() -> None:
    """Write them."""
    (DOCS / "fields.md").write_text(fields())


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
