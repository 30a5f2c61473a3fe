"""A source of hints that comes and goes: each loss is told, and each return."""

import asyncio

import pytest
from channels.layers import InMemoryChannelLayer

from gateway_project.execution import hint_listener
from gateway_project.execution.hint_listener import HintListener
from gateway_project.runs.hints import GROUP


class ShakyLayer(InMemoryChannelLayer):  # type: ignore[misc]  # has no types
    """Breaks off at a message that says so."""

    async def receive(self, channel: str) -> dict[str, object]:
        message: dict[str, object] = await super().receive(channel)
        if message["type"] == "break":
            self.groups.clear()  # Whoever comes again joins again.
            raise ConnectionError
        return message


async def test_each_loss_is_told_and_each_return(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layer, hinted, hints = ShakyLayer(), asyncio.Event(), 0

    def on_hint() -> None:
        nonlocal hints
        hints += 1
        hinted.set()

    async def hint(kind: str) -> None:
        """Send it, and wait until one is heard."""
        hinted.clear()
        await layer.group_send(GROUP, {"type": kind})
        await asyncio.wait_for(hinted.wait(), 30)

    monkeypatch.setattr(hint_listener, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(hint_listener, "_RETRY_SECONDS", 0)
    listener = HintListener("default", on_hint)
    listener.start()
    await asyncio.wait_for(hinted.wait(), 30)
    await hint("hint")
    for _ in range(2):
        await hint("break")  # What is heard is that it listens again.
        await hint("hint")
    await listener.stop()
    assert hints == 6
    told = [record.message for record in caplog.records if record.name == "gateway.hints"]
    assert told == ["hints.lost", "hints.recovered"] * 2
