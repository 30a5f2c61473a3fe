"""The contract every agent backend keeps."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from gateway_project.agents.errors import UnsupportedRequest
from gateway_project.agents.events import AgentEvent, Said
from gateway_project.agents.request import AgentRequest, AnyMedia, Message
from gateway_project.agents.signal import AbortSignal


class Agent(ABC):
    """Something that can be asked and answers with events.

    A backend is made once a process from ``GATEWAY["AGENTS"][name]``; `run` is called once a request, many
    at a time. It knows neither endpoint, neither HTTP nor the database.
    """

    supports_tools: bool = False
    """It can ask the client to call a function (``tools``)."""
    supports_forced_tools: bool = False
    """It obeys ``tool_choice`` ``required`` and a named function."""
    supports_json_object: bool = False
    """It can be held to answer with some JSON object."""
    supports_json_schema: bool = False
    """It can be held to answer with JSON of a given schema."""
    supports_choices: bool = False
    """It can give several alternative answers (``n``)."""
    supports_logprobs: bool = False
    """It can tell the log probabilities of its tokens."""
    supports_images: bool = False
    """It sees pictures."""
    supports_audio: bool = False
    """It hears."""
    supports_files: bool = False
    """It reads files as they are. Any other agent is given their text, where they hold some."""

    max_concurrent: int | None = None
    """How many runs it can do at a time; more wait in the queue. None: no bound of its own."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = options

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Say what is wrong with `options`, a sentence each, for Django's system checks. Loads nothing."""
        return ()

    def models(self) -> tuple[str, ...]:
        """Names of models that the catalogue lists, as ``<agent>/<model>``; any other may work too."""
        return ()

    @property
    def default_model(self) -> str:
        """The model used when a client names only the agent."""
        return ""

    def has_model(self, model: str) -> bool:
        """Whether `model` (what stands behind the agent's name) can be run at all."""
        return True

    def load(self) -> None:
        """Load what takes long, before the server listens. Blocking."""

    async def close(self) -> None:
        """Give back what the backend holds, at the end of the process."""

    def check_request(self, request: AgentRequest) -> None:
        """Refuse what would change the shape of the output and cannot be done.

        Raises:
            UnsupportedRequest: with `param` in the neutral names of `AgentRequest`.
        """
        needs = (
            (bool(request.tools), self.supports_tools, "tools"),
            (request.tool_choice.mode in ("required", "function"), self.supports_forced_tools, "tool_choice"),
            (request.response_format.type == "json_object", self.supports_json_object, "response_format"),
            (request.response_format.type == "json_schema", self.supports_json_schema, "response_format"),
            (request.choices > 1, self.supports_choices, "choices"),
            (request.logprobs, self.supports_logprobs, "logprobs"),
        )
        for wanted, supported, param in needs:
            if wanted and not supported:
                raise UnsupportedRequest(f"The agent {self.name!r} does not support this parameter.", param=param)
        for message, part in request.media:
            self.check_media(message, part)

    def check_media(self, message: Message, part: AnyMedia) -> None:
        """Refuse a picture or a sound that the agent cannot take. A file may still turn out to be text.

        Raises:
            UnsupportedRequest: with the part's own place as `param`.
        """
        supported = {"image": self.supports_images, "audio": self.supports_audio, "file": True}
        if not supported[part.type]:
            things = {"image": "images", "audio": "audio", "file": "files"}[part.type]
            raise UnsupportedRequest(f"The agent {self.name!r} does not take {things}.", param=part.where)

    @abstractmethod
    def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        """Answer `request`: an async generator of events that ends after a `Finish` for each choice.

        When the client goes away the task that iterates it is cancelled and `signal` is set. Clean up in
        ``finally`` and let `CancelledError` out; a grace period bounds how long that may take.

        Raises:
            AgentError: for a failure that the client may know of. Anything else is logged and hidden.
        """
        raise NotImplementedError

    def run_in_bursts(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[Said, None]:
        """What is called in place of `run`, which it is unless an agent knows which of its events come at once.

        A burst costs little more than an event. It must hold what is there and never wait for more.
        """
        return self.run(request, signal)
