"""The writer that is made once spells as the library's own does, which makes one for each text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.spelling import speller

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
OPTIONS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"default": str},
]


@pytest.mark.parametrize("options", OPTIONS)
@given(value=VALUES)
def test_it_is_the_same_text(options: dict[str, Any], value: Any) -> None:
    assert speller(**options)(value) == json.JSONEncoder(**options).encode(value)


def test_what_it_does_not_know_goes_to_its_default() -> None:
    assert speller(default=repr)({"a": {1}}) == '{"a": "{1}"}'
    with pytest.raises(TypeError):
        speller()({"a": {1}})


def test_a_circle_is_an_error() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(RecursionError):
        speller()(circle)
