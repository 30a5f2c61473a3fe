"""The text of a file. What has to be parsed is parsed in a process of its own, which can be stopped at any moment.

A thread could not: a file made to keep a parser busy would go on after its client had left, and hold up the others.
"""

import asyncio
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from weakref import WeakKeyDictionary

from gateway_project.execution.inputs.kinds import decode
from gateway_project.execution.inputs.problems import InputProblem
from gateway_project.input_settings import InputSettings

PARSED = {"text/html": "html", "application/pdf": "pdf"}
"""What is not text as it stands, with the name that `extract` has for it."""

_PROGRAM = Path(__file__).with_name("extract.py")
_KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LD_LIBRARY_PATH")
"""What of the environment the process is given: it reads hostile files and needs no secrets."""
_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def text_of(data: bytes, media_type: str, limits: InputSettings) -> str:
    """The text of a file, up to the limit; what is left out is said.

    Raises:
        InputProblem: when it holds none, or none that is found in time.
    """
    text: str | None
    if media_type in PARSED:
        text, is_whole = await _extracted(data, PARSED[media_type], limits)
    else:
        text, is_whole = decode(data), True
        if text is None:
            raise InputProblem("type", f"A file of type {media_type} has no text that this agent could read.")
    if not text.strip():
        raise InputProblem("text", "The file holds no text.")
    if len(text) > limits.TEXT_CHARACTERS or not is_whole:
        return text[: limits.TEXT_CHARACTERS] + "\n[The rest of the file is left out.]"
    return text


async def _extracted(data: bytes, kind: str, limits: InputSettings) -> tuple[str, bool]:
    """What the other process finds, and whether that is all."""
    if kind == "pdf" and find_spec("pypdf") is None:
        raise InputProblem("type", "PDF files are not read here.")
    async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(limits.CONVERSIONS)):
        output = await _run(data, kind, limits)
    found = json.loads(output) if output else {"problem": "The file cannot be read."}
    if "problem" in found:
        raise InputProblem("text", str(found["problem"]))
    return str(found["text"]), bool(found["whole"])


async def _run(data: bytes, kind: str, limits: InputSettings) -> bytes:
    bounds = (limits.TEXT_CHARACTERS, limits.PDF_PAGES, int(limits.TEXT_SECONDS) + 1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(_PROGRAM), kind, *map(str, bounds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _KEPT if name in os.environ},
    )
    try:
        async with asyncio.timeout(limits.TEXT_SECONDS):
            output, _ = await process.communicate(data)
    except TimeoutError:
        raise InputProblem("text", "Reading the file took too long.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output
