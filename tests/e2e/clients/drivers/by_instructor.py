"""Instructor. What it is asked for is an object; by default it gets it as the arguments of a tool call."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import instructor
from openai import AsyncOpenAI
from pydantic import BaseModel

MODES = {"chat": instructor.Mode.TOOLS, "responses": instructor.Mode.RESPONSES_TOOLS}
MESSAGES = [{"role": "user", "content": "Where?"}]


class Place(BaseModel):
    city: str
    days: int


@asynccontextmanager
async def _client(command, mode=None, **options):
    async with AsyncOpenAI(base_url=command.base_url, api_key=command.api_key, **options) as client:
        yield instructor.from_openai(client, mode=mode or MODES[command.endpoint])


async def _create(command, **options):
    async with _client(command, **options) as client:
        made = await client.create(model=command.model, messages=MESSAGES, response_model=Place)
    return {"text": made.model_dump_json()}


def plain(command):
    """With a JSON schema, where that can be had."""
    mode = instructor.Mode.JSON_SCHEMA if command.endpoint == "chat" else None
    return asyncio.run(_create(command, mode=mode))


def tools(command):
    return asyncio.run(_create(command))


def timeout(command):
    return asyncio.run(_create(command, timeout=1.0))


@asynccontextmanager
async def _partials(command):
    async with _client(command) as client:
        stream = client.create_partial(model=command.model, messages=MESSAGES, response_model=Place)
        async with aclosing(stream):
            yield stream


def streamed(command):
    async def run():
        async with _partials(command) as stream:
            partials = [partial async for partial in stream]
        return {"text": partials[-1].model_dump_json(), "pieces": len(partials)}

    return asyncio.run(run())


def abort(command):
    async def run():
        async with _partials(command) as stream:
            partial = await anext(stream)
        return {"text": partial.model_dump_json()}

    return asyncio.run(run())
