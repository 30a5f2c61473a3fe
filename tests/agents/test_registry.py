"""From a client's ``model`` to an agent."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from gateway_project import conf
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import ModelNotFound, UnsupportedRequest
from gateway_project.agents.events import AgentEvent, Finish
from gateway_project.agents.registry import Registry, registry
from gateway_project.agents.request import AgentRequest, FunctionTool, ResponseFormat, ToolChoice
from gateway_project.agents.signal import AbortSignal
from tests.agents.asking import request_for

SCRIPTED = "gateway_project.agents.scripted.ScriptedAgent"
LAST_WORD = "tests.agents.test_registry.LastWordAgent"


class LastWordAgent(Agent):
    """Takes any model, and remembers what was asked of it besides runs."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.events: list[str] = []

    def load(self) -> None:
        self.events.append("load")

    async def close(self) -> None:
        self.events.append("close")

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        yield Finish("stop")


def _registry(**gateway: Any) -> Registry:
    agents = {"scripted": {"BACKEND": SCRIPTED}, "any": {"BACKEND": LAST_WORD, "OPTIONS": {"x": 1}}}
    settings, problems = conf.read({"AGENTS": agents} | gateway)
    assert settings is not None, problems
    return Registry(settings)


def _resolve(found: Registry, name: str, allowed: frozenset[str] | None = None) -> tuple[str, str]:
    target = found.resolve(name, allowed)
    return target.agent.name, target.model


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scripted", ("scripted", "echo")),
        ("scripted/count-3", ("scripted", "count-3")),
        ("any", ("any", "")),
        ("any/vendor/model", ("any", "vendor/model")),
        ("gpt-4o", ("scripted", "count-3")),
        ("short", ("scripted", "echo")),
    ],
)
def test_a_name_is_an_alias_an_agent_or_a_model_of_one(name: str, expected: tuple[str, str]) -> None:
    found = _registry(MODELS={"gpt-4o": "scripted/count-3", "short": "scripted"})
    assert _resolve(found, name) == expected


def test_an_alias_hides_an_agent_of_that_name() -> None:
    assert _resolve(_registry(MODELS={"any": "scripted/count-1"}), "any") == ("scripted", "count-1")


@pytest.mark.parametrize("name", ["gpt-4o", "scripted/no-such-script", "Scripted", "", "/", "/echo", " scripted"])
def test_what_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        _registry().resolve(name)
    assert caught.value.status == 404
    assert repr(name) in caught.value.message


def test_the_default_agent_takes_every_other_name_whole() -> None:
    found = _registry(DEFAULT_AGENT="any")
    assert _resolve(found, "gpt-4o") == ("any", "gpt-4o")
    assert _resolve(found, "vendor/model") == ("any", "vendor/model")
    assert _resolve(found, "scripted/count-1") == ("scripted", "count-1")


def test_the_default_agent_may_refuse_a_name() -> None:
    with pytest.raises(ModelNotFound):
        _registry(DEFAULT_AGENT="scripted").resolve("gpt-4o")


def test_an_agent_that_is_not_allowed_looks_like_one_that_is_not_there() -> None:
    found = _registry(MODELS={"gpt-4o": "any/x"})
    allowed = frozenset({"scripted"})
    assert _resolve(found, "scripted", allowed) == ("scripted", "echo")
    messages = set()
    for name in ("any", "any/x", "gpt-4o", "missing"):
        with pytest.raises(ModelNotFound) as caught:
            found.resolve(name, allowed)
        messages.add(caught.value.message.replace(repr(name), "NAME"))
    assert len(messages) == 1


def test_the_default_agent_must_be_allowed_too() -> None:
    with pytest.raises(ModelNotFound):
        _registry(DEFAULT_AGENT="any").resolve("gpt-4o", frozenset({"scripted"}))


def test_the_catalogue_lists_agents_their_models_and_aliases() -> None:
    names = dict(_registry(MODELS={"gpt-4o": "any/x"}).names())
    assert names["scripted"] == "scripted"
    assert names["scripted/count-10"] == "scripted"
    assert names["any"] == "any"
    assert names["gpt-4o"] == "any"


def test_the_catalogue_lists_only_what_is_allowed() -> None:
    found = _registry(MODELS={"gpt-4o": "any/x"})
    assert list(found.names(frozenset({"any"}))) == [("any", "any"), ("gpt-4o", "any")]
    assert list(found.names(frozenset())) == []


def test_whatever_the_catalogue_lists_can_be_resolved() -> None:
    found = _registry(MODELS={"gpt-4o": "any/x"})
    for name, owner in found.names():
        assert found.resolve(name).agent.name == owner


async def test_load_and_close_reach_every_agent() -> None:
    found = _registry()
    agent = found.agents["any"]
    assert isinstance(agent, LastWordAgent)
    found.load()
    await found.close(within=1)
    assert agent.events == ["load", "close"]
    assert agent.options == {"x": 1}


def test_a_backend_that_cannot_be_imported_names_its_setting() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"GATEWAY\['AGENTS'\]\['any'\]\['BACKEND'\]"):
        _registry(AGENTS={"any": {"BACKEND": "tests.agents.nowhere.Agent"}})


def test_the_registry_is_made_once_and_again_when_the_setting_changes() -> None:
    first = registry()
    assert registry() is first
    with override_settings(GATEWAY={"AGENTS": {"any": {"BACKEND": LAST_WORD}}}):
        assert list(registry().agents) == ["any"]
    assert list(registry().agents) == list(first.agents)
    assert registry() is not first


@pytest.mark.compliance("Chat Completions", "tools", "response_format", "n", "logprobs")
@pytest.mark.compliance("Open Responses", "tools", "text", "include")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": (FunctionTool("f"),)}, "tools"),
        ({"tool_choice": ToolChoice("required")}, "tool_choice"),
        ({"tool_choice": ToolChoice("function", "f")}, "tool_choice"),
        ({"response_format": ResponseFormat("json_object")}, "response_format"),
        ({"response_format": ResponseFormat("json_schema")}, "response_format"),
        ({"choices": 2}, "choices"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_an_agent_refuses_what_it_does_not_support(fields: dict[str, Any], param: str) -> None:
    agent = LastWordAgent("any", {})
    with pytest.raises(UnsupportedRequest) as caught:
        agent.check_request(request_for("", **fields))
    assert caught.value.param == param
    agent.check_request(request_for(""))
