"""LangChain's ChatOpenAI."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def weather(location: str) -> str:
    """The weather somewhere."""
    return f"sunny in {location}"


def _model(command, **options):
    return ChatOpenAI(
        model=command.model,
        base_url=command.base_url,
        api_key=command.api_key,
        use_responses_api=command.endpoint == "responses",
        **options,
    )


def plain(command):
    return {"text": _model(command).invoke("Say something.").text}


def streamed(command):
    pieces = [chunk.text for chunk in _model(command).stream("Say something.") if chunk.text]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def tools(command):
    model = _model(command).bind_tools([weather])
    messages = [HumanMessage("Weather?")]
    messages.append(model.invoke(messages))
    [call] = messages[-1].tool_calls
    messages.append(ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]))
    return {"text": model.invoke(messages).text}


def abort(command):
    stream = _model(command).stream("Say something.")
    first = next(chunk.text for chunk in stream if chunk.text)
    stream.close()
    return {"text": first}


def timeout(command):
    return {"text": _model(command, timeout=1.0).invoke("Say something.").text}
