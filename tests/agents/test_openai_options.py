"""Wrong options of the agent `openai` are told at the start, without repeating a secret."""

from typing import Any

import pytest

from gateway_project.agents.openai import OpenAIAgent
from gateway_project.agents.openai.options import OpenAIOptions

SECRET = "sk-secret-0123456789"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"base_url": "http://localhost:11434/v1/", "api_key": None},
        {"base_url": "http://[::1]:8080/v1"},
        {
            "api_key": SECRET + "\n",
            "model": "gpt-5",
            "models": ["gpt-5", "gpt-5-mini"],
            "headers": {"x-title": "Shop"},
            "connect_timeout": 0.5,
            "first_byte_timeout": 10,
            "silence_timeout": 10,
            "max_connections": 5,
            "extra_body": {"top_k": 1},
            "stream_usage": False,
            "max_tokens_field": "max_tokens",
            "developer_role": "system",
            "supports": ["tools"],
        },
    ],
)
def test_good_options_are_silent(options: dict[str, Any]) -> None:
    assert list(OpenAIAgent.check(options)) == []
    assert OpenAIAgent("openai", options).name == "openai"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"base_ulr": "x"}, "'base_ulr' is not a known option. Did you mean 'base_url'?"),
        ({"retries": 3}, "'retries' is not a known option."),
        ({"base_url": 3}, "'base_url' must be a string, not int."),
        ({"base_url": "localhost:8080"}, "'base_url' must be a URL such as 'http://localhost:8080/v1'."),
        ({"base_url": "http://localhost:port/v1"}, "'base_url' must be a URL such as 'http://localhost:8080/v1'."),
        ({"base_url": ""}, "'base_url' must be a URL such as 'http://localhost:8080/v1'."),
        (
            {"base_url": f"http://user:{SECRET}@host/v1"},
            "'base_url' must hold no user or password; use 'api_key' or 'headers'.",
        ),
        ({"base_url": "http://host/v1?key=x"}, "'base_url' must have no query and no fragment."),
        (
            {"base_url": "http://host/v1/chat/completions"},
            "'base_url' must end before '/chat/completions', which is added.",
        ),
        ({"api_key": [SECRET]}, "'api_key' must be a string, not list."),
        ({"api_key": f"{SECRET}\r\nx: y"}, "'api_key' must be printable ASCII."),
        ({"headers": [SECRET]}, "'headers' must be a dict, not list."),
        ({"headers": {"x": f"{SECRET}\n"}}, "'headers': 'x' must be a string of printable ASCII."),
        ({"headers": {"x": 1}}, "'headers': 'x' must be a string of printable ASCII."),
        ({"connect_timeout": 0}, "'connect_timeout' must be a number above zero."),
        ({"silence_timeout": "10"}, "'silence_timeout' must be a number above zero."),
        ({"first_byte_timeout": float("inf")}, "'first_byte_timeout' must be a number above zero."),
        ({"max_connections": 1.5}, "'max_connections' must be a whole number above zero."),
        ({"max_connections": True}, "'max_connections' must be a whole number above zero."),
        ({"models": "gpt-5"}, "'models' must be a list of strings."),
        ({"extra_body": {"stream": False, "messages": []}}, "'extra_body' must not set 'messages'."),
        ({"stream_usage": 1}, "'stream_usage' must be True or False."),
        (
            {"max_tokens_field": "max_token"},
            "'max_tokens_field' must be 'max_tokens' or 'max_completion_tokens'. Did you mean 'max_tokens'?",
        ),
        ({"developer_role": "user"}, "'developer_role' must be 'developer' or 'system'."),
        ({"supports": ["json_shema"]}, "'supports' does not know 'json_shema'. Did you mean 'json_schema'?"),
    ],
)
def test_each_wrong_option_is_named(options: dict[str, Any], sentence: str) -> None:
    found = list(OpenAIAgent.check(options))
    assert sentence in found
    assert SECRET not in "".join(found)


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(list(OpenAIAgent.check({"modle": "x", "models": 3, "silence_timeout": -1}))) == 3


def test_wrong_options_are_refused_when_the_check_was_not_made() -> None:
    with pytest.raises(ValueError, match="Did you mean 'base_url'"):
        OpenAIAgent("openai", {"base_ulr": "x"})


def test_no_representation_shows_a_secret() -> None:
    options = {"api_key": SECRET, "headers": {"api-key": SECRET}}
    agent = OpenAIAgent("openai", options)
    assert SECRET not in f"{agent!r} {agent.options!r} {OpenAIOptions(**options)!r}"  # type: ignore[arg-type]


def test_an_agent_supports_everything_unless_it_is_narrowed() -> None:
    every = OpenAIAgent("openai", {})
    assert every.supports_tools
    assert every.supports_logprobs
    narrow = OpenAIAgent("openai", {"supports": ["tools"]})
    assert narrow.supports_tools
    assert not narrow.supports_logprobs
    assert not OpenAIAgent("openai", {"supports": []}).supports_tools


def test_models_and_the_default_are_as_configured() -> None:
    agent = OpenAIAgent("openai", {"model": "gpt-5", "models": ["gpt-5", "o3"]})
    assert (agent.default_model, agent.models()) == ("gpt-5", ("gpt-5", "o3"))
    assert agent.has_model("anything/else")
    assert not OpenAIAgent("openai", {}).has_model("")


def test_the_pool_bounds_the_runs_so_that_they_wait_in_the_gateways_queue() -> None:
    assert OpenAIAgent("openai", {"max_connections": 7}).max_concurrent == 7
