"""What the source of an input is taken for."""

import pytest

from gateway_project.execution.inputs.source import declared_type, is_url, parted


@pytest.mark.parametrize("source", ["https://example.com/a.png", "ftp://host/a", "HTTP://x", "file:///etc/passwd"])
def test_it_is_a_url(source: str) -> None:
    assert is_url(source)


@pytest.mark.parametrize("source", ["data:image/png;base64,AAAA", "AAAA", "", "//host/a", "1https://host/a"])
def test_it_is_no_url(source: str) -> None:
    assert not is_url(source)


@pytest.mark.parametrize(
    ("source", "head", "data", "declared"),
    [
        ("data:image/png;base64,AAAA", "data:image/png;base64", "AAAA", "image/png"),
        ("DATA:;base64,AAAA,BB", "DATA:;base64", "AAAA,BB", ""),
        ("data:,", "data:", "", ""),
        ("AAAA", "", "AAAA", ""),
        ("AA,AA", "", "AA,AA", ""),
        (f"data:{'x' * 1000},AAAA", "", f"data:{'x' * 1000},AAAA", ""),
    ],
)
def test_it_is_parted_before_its_data(source: str, head: str, data: str, declared: str) -> None:
    assert parted(source) == (head, data)
    assert declared_type(head) == declared
