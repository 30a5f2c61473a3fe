"""The OpenAI Agents SDK. Only its tracing is off, which would send to OpenAI."""

import asyncio
from contextlib import asynccontextmanager

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)
MODELS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


@function_tool
def weather(location: str) -> str:
    """The weather somewhere."""
    return f"sunny in {location}"


@asynccontextmanager
async def _agent(command, *, tools=(), **options):
    async with AsyncOpenAI(base_url=command.base_url, api_key=command.api_key, **options) as client:
        model = MODELS[command.endpoint](model=command.model, openai_client=client)
        yield Agent(name="tester", instructions="Be brief.", model=model, tools=list(tools))


async def _run(command, **options):
    async with _agent(command, **options) as agent:
        result = await Runner.run(agent, "Say something.")
    return {"text": result.final_output}


def plain(command):
    return asyncio.run(_run(command))


def tools(command):
    return asyncio.run(_run(command, tools=[weather]))


def timeout(command):
    return asyncio.run(_run(command, timeout=1.0))


def streamed(command):
    async def run():
        async with _agent(command) as agent:
            result = Runner.run_streamed(agent, "Say something.")
            pieces = [delta async for event in result.stream_events() if (delta := _delta(event))]
        return {"text": result.final_output, "pieces": len(pieces)}

    return asyncio.run(run())


def abort(command):
    async def run():
        async with _agent(command) as agent:
            result = Runner.run_streamed(agent, "Say something.")
            async for event in result.stream_events():
                if delta := _delta(event):
                    result.cancel()
                    break
        return {"text": delta}

    return asyncio.run(run())


def _delta(event):
    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
        return event.data.delta
    return ""
