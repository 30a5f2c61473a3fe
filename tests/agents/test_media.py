"""Images, audio and files: what an agent takes, and what it is refused for by name."""

from typing import Any

import pytest

from gateway_project import ids
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import UnsupportedRequest
from gateway_project.agents.function import FunctionAgent
from gateway_project.agents.local import LocalAgent
from gateway_project.agents.openai import OpenAIAgent
from gateway_project.agents.openai.options import OpenAIOptions
from gateway_project.agents.openai.request import request_object
from gateway_project.agents.request import (
    AgentRequest,
    AnyMedia,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    RefusalPart,
    Role,
    TextPart,
)
from gateway_project.agents.scripted import ScriptedAgent
from tests.agents.asking import ask, text_of

IMAGE = ImagePart(where="messages[0].content[1].image_url", media_type="image/png", data=b"cat", detail="low")
AUDIO = AudioPart(where="messages[0].content[2].input_audio", media_type="audio/mpeg", data=b"la")
FILE = FilePart(where="messages[0].content[3].file", media_type="application/pdf", data=b"%PDF-", filename="a.pdf")


def of(*parts: Any, role: Role = "user") -> AgentRequest:
    return AgentRequest(run_id=ids.new_run_id(), model="m", messages=(Message(role, parts),))


def function(*supports: str) -> Agent:
    return FunctionAgent("mine", {"function": "tests.agents.functions.answer", "supports": list(supports)})


def openai(**options: Any) -> Agent:
    return OpenAIAgent("openai", {"base_url": "http://localhost:9/v1", **options})


def refused_by(agent: Agent, part: AnyMedia, role: Role = "user") -> bool:
    """Whether `agent` refuses `part`, naming it."""
    try:
        agent.check_request(of(TextPart("look"), part, role=role))
    except UnsupportedRequest as error:
        assert error.param == part.where
        assert repr(agent.name) in error.message
        return True
    return False


@pytest.mark.parametrize(
    ("agent", "image", "audio", "file"),
    [
        (function(), True, True, False),
        (function("images"), False, True, False),
        (function("audio", "files"), True, False, False),
        (LocalAgent("local", {}), True, True, False),
        (ScriptedAgent("scripted", {}), False, False, False),
        (openai(), False, False, False),
        (openai(supports=["tools"]), True, True, False),
    ],
    ids=lambda value: value.name if isinstance(value, Agent) else str(value),
)
def test_what_is_refused_by_whom(agent: Agent, image: bool, audio: bool, file: bool) -> None:
    assert [refused_by(agent, part) for part in (IMAGE, AUDIO, FILE)] == [image, audio, file]


def test_files_go_as_they_are_to_openai_only_unless_the_options_say_so() -> None:
    assert not openai().supports_files
    assert openai(base_url="https://api.openai.com/v1").supports_files
    assert openai(supports=["files"]).supports_files
    assert not openai(base_url="https://api.openai.com/v1", supports=[]).supports_files


@pytest.mark.parametrize("role", ["system", "developer", "tool"])
def test_an_upstream_takes_them_in_a_users_message_only(role: Role) -> None:
    reads_text, reads_files = openai(), openai(supports=["images", "audio", "files"])
    assert refused_by(reads_text, IMAGE, role)
    assert refused_by(reads_text, AUDIO, role)
    assert not refused_by(reads_text, FILE, role)
    assert refused_by(reads_files, FILE, role)


def test_an_upstream_gets_them_in_its_own_dialect() -> None:
    nameless = FilePart(where="x", media_type="text/csv", data=b"a,b")
    [message] = request_object(of(TextPart("look"), IMAGE, AUDIO, FILE, nameless), OpenAIOptions())["messages"]
    assert message["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,Y2F0", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "bGE=", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"filename": "file", "file_data": "data:text/csv;base64,YSxi"}},
    ]


def test_what_is_not_said_of_them_is_left_out() -> None:
    plain = ImagePart(where="x", media_type="image/png", data=b"cat")
    sound = AudioPart(where="x", media_type="audio/wav", data=b"la")
    [message] = request_object(of(RefusalPart("no"), plain, sound), OpenAIOptions())["messages"]
    assert message["content"] == [
        {"type": "refusal", "refusal": "no"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,Y2F0"}},
        {"type": "input_audio", "input_audio": {"data": "bGE=", "format": "wav"}},
    ]
    assert message["refusal"] == "no"


async def test_scripted_says_what_it_got() -> None:
    said = text_of(await ask(ScriptedAgent("s", {}), "echo", messages=of(TextPart("see"), IMAGE, FILE).messages))
    assert said == "see [image image/png 3 bytes] [file application/pdf 5 bytes]"


def test_a_repr_shows_no_content() -> None:
    assert "cat" not in repr(IMAGE)
