"""What is kept of a response in the background while it is made."""

import pytest

from gateway_project.agents.events import Finish, TextDelta, TokenLogprob, Usage
from gateway_project.transport import sse
from responses.encoder import ResponseStreamEncoder
from responses.outlet import KeptOutlet
from tests.responses.reader import events_of, read
from tests.responses.scenarios import completed, resource

UNSAYABLE = TextDelta("b", logprobs=(TokenLogprob("b", -1.0, (float("nan"),)),))  # type: ignore[arg-type]  # as an agent may


class Keeper:
    """Takes what is kept, piece by piece."""

    status = ""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def take(self, data: bytes) -> None:
        self.taken.append(data)

    async def room(self) -> None:
        """There always is."""

    async def finish(self, data: bytes) -> bool:
        self.take(data)
        return True


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def outlet(keeper: Keeper) -> KeptOutlet:
    encoder = ResponseStreamEncoder(resource(background=True, store=True))
    return KeptOutlet(encoder, keeper)  # type: ignore[arg-type]  # all of a keeper that it needs


async def test_a_burst_is_kept_as_one_piece(outlet: KeptOutlet, keeper: Keeper) -> None:
    outlet.started()
    before = len(keeper.taken)
    await outlet.write_burst([TextDelta("a"), TextDelta("b"), Usage(1, 2), Finish()])
    assert len(keeper.taken) == before + 1
    assert (outlet.stats.events, outlet.stats.kept) == (3, 3), "nobody hears of what the usage is meanwhile"
    assert await outlet.end(completed())
    answer = read(events_of(b"".join(keeper.taken)))
    assert answer["output"][0]["content"][0]["text"] == "ab"


async def test_what_comes_before_an_event_that_cannot_be_said_is_kept(outlet: KeptOutlet, keeper: Keeper) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await outlet.write_burst([TextDelta("a"), UNSAYABLE, TextDelta("c")])
    assert [event["delta"] for event in events_of(keeper.taken[-1] + sse.DONE) if "delta" in event] == ["a"]


async def test_after_the_end_nothing_is_kept(outlet: KeptOutlet, keeper: Keeper) -> None:
    assert await outlet.end(completed())
    before = len(keeper.taken)
    await outlet.write(TextDelta("late"))
    assert len(keeper.taken) == before
    assert not await outlet.end(completed())
