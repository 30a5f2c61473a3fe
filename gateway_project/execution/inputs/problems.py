"""What can be wrong with an input, and what the client is told of it."""

from collections.abc import Mapping
from typing import Literal

from gateway_project.agents.errors import AgentError
from gateway_project.agents.request import AnyMedia

Kind = Literal["url", "download", "size", "type", "data", "empty", "text"]

CODES: Mapping[str, Mapping[Kind, str]] = {
    "image": {
        "url": "invalid_image_url",
        "download": "failed_to_download_image",
        "size": "image_file_too_large",
        "type": "unsupported_image_media_type",
        "data": "invalid_base64_image",
        "empty": "empty_image_file",
    },
    "audio": {
        "url": "invalid_audio_url",
        "download": "failed_to_download_audio",
        "size": "audio_file_too_large",
        "type": "unsupported_audio_media_type",
        "data": "invalid_base64_audio",
        "empty": "empty_audio_file",
    },
    "file": {
        "url": "invalid_file_url",
        "download": "failed_to_download_file",
        "size": "file_too_large",
        "type": "unsupported_file_media_type",
        "data": "invalid_base64_file",
        "empty": "empty_file",
        "text": "unreadable_file",
    },
}
"""Codes by what the input should have been. Those of images are OpenAI's own (``ResponseErrorCode``)."""


class InputProblem(Exception):
    """An input that cannot be taken. The message is for the client: it names no address that a name led to."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class InputError(AgentError):
    """A request whose input cannot be taken. `param` is the input's place in the request."""

    code = "too_many_inputs"
    type = "invalid_request_error"
    status = 400

    @classmethod
    def of(cls, problem: InputProblem, part: AnyMedia) -> "InputError":
        """The error for a problem with `part`."""
        return cls(str(problem), code=CODES[part.type][problem.kind], param=part.where)


class Budget:
    """The bytes that all inputs of one request may have together."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total

    def spend(self, count: int) -> None:
        """Take `count` bytes.

        Raises:
            InputProblem: when there are not so many left.
        """
        self._left -= count
        if self._left < 0:
            raise InputProblem("size", f"The inputs of the request have more than {self._total} bytes together.")
