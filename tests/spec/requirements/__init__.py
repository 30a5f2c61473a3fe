"""The requirements of the protocols, in the protocols' own order, and which of them are not kept to here, and why.

A test says which it holds with ``pytest.mark.compliance(specification, section, …)``. The published matrix is made
of both: ``python -m tests.docs``.
"""

from . import chat_completions, http, open_responses, openai_responses
from .requirement import Requirement

__all__ = ["SPECIFICATIONS", "Requirement"]

SPECIFICATIONS: dict[str, tuple[Requirement, ...]] = {
    "Chat Completions": chat_completions.REQUIREMENTS,
    "Open Responses": open_responses.REQUIREMENTS,
    "OpenAI Responses": openai_responses.REQUIREMENTS,
    "HTTP": http.REQUIREMENTS,
}
