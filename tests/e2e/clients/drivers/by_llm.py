"""Simon Willison's llm. It has no time-out."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import llm

_FOLDER = tempfile.TemporaryDirectory()
os.environ["LLM_USER_PATH"] = _FOLDER.name


def weather(location: str) -> str:
    """The weather somewhere."""
    return f"sunny in {location}"


def _describe(command):
    described = (
        f"- model_id: tested\n  model_name: {command.model}\n  api_base: {command.base_url}\n  api_key_name: tested\n"
        f"  responses: {str(command.endpoint == 'responses').lower()}\n  supports_tools: true\n"
    )
    Path(_FOLDER.name, "extra-openai-models.yaml").write_text(described)


def _model(command):
    _describe(command)
    model = llm.get_model("tested")
    model.key = command.api_key
    return model


def plain(command):
    return {"text": _model(command).prompt("Say something.", stream=False).text()}


def streamed(command):
    pieces = [piece for piece in _model(command).prompt("Say something.", stream=True) if piece]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def tools(command):
    chain = _model(command).chain("Weather?", tools=[weather], stream=False)
    return {"text": "".join(chain)}


def abort(command):
    """Ctrl-C at the command line."""
    _describe(command)
    arguments = ["prompt", "--model", "tested", "--key", command.api_key, "Say something."]
    command_line = [sys.executable, "-m", "llm", *arguments]
    with subprocess.Popen(command_line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        first = process.stdout.read(len("alpha"))
        process.send_signal(signal.SIGINT)
    return {"text": first.decode()}
