"""Pydantic AI."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

MODELS = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}


def weather(location: str) -> str:
    """The weather somewhere."""
    return f"sunny in {location}"


def _agent(command, **options):
    provider = OpenAIProvider(base_url=command.base_url, api_key=command.api_key)
    return Agent(MODELS[command.endpoint](command.model, provider=provider), instructions="Be brief.", **options)


async def _run(command, **options):
    return {"text": (await _agent(command, **options).run("Say something.")).output}


def plain(command):
    return asyncio.run(_run(command))


def tools(command):
    return asyncio.run(_run(command, tools=[weather]))


def timeout(command):
    return asyncio.run(_run(command, model_settings={"timeout": 0.3}))


def streamed(command):
    async def run():
        async with _agent(command).run_stream("Say something.") as result:
            pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return {"text": "".join(pieces), "pieces": len(pieces)}

    return asyncio.run(run())


def abort(command):
    """As a web framework does it when its own client goes away: it cancels the task."""

    async def run():
        seen = asyncio.get_running_loop().create_future()

        async def read():
            async with _agent(command).run_stream("Say something.") as result:
                async for piece in result.stream_text(delta=True, debounce_by=None):
                    if not seen.done():
                        seen.set_result(piece)

        task = asyncio.ensure_future(read())
        text = await seen
        task.cancel()
        await asyncio.wait([task])
        return {"text": text}

    return asyncio.run(run())
