"""What an agent may say that no script says: an agent that tells one of these stories, which its model names."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolActivity,
    ToolCall,
    ToolCallDelta,
)
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal

_TOKEN = TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.5),))

STORIES: Mapping[str, Sequence[AgentEvent]] = {
    "refusal": [TextDelta("Well, "), RefusalDelta("I can", logprobs=(_TOKEN,)), RefusalDelta("not.")],
    "logprobs": [
        TextDelta("Hi", logprobs=(_TOKEN,)),
        TextDelta("!", logprobs=()),
        TextDelta("?", logprobs=(TokenLogprob("?", float("-inf")),)),
    ],
    "choices": [
        TextDelta("a", choice=1),
        TextDelta("b"),
        TextDelta("c", choice=1),
        Finish(choice=1),
        TextDelta("d"),
        Finish("length"),
    ],
    "phases": [MessagePhase("commentary"), TextDelta("I count."), MessagePhase("final_answer"), TextDelta("Four.")],
    "reasoning": [
        ReasoningDelta("Hm"),
        ReasoningDelta("m."),
        ReasoningDelta("I thought.", summary=True),
        TextDelta("4"),
    ],
    "calls": [
        ToolActivity("search", "started"),
        TextDelta("Looking."),
        ToolCallDelta(0, "", "call_1", "weather"),
        ToolCallDelta(0, '{"city": '),
        ToolCallDelta(0, '"Paris"}'),
        ToolCall("call_2", "weather", '{"city": "Rome"}'),
    ],
    "filtered": [TextDelta("Once"), Finish("content_filter")],
    "call too long": [ToolCallDelta(0, '{"ci', "call_1", "weather"), Finish("length")],
}


async def tell(request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
    """The function of the agent ``told``."""
    for event in STORIES[request.model]:
        yield event
        await asyncio.sleep(0)
