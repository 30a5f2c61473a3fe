"""Tells a driver, a process in which the clients of one language live, what to do."""

import json
import os
import selectors
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests import services
from tests.e2e.gateway import Gateway, Row, wait_for

HERE = Path(__file__).resolve().parent
Language = Literal["python", "node"]
Endpoint = Literal["chat", "responses"]


@dataclass(frozen=True)
class Client:
    """A client, what it speaks, and what of the scenarios it knows nothing of."""

    name: str
    language: Language
    endpoints: tuple[Endpoint, ...] = ("chat", "responses")
    lacks: frozenset[str] = frozenset()


CLIENTS = (
    Client("by_openai", "python"),
    Client("by_openai_agents", "python"),
    Client("by_pydantic_ai", "python"),
    Client("by_langchain_openai", "python"),
    Client("by_instructor", "python"),
    Client("by_llm", "python", lacks=frozenset({"timeout"})),
    Client("by_openai", "node"),
    Client("by_ai_sdk_openai", "node"),
    Client("by_ai_sdk_openai_compatible", "node", endpoints=("chat",)),
    Client("by_ai_sdk_open_responses", "node", endpoints=("responses",)),
)


class Driver:
    """A running driver. It is started at the first command, and again when one hung."""

    def __init__(self, language: Language, folder: Path) -> None:
        self._log = folder / f"{language}.log"
        self._command = {
            "python": [str(services.CLIENTS_PYTHON), str(HERE / "drivers")],
            "node": ["node", str(HERE / "js" / "main.mjs")],
        }[language]
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, command: Mapping[str, Any], *, within: float = 180) -> dict[str, Any]:
        """Have a command done, and return what came of it."""
        if self._process is None:
            kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=kept, cwd=HERE
                )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(within) else b""
        if not line:
            self.stop()
            asked = f"{command['client']}, {command['scenario']}"
            raise AssertionError(f"no answer came within {within} s to: {asked}\n{self._log.read_text()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass
class Case:
    """One client on one endpoint of one server."""

    client: Client
    endpoint: Endpoint
    driver: Driver
    gateway: Gateway

    def do(self, scenario: str, model: str) -> dict[str, Any]:
        """Have the client play a scenario with a model."""
        return self.driver.ask(
            {
                "client": self.client.name,
                "scenario": scenario,
                "endpoint": self.endpoint,
                "base_url": f"http://127.0.0.1:{self.gateway.port}/v1",
                "api_key": self.gateway.key,
                "model": model,
            }
        )

    def ended(self, since: set[str]) -> list[Row]:
        """The runs that came after those of `since`, each at its end."""
        store = self.gateway.store
        fresh = wait_for(lambda: [row["id"] for row in store.runs() if row["id"] not in since], what="a run")
        return [store.ended(run_id) for run_id in fresh]
