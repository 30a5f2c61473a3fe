"""What an answer that grows holds in memory: its text, not an object for each of its pieces."""

import tracemalloc
from collections.abc import Callable

import pytest

from completions.encoder import ChatBodyEncoder
from gateway_project import ids
from gateway_project.agents.events import AgentEvent, ReasoningDelta, TextDelta, ToolCallDelta
from gateway_project.execution.content.answered import Answer
from responses.encoder import ResponseBodyEncoder, ResponseStreamEncoder
from tests.responses.scenarios import resource

PIECES = 20_000
HOLDERS: dict[str, Callable[[], Callable[[AgentEvent], object]]] = {
    "chat body": lambda: ChatBodyEncoder(ids.new_run_id(), "m", 0).event,
    "responses body": lambda: ResponseBodyEncoder(resource()).event,
    "responses stream": lambda: ResponseStreamEncoder(resource()).event,
    "responses burst": lambda: _in_bursts(ResponseStreamEncoder(resource())),
    "content": lambda: Answer(most=PIECES * 100, salt=bytes(16)).generated,
}


def _in_bursts(encoder: ResponseStreamEncoder) -> Callable[[AgentEvent], object]:
    def add(event: AgentEvent) -> object:
        return encoder.burst([event]) or encoder.event(event)

    return add


@pytest.mark.parametrize("piece", [TextDelta, ReasoningDelta, lambda text: ToolCallDelta(0, text, "c", "f")])
@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_pieces_take_the_memory_of_their_text(
    holder: Callable[[], Callable[[AgentEvent], object]], piece: Callable[[str], AgentEvent]
) -> None:
    add = holder()
    for number in range(2_000):
        add(piece(f"{number:09}"))
    tracemalloc.start()
    try:
        for number in range(PIECES):
            add(piece(f"{number:09}"))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 3 * 9 * PIECES  # A text grows by more than is asked for; a list of pieces: by six times.
