"""What is kept of a draft: redacted before it is cut, bounded, honest about both, and never raw where a hook fails."""

import hashlib
import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from gateway_project import clock, ids
from gateway_project.content_modes import ContentMode, mode_in_force
from gateway_project.runs.content.cutter import MARGIN
from gateway_project.runs.content.drafting import (
    Draft,
    Piece,
    digest_of_answer,
    digest_of_request,
    dumps,
    encoded,
    kept_beside,
    record_of,
)
from gateway_project.runs.content.record import ContentRecord

SALT = bytes(range(16))
SECRET = "sk-proj-abcdefghijklmnop1234"


def piece(text: str, *, delivered: int | None = None, held: int | None = None, **about: Any) -> Piece:
    digest = hashlib.sha256(SALT + encoded(text)).digest()
    kept = text if held is None else text[:held]
    return Piece({"type": "text"} | about, kept, len(text), len(text) if delivered is None else delivered, digest)


def drafted(mode: str, *texts: str, answered: tuple[Piece, ...] = (), **beside: Any) -> ContentRecord:
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]} for text in texts]
    asked = {"messages": messages, **beside}
    run_id, at = ids.new_run_id(), clock.now()
    return record_of(Draft(run_id=run_id, at=at, mode=ContentMode(mode), asked=asked, answered=answered, salt=SALT))


def texts_of(record: ContentRecord) -> list[str]:
    return [message["content"][0]["text"] for message in json.loads(record.request)["messages"]]


def shout(text: str) -> str:
    """A hook."""
    return text.replace("dull", "DULL")


def fail(text: str) -> str:
    """A hook that fails, with the text in its message."""
    raise ValueError(text)


def fail_later(text: str) -> str:
    """A hook that fails with the answer, when the request is redacted already."""
    return fail(text) if "well" in text else text


def nothing(text: str) -> Any:
    """A hook that forgets to return."""


seen: list[int] = []


def measure(text: str) -> str:
    """A hook that remembers how much it was given."""
    seen.append(len(text))
    return text


def leave(text: str) -> str:
    sys.exit(text)


def use(settings: Settings, **fields: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | fields


@pytest.mark.parametrize("hook", ["fail", "fail_later", "leave", "nothing", "is_not_there"])
def test_where_a_hook_fails_no_text_is_kept_but_a_digest(
    settings: Settings, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    use(settings, CONTENT_REDACTION=["gateway_project.runs.content.secrets.redact_secrets", f"{__name__}.{hook}"])
    with caplog.at_level(logging.ERROR):
        record = drafted("redacted", "hello nina", answered=(piece("well nina"),))
    assert (record.request, record.answer) == ("", "")
    assert record.request_digest.startswith(f"sha256:{SALT.hex()}:")
    assert record.answer_digest
    assert "no text was kept" in record.remarks
    assert "nina" not in caplog.text + record.remarks
    assert [each.message for each in caplog.records] == ["content.not_kept"]


@pytest.mark.parametrize("hooks", [["fail"], ["leave"], ["nothing"], ["is_not_there"], []])
def test_what_stands_beside_the_content_is_not_kept_where_redaction_fails(
    settings: Settings, caplog: pytest.LogCaptureFixture, hooks: list[str]
) -> None:
    use(settings, CONTENT_REDACTION=[f"{__name__}.{hook}" for hook in hooks])
    assert kept_beside("hello nina", ContentMode.REDACTED, run_id=ids.new_run_id(), most=100) is None
    assert "nina" not in caplog.text
    assert [each.message for each in caplog.records] == ["content.not_kept"]


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("none", None),
        ("digest", None),
        ("redacted", f"{'x' * 80} [redacted: API key]"),
        ("full", f"{'x' * 80} {SECRET}"[:100]),
    ],
)
def test_what_stands_beside_the_content_is_kept_as_that_is_and_redacted_before_it_is_cut(
    mode: str, kept: str | None
) -> None:
    found = kept_beside(f"{'x' * 80} {SECRET}", ContentMode(mode), run_id=ids.new_run_id(), most=100)
    assert found == kept


@pytest.mark.parametrize("mode", ["digest", "redacted", "full"])
def test_json_too_deep_to_be_written_costs_its_content_and_nothing_else(mode: str) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = {"properties": deep}
    record = drafted(mode, "hello", tools=[{"name": "f", "parameters": deep}])
    assert (record.request, record.answer, record.request_digest) == ("", "", "")
    assert record.remarks == "It could not be prepared (RecursionError): nothing of it was kept."


def test_hooks_are_asked_in_order_and_replace_the_default(settings: Settings) -> None:
    use(settings, CONTENT_REDACTION=[f"{__name__}.shout"])
    assert texts_of(drafted("redacted", f"dull {SECRET}")) == [f"DULL {SECRET}"]
    assert texts_of(drafted("full", f"dull {SECRET}")) == [f"dull {SECRET}"]


def test_no_digest_of_the_whole_stands_beside_a_text_with_gaps() -> None:
    """Whoever knows all but a card's digits could try them."""
    record = drafted("redacted", "card 4111 1111 1111 1111", answered=(piece("well"),))
    assert (record.request_digest, record.answer_digest) == ("", "")


def test_a_digest_can_be_made_again_by_whoever_has_the_text() -> None:
    record = drafted("digest", "hello", answered=(piece("well"), piece("done", choice=1)))
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
    assert record.request_digest == digest_of_request(asked, SALT)
    assert record.request_digest.split(":")[2] == hashlib.sha256(SALT + dumps(asked).encode()).hexdigest()
    assert record.answer_digest == digest_of_answer([piece("well"), piece("done", choice=1)], SALT)
    assert record.answer_digest != digest_of_answer([piece("well"), piece("don", choice=1)], SALT)
    assert (record.request, record.answer, record.answer_characters) == ("", "", 8)


@pytest.mark.parametrize("mode", ["full", "redacted"])
def test_of_a_long_conversation_the_end_is_kept(settings: Settings, mode: str) -> None:
    use(settings, CONTENT_CHARACTERS=1000)
    record = drafted(mode, *[f"{number}:{'x' * 300}" for number in range(10)], tools=["y" * 5000])
    assert len(record.request) < 1500
    assert texts_of(record)[-1].startswith("9:")
    left_out = 10 - len(texts_of(record))
    assert record.remarks == f"The request was cut: {left_out} earlier messages are left out."
    assert json.loads(record.request)["messages_left_out"] == left_out
    assert record.request_characters > 8000


def test_an_answer_is_cut_at_its_end(settings: Settings) -> None:
    use(settings, CONTENT_CHARACTERS=100)
    record = drafted("full", "hello", answered=(piece("a" * 80), piece("b" * 80, type="reasoning"), piece("c")))
    first, second = json.loads(record.answer)
    assert (first["text"], second["type"]) == ("a" * 80, "reasoning")
    assert 0 < len(second["text"]) < 20
    assert sum(len(entry["text"]) for entry in json.loads(record.answer)) <= 100
    assert (record.remarks, record.answer_characters) == ("The answer was cut.", 161)


@given(before=st.integers(0, 250), most=st.integers(60, 200))
def test_no_half_of_a_secret_is_left_by_a_cut(before: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        from gateway_project.conf import GatewaySettings
        from gateway_project.runs.content import drafting

        patch.setattr(drafting, "gateway_settings", lambda: GatewaySettings(CONTENT_CHARACTERS=most))
        text = "x" * before + " " + SECRET + " " + "y" * 2 * MARGIN
        record = drafted("redacted", text, answered=(piece(text, held=most + MARGIN),))
    assert "sk-" not in record.request
    assert "sk-" not in record.answer


@pytest.mark.parametrize("inside", range(1, len(SECRET) - 1))
def test_nor_where_what_comes_before_it_shrinks(settings: Settings, inside: int) -> None:
    """A key of many characters becomes a few words: what is beyond the cut must not move in front of it."""
    use(settings, CONTENT_CHARACTERS=200)
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY----- "
    key = begin + "A" * (200 + MARGIN - len(begin + end) - inside) + end
    record = drafted("redacted", key + SECRET + "y" * MARGIN, answered=(piece(key + SECRET, held=200 + MARGIN),))
    assert "sk" not in record.request.replace("[redacted: private key]", "")
    assert "sk" not in record.answer


@given(delivered=st.integers(0, 60))
def test_where_delivery_ended_is_told_in_the_redacted_text_and_gives_no_secret_away(delivered: int) -> None:
    text = f"the key {SECRET} is yours"
    record = drafted("redacted", "hello", answered=(piece(text, delivered=min(delivered, len(text))),))
    [entry] = json.loads(record.answer)
    assert entry["text"] == "the key [redacted: API key] is yours"
    assert SECRET[:6] not in record.answer
    ends = entry.get("delivered", len(entry["text"]))
    if delivered <= len("the key "):
        assert ends == delivered
    elif delivered >= len(f"the key {SECRET}"):
        assert len(entry["text"]) - ends == max(0, len(text) - delivered)
    else:  # Half a secret was delivered: before it, or behind it where the half is known for one by itself.
        assert ends in (len("the key "), len("the key [redacted: API key]"))


def test_a_value_may_be_a_secret_by_its_name_alone() -> None:
    metadata = {"password": "correct horse battery", "api_key": 12345, "order": "7"}
    kept = json.loads(drafted("redacted", "hello", metadata=metadata).request)["metadata"]
    assert kept == {"password": "[redacted: password]", "api_key": "[redacted: secret]", "order": "7"}


def test_a_key_is_not_read_much_farther_than_it_may_be_kept(settings: Settings) -> None:
    use(settings, CONTENT_REDACTION=(f"{__name__}.measure",))
    seen.clear()
    kept = json.loads(drafted("redacted", "hello", metadata={"k" * 1_000_000: 1}).request)["metadata"]
    assert kept == {"k" * 1000: 1}
    assert max(seen) < 2 * MARGIN


def test_a_key_that_holds_a_secret_does_not_come_back_as_its_value(settings: Settings) -> None:
    use(settings, CONTENT_CHARACTERS=2000)
    record = drafted("redacted", "hello", metadata={f"{SECRET} " + "k" * 100_000: 1, f"{SECRET} of": 2})
    assert len(record.request) < 4000
    assert json.loads(record.request)["metadata"]["[redacted: API key] of"] == 2


@pytest.mark.parametrize("inside", range(1, len(SECRET) - 1))
def test_no_half_of_a_secret_is_left_by_the_cut_of_a_key(inside: int) -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY----- "
    key = begin + "A" * (1000 + MARGIN - len(begin + end) - inside) + end + SECRET + "y" * MARGIN
    record = drafted("redacted", "hello", metadata={key: 1})
    assert "sk" not in record.request.replace("[redacted: private key]", "")


def test_the_data_of_a_data_url_in_a_text_is_not_kept_in_any_mode() -> None:
    text = f"see ![](data:image/png;base64,{'QUJD' * 1000}) here"
    [kept] = texts_of(drafted("full", text))
    assert kept.startswith("see ![](data:image/png;base64,[4000 characters, sha256 ")
    assert len(kept) < 200


@pytest.mark.parametrize("mode", ["digest", "redacted", "full"])
@given(text=st.text(max_size=40))
def test_any_text_can_be_kept(mode: str, text: str) -> None:
    for spoiled in (text, f"{text}\x00\ud800"):
        record = drafted(mode, spoiled, answered=(piece(spoiled),))
        assert "\x00" not in record.request + record.answer
        (record.request + record.answer + record.remarks).encode()
        assert "failed" not in record.remarks


@pytest.mark.parametrize(
    ("default", "said", "asked", "mode"),
    [
        ("none", (), "", "none"),
        ("full", (), "", "full"),
        ("full", ("", "digest"), "", "digest"),
        ("none", ("full", ""), "", "full"),
        ("full", ("redacted", "none"), "full", "none"),
        ("none", ("full", "redacted"), "", "redacted"),
        ("full", ("", ""), "redacted", "redacted"),
        ("digest", (), "full", "digest"),
    ],
)
def test_who_decides(default: str, said: tuple[str, ...], asked: str, mode: str) -> None:
    assert mode_in_force(default, said, asked) == mode
