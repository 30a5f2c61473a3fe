"""The suite's cases over HTTP."""

import base64
import struct
import zlib

import pytest

from tests import spec
from tests.e2e.compliance.suite import MODEL, WEATHER, completed, create, post, said, stream
from tests.e2e.conftest import ON_ONE_DATABASE, MakeGateway
from tests.e2e.gateway import Gateway

pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE, pytest.mark.compliance("Open Responses", "compliance suite")]


def test_basic_response(gateway: Gateway) -> None:
    create(gateway, [said("user", "Say hello in exactly 3 words.")])


def test_assistant_phase(gateway: Gateway) -> None:
    history = [
        said("assistant", "I should answer with the saved number.", phase="commentary"),
        said("assistant", "The number is four.", phase="final_answer"),
    ]
    create(gateway, [*history, said("user", "Repeat only the number.")])


def test_streaming_response(gateway: Gateway) -> None:
    turn = stream(gateway, [said("user", "Count from 1 to 5.")])
    assert turn.faults == []
    completed(turn.response)
    assert [event["sequence_number"] for event in turn.events] == list(range(len(turn.events)))


def test_system_prompt(gateway: Gateway) -> None:
    pirate = said("system", "You are a pirate. Always respond in pirate speak.")
    create(gateway, [pirate, said("user", "Say hello.")])


def test_tool_calling(gateway: Gateway) -> None:
    response = create(gateway, [said("user", "What's the weather like in San Francisco?")], tools=[WEATHER])
    assert "function_call" in [item["type"] for item in response["output"]]


def test_image_input(gateway: Gateway) -> None:
    question = {"type": "input_text", "text": "What do you see in this image?"}
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{base64.b64encode(_red_dot()).decode()}"}
    response = create(gateway, [said("user", [question, image])])
    assert "1 image" in response["output"][0]["content"][0]["text"]


def test_multi_turn(gateway: Gateway) -> None:
    history = [said("user", "My name is Alice."), said("assistant", "Hello Alice! Nice to meet you.")]
    create(gateway, [*history, said("user", "What is my name?")])


def test_compact_response(gateway: Gateway) -> None:
    history = [said("user", "We agreed to launch on Tuesday."), said("assistant", "Understood: Tuesday.")]
    body = {"model": MODEL, "prompt_cache_key": "compact-test", "input": history}
    reply = post(gateway, body, "/v1/responses/compact")
    assert reply.status == 200, reply.body
    assert spec.faults(spec.OPEN_RESPONSES, "CompactResource", reply.json) == []
    assert reply.json["object"] == "response.compaction"
    assert "compaction" in [item["type"] for item in reply.json["output"]]


def test_compact_missing_model(gateway: Gateway) -> None:
    reply = post(gateway, {"input": [said("user", "Compact this conversation.")]}, "/v1/responses/compact")
    assert reply.status in (400, 422)


@pytest.mark.compliance("HTTP", "Server-sent events")
def test_a_heartbeat_costs_no_event(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(HEARTBEAT_SECONDS=0.05)
    turn = stream(gateway, "Count.", model="scripted/slow-5x200ms")
    assert [read for read in turn.reads if read.startswith(b":")] != []
    assert turn.faults == []
    completed(turn.response)
    assert [event["sequence_number"] for event in turn.events] == list(range(len(turn.events)))


def _red_dot() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
