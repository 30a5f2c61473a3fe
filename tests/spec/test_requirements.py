"""The matrix of compliance is whole: every requirement has its test, or a reason why it is not kept to."""

import ast
from collections import Counter
from collections.abc import Mapping

import pytest

from completions.schema import ChatCompletionRequest
from gateway_project.transport.schema import RunRequest, Treatment
from responses.compact import CompactRequest
from responses.schema import ResponseRequest
from tests import spec
from tests.spec import matrix
from tests.spec.requirements import SPECIFICATIONS, Requirement

RULES: Mapping[matrix.Key, Requirement] = {
    (name, rule.section): rule for name, rules in SPECIFICATIONS.items() for rule in rules
}


def test_every_marker_names_a_requirement() -> None:
    assert sorted(matrix.held().keys() - RULES.keys()) == []


def test_every_requirement_has_a_test_or_a_reason() -> None:
    unsupported = {key for key, rule in RULES.items() if rule.not_supported}
    assert sorted(RULES.keys() - matrix.held().keys() - unsupported) == []


def test_no_requirement_stands_twice() -> None:
    assert [key for key, count in Counter(matrix.required()).items() if count > 1] == []


@pytest.mark.parametrize(
    ("specifications", "request_model"),
    [
        (("Chat Completions",), ChatCompletionRequest),
        (("Open Responses", "OpenAI Responses"), ResponseRequest),
        (("Open Responses", "OpenAI Responses"), CompactRequest),
    ],
)
def test_every_field_of_a_request_has_a_requirement(
    specifications: tuple[str, ...], request_model: type[RunRequest]
) -> None:
    for name, field in request_model.fields_table.items():
        rule = next((RULES[key, name] for key in specifications if (key, name) in RULES), None)
        assert rule is not None, name
        refused = field.treatment is Treatment.REFUSED and request_model is not CompactRequest
        assert not refused or rule.not_supported, name
        assert field.treatment is not Treatment.HONOURED or name == "stream_options" or not rule.not_supported, name


def test_every_event_of_open_responses_has_a_requirement() -> None:
    """What is done has its requirement with what was begun."""
    for name, schema in spec.schemas(spec.OPEN_RESPONSES).items():
        if name.endswith("StreamingEvent"):
            [event] = schema["properties"]["type"]["enum"]
            begun = event.removesuffix(".done")
            found = {("Open Responses", section) for section in (event, f"{begun}.delta", f"{begun}.added")}
            assert found & RULES.keys(), event


def test_markers_are_found_wherever_they_may_stand() -> None:
    source = """
pytestmark = [pytest.mark.e2e, pytest.mark.compliance("A", "all")]

@pytest.mark.compliance("A", "one", "two")
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.compliance("B", "three"))])
async def test_x(x): ...

def no_test(): ...
"""
    assert list(matrix._marks(ast.parse(source))) == [
        ("test_x", ("A", "all")),
        ("test_x", ("A", "one")),
        ("test_x", ("A", "two")),
        ("test_x", ("B", "three")),
    ]


def test_a_marker_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="malformed"):
        list(matrix._marks(ast.parse("@pytest.mark.compliance(A, 'one')\ndef test_x(): ...")))
