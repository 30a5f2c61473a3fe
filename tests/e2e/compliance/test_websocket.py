"""The suite's cases over a WebSocket."""

from typing import Any

import pytest

from tests.e2e.compliance.suite import MODEL, Turn, completed, post, said
from tests.e2e.compliance.websocket import Session
from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway

pytestmark = [
    pytest.mark.e2e,
    ON_ONE_DATABASE,
    pytest.mark.compliance("Open Responses", "compliance suite"),
]
UNKNOWN_CALL = [{"type": "function_call_output", "call_id": "call_missing", "output": "No such call."}]


def _completed(turn: Turn) -> Any:
    assert turn.faults == []
    return completed(turn.response)["id"]


def test_websocket_response(gateway: Gateway) -> None:
    with Session(gateway) as session:
        _completed(session.create([said("user", "Count from 1 to 3.")]))


def test_websocket_sequential_responses(gateway: Gateway) -> None:
    with Session(gateway) as session:
        ids = [_completed(session.create(f"Reply with exactly: {word}", store=False)) for word in ("first", "second")]
    assert ids[0] != ids[1]


def test_websocket_continuation(gateway: Gateway) -> None:
    with Session(gateway) as session:
        first = _completed(session.create("Remember the code word: cobalt.", store=False))
        _completed(session.create("What is the code word?", store=False, previous_response_id=first))


def test_websocket_reconnect_store_false_recovery(gateway: Gateway) -> None:
    with Session(gateway) as session:
        first = _completed(session.create("Remember the code word: copper.", store=False))
    with Session(gateway) as session:
        lost = session.create("What is the code word?", store=False, previous_response_id=first)
        assert (lost.error_code, lost.faults) == ("previous_response_not_found", [])
        _completed(session.create([said("user", "Start anew.")], store=False))


def test_websocket_previous_response_not_found(gateway: Gateway) -> None:
    with Session(gateway) as session:
        turn = session.create("This should fail.", store=False, previous_response_id="resp_missing_1764967971")
    assert (turn.error_code, turn.faults) == ("previous_response_not_found", [])


def test_websocket_failed_continuation_evicts_cache(gateway: Gateway) -> None:
    with Session(gateway) as session:
        first = _completed(session.create("Remember the code word: ember.", store=False))
        failed = session.create(UNKNOWN_CALL, store=False, previous_response_id=first)
        assert failed.error_code is not None
        retry = session.create("Try to continue.", store=False, previous_response_id=first)
    assert (retry.error_code, retry.faults) == ("previous_response_not_found", [])


def test_websocket_compact_new_chain(gateway: Gateway) -> None:
    history = [
        said("user", [{"type": "input_text", "text": "Remember the compaction code word: slate."}]),
        said("assistant", [{"type": "output_text", "text": "OK."}]),
        said("user", [{"type": "input_text", "text": "Compress this conversation."}]),
    ]
    reply = post(gateway, {"model": MODEL, "input": history}, "/v1/responses/compact")
    assert reply.status == 200, reply.body
    with Session(gateway) as session:
        _completed(session.create([*reply.json["output"], said("user", "Continue from here.")], store=False, tools=[]))
