"""The official client."""

import json

from openai import OpenAI

PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
FUNCTION = {"name": "weather", "description": "The weather somewhere.", "parameters": PARAMETERS}


def _client(command, **options):
    return OpenAI(base_url=command.base_url, api_key=command.api_key, **options)


def _create(command, client, messages, **more):
    if command.endpoint == "responses":
        return client.responses.create(model=command.model, input=messages, **more)
    return client.chat.completions.create(model=command.model, messages=messages, **more)


def _asked():
    return [{"role": "user", "content": "Say something."}]


def _delta(command, event):
    if command.endpoint == "responses":
        return event.delta if event.type == "response.output_text.delta" else ""
    return event.choices[0].delta.content or ""


def _text(command, answer):
    return answer.output_text if command.endpoint == "responses" else answer.choices[0].message.content


def plain(command):
    with _client(command) as client:
        return {"text": _text(command, _create(command, client, _asked()))}


def streamed(command):
    with _client(command) as client, _create(command, client, _asked(), stream=True) as stream:
        pieces = [delta for event in stream if (delta := _delta(command, event))]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def tools(command):
    messages = _asked()
    with _client(command) as client:
        if command.endpoint == "responses":
            offered = [{"type": "function", "strict": False, **FUNCTION}]
            [call] = (output := _create(command, client, messages, tools=offered).output)
            result = {"type": "function_call_output", "call_id": call.call_id, "output": _weather(call)}
            messages += [*output, result]
        else:
            offered = [{"type": "function", "function": FUNCTION}]
            message = _create(command, client, messages, tools=offered).choices[0].message
            [call] = message.tool_calls
            messages += [message, {"role": "tool", "tool_call_id": call.id, "content": _weather(call.function)}]
        return {"text": _text(command, _create(command, client, messages, tools=offered))}


def abort(command):
    client = _client(command)
    stream = _create(command, client, _asked(), stream=True)
    first = next(delta for event in stream if (delta := _delta(command, event)))
    stream.close()
    return {"text": first}


def timeout(command):
    with _client(command, timeout=1.0) as client:
        return {"text": _text(command, _create(command, client, _asked()))}


def _weather(call):
    return f"sunny in {json.loads(call.arguments)['location']}"
