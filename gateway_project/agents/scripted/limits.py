"""What every script keeps to: the token limit, stop sequences, and a usage that is exact."""

import re
from collections.abc import AsyncGenerator

from gateway_project.agents.events import AgentEvent, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from gateway_project.agents.request import AgentRequest

Script = AsyncGenerator[AgentEvent, None]


def words(text: str) -> list[str]:
    """`text` cut into words, each with the white space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


async def limited(script: Script, request: AgentRequest) -> Script:
    """Play `script` up to the token limit or a stop sequence, and add usage and the finish.

    Each piece of text, of reasoning and of a call's arguments is a token.
    """
    reason: Finish = Finish("stop")
    output_tokens = reasoning_tokens = 0
    text = _StoppedText(request.stop)
    try:
        async for event in script:
            if isinstance(event, Finish):
                reason = event
                continue
            if isinstance(event, TextDelta | ReasoningDelta) or (isinstance(event, ToolCallDelta) and event.arguments):
                if output_tokens == request.max_output_tokens:
                    reason = Finish("length")
                    break
                output_tokens += 1
                reasoning_tokens += isinstance(event, ReasoningDelta)
            if not isinstance(event, TextDelta):
                yield event
                continue
            if ready := text.add(event.text):
                yield TextDelta(ready)
            if text.stopped:
                break
    finally:
        await script.aclose()
    if rest := text.rest():
        yield TextDelta(rest)
    input_tokens = sum(len(message.text.split()) for message in request.messages)
    yield Usage(input_tokens, output_tokens, reasoning_tokens=reasoning_tokens)
    yield reason


class _StoppedText:
    """Text that ends before the first stop sequence in it, however its pieces are cut."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self.stopped = False
        self._stop = stop
        self._held = ""

    def add(self, piece: str) -> str:
        """What can be said now."""
        self._held += piece
        cuts = [at for at in map(self._held.find, self._stop) if at >= 0]
        if cuts:
            self.stopped = True
            self._held = self._held[: min(cuts)]
            return self.rest()
        end = len(self._held) - self._begun()
        ready, self._held = self._held[:end], self._held[end:]
        return ready

    def rest(self) -> str:
        """What was held back, at the end."""
        rest, self._held = self._held, ""
        return rest

    def _begun(self) -> int:
        """How many characters at the end may be the beginning of a stop sequence, and must wait."""
        begun = (
            length
            for sequence in self._stop
            for length in range(1, len(sequence))
            if self._held.endswith(sequence[:length])
        )
        return max(begun, default=0)
