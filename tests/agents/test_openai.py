"""The agent `openai` before a real upstream on a real socket."""

import asyncio
import gc
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway_project import clock
from gateway_project.agents.errors import AgentError, UpstreamError, UpstreamTimeout
from gateway_project.agents.events import (
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.openai import OpenAIAgent, connection
from gateway_project.agents.openai.exchange import Exchange
from gateway_project.agents.request import Sampling
from gateway_project.agents.signal import AbortSignal
from tests.agents.asking import Run, ask, request_for, text_of
from tests.upstream import Upstream

KEY = "sk-test-0123456789abcdef"
MakeAgent = Callable[..., OpenAIAgent]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream in the test's own loop."""
    async with Upstream() as server:
        yield server


@pytest.fixture
async def make(upstream: Upstream) -> AsyncIterator[MakeAgent]:
    """Makes agents that ask `upstream`, and closes them."""
    agents = []

    def make_agent(**options: Any) -> OpenAIAgent:
        agent = OpenAIAgent("openai", {"base_url": upstream.base_url, "api_key": KEY} | options)
        agents.append(agent)
        return agent

    yield make_agent
    for agent in agents:
        await agent.close()


@pytest.fixture
def agent(make: MakeAgent) -> OpenAIAgent:
    """An agent with no options but the address and the key."""
    return make()


@asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """Takes connections and says nothing. Gives its port, and whether one was opened, and closed."""
    opened, closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        closed.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], opened, closed


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = clock.now() - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(encoding)
    file = folder / "tls.pem"
    file.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


# -- answers ---------------------------------------------------------------------------------------------


async def test_words_usage_and_finish(agent: OpenAIAgent) -> None:
    assert await ask(agent, "words-3") == [
        TextDelta("alpha"),
        TextDelta(" bravo"),
        TextDelta(" charlie"),
        Finish("stop"),
        Usage(5, 3, 2, 1),
    ]


async def test_several_choices(agent: OpenAIAgent) -> None:
    events = await ask(agent, "words-1", choices=2)
    assert events[:4] == [TextDelta("alpha", 0), TextDelta("alpha", 1), Finish("stop", 0), Finish("stop", 1)]


async def test_a_call(agent: OpenAIAgent) -> None:
    events = await ask(agent, "tool")
    assert events[:5] == [
        ToolCallDelta(0, "", "call_a", "weather"),
        ToolCallDelta(0, '{"city":'),
        ToolCallDelta(0, ' "Paris"}'),
        ToolCallDelta(1, "{}", "call_b", "weather"),
        Finish("tool_calls"),
    ]


async def test_reasoning(agent: OpenAIAgent) -> None:
    events = await ask(agent, "reasoning")
    assert events[:3] == [ReasoningDelta("Hm. "), ReasoningDelta("Yes."), TextDelta("42")]


async def test_a_refusal(agent: OpenAIAgent) -> None:
    assert (await ask(agent, "refusal"))[0] == RefusalDelta("I will not.")


async def test_log_probabilities(agent: OpenAIAgent) -> None:
    (text, *_) = await ask(agent, "logprobs", logprobs=True, top_logprobs=1)
    assert text == TextDelta("Hi", logprobs=(TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.5),)),))


async def test_an_answer_that_is_not_streamed_in_spite_of_the_request(agent: OpenAIAgent) -> None:
    assert await ask(agent, "nonstream") == [TextDelta("all at once"), Finish("stop"), Usage(5, 3, 2, 1)]


async def test_a_stream_that_ends_without_done(agent: OpenAIAgent) -> None:
    assert Finish("stop") in await ask(agent, "no-done")


async def test_a_long_stream_comes_whole(agent: OpenAIAgent) -> None:
    events = await ask(agent, "words-5000")
    assert len(text_of(events).split()) == 5000


async def test_a_long_stream_comes_whole_over_tls_too(
    make: MakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = _self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "tls.pem")
    trusting.check_hostname = False
    monkeypatch.setattr(connection, "_tls", lambda: trusting)
    async with Upstream(tls=serving) as secure:
        # Several records come in one read.
        events = await ask(make(base_url=secure.base_url), "words-5000")
    assert len(text_of(events).split()) == 5000


async def test_what_the_upstream_is_asked(agent: OpenAIAgent, upstream: Upstream) -> None:
    await ask(agent, "words-1", "Hello", sampling=Sampling(temperature=0))
    (entry,) = upstream.log
    assert entry.path == "/v1/chat/completions"
    assert entry.body == {
        "model": "words-1",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    assert entry.headers["authorization"] == f"Bearer {KEY}"
    assert entry.headers["content-type"] == "application/json"


async def test_headers_of_ones_own(make: MakeAgent, upstream: Upstream) -> None:
    await ask(make(api_key=None, headers={"api-key": "azure-style", "x-title": "Shop"}), "words-1")
    (entry,) = upstream.log
    assert entry.headers["api-key"] == "azure-style"
    assert entry.headers["x-title"] == "Shop"
    assert "authorization" not in entry.headers


async def test_the_environments_proxy_is_not_used(agent: OpenAIAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert text_of(await ask(agent, "words-1")) == "alpha"


# -- connections -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["words-3", "slow-2x5ms", "late-end", "nonstream", "no-done", "error-400", "error-500-html"]
)
async def test_a_connection_is_used_again_after_a_normal_end(make: MakeAgent, upstream: Upstream, model: str) -> None:
    agent = make()
    for _ in range(3):
        try:
            await ask(agent, model)
        except AgentError:
            assert model.startswith("error")
    assert upstream.connections == 1


async def test_an_upstream_that_does_not_end_its_body_holds_no_run_up(agent: OpenAIAgent, upstream: Upstream) -> None:
    async with asyncio.timeout(30):
        assert text_of(await ask(agent, "no-end")) == "alpha"
    await upstream.wait_for(lambda entry: entry.hung_up)


async def test_a_connection_is_not_used_again_after_an_abort(agent: OpenAIAgent, upstream: Upstream) -> None:
    await ask(agent, "words-1")
    run = Run(agent, request_for("slow-1000x10ms"))
    await asyncio.wait_for(run.said_something.wait(), 30)
    await run.abort()
    assert text_of(await ask(agent, "words-1")) == "alpha"
    assert [entry.connection for entry in upstream.log] == [1, 1, 2]


async def test_close_closes_the_pool_and_may_be_called_twice(agent: OpenAIAgent, upstream: Upstream) -> None:
    await ask(agent, "words-1")
    assert upstream.open_connections == 1
    await agent.close()
    await upstream.wait_for(lambda _: not upstream.open_connections)
    await agent.close()


async def test_an_agent_that_was_never_asked_has_nothing_to_close() -> None:
    await OpenAIAgent("openai", {}).close()


def test_each_loop_has_a_pool_of_its_own() -> None:
    agent = OpenAIAgent("openai", {"base_url": "http://127.0.0.1:1/v1"})

    async def once() -> None:
        with pytest.raises(UpstreamError):
            await ask(agent, "words-1")
        await agent.close()

    asyncio.run(once())
    asyncio.run(once())


# -- abort -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("silent", id="before the head"),
        pytest.param("think-60000ms", id="while the upstream thinks"),
        pytest.param("head-then-silent", id="before the first byte"),
        pytest.param("stall-after-2", id="while it is silent in mid-stream"),
        pytest.param("slow-6000x10ms", id="while it streams"),
    ],
)
async def test_an_abort_closes_the_upstream_at_once(agent: OpenAIAgent, upstream: Upstream, model: str) -> None:
    run = Run(agent, request_for(model))
    entry = await upstream.wait_for(lambda entry: entry.body_complete)
    if model.startswith(("slow", "stall")):
        await asyncio.wait_for(run.said_something.wait(), 30)
    await run.abort()
    assert run.task.cancelled(), "the cancellation comes out again"
    await upstream.wait_for(lambda entry: entry.hung_up)
    assert entry.finished_at is None
    assert not upstream.open_connections


async def test_an_abort_is_heard_although_a_forked_child_has_the_connection_too(
    agent: OpenAIAgent, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    childs: list[socket.socket] = []

    class Forking(Exchange):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            childs.append(transport.get_extra_info("socket").dup())

    monkeypatch.setattr(connection, "Exchange", Forking)
    run = Run(agent, request_for("slow-6000x10ms"))
    await asyncio.wait_for(run.said_something.wait(), 30)
    await run.abort()
    try:
        await upstream.wait_for(lambda entry: entry.hung_up)
    finally:
        for child in childs:
            child.close()


async def test_an_abort_while_connecting_closes_the_socket(make: MakeAgent) -> None:
    async with mute_server() as (port, opened, closed):
        run = Run(make(base_url=f"https://127.0.0.1:{port}/v1"), request_for("words-1"))
        await asyncio.wait_for(opened.wait(), 30)
        await run.abort()
        assert run.task.cancelled()
        await asyncio.wait_for(closed.wait(), 30)


def _unsent(port: int) -> bool:
    """Whether some plain transport to `port` still holds bytes that it wants to send."""
    transports = (o for o in gc.get_objects() if issubclass(type(o), asyncio.Transport))
    plain = (o for o in transports if type(o).__module__ == "asyncio.selector_events")
    return any(o.get_write_buffer_size() for o in plain if o.get_extra_info("peername") == ("127.0.0.1", port))


async def test_an_abort_does_not_wait_until_a_long_request_is_written(make: MakeAgent, upstream: Upstream) -> None:
    agent = make(headers={"x-upstream": "deaf"})
    run = Run(agent, request_for("words-1", "x" * 20_000_000))
    entry = await upstream.wait_for(lambda entry: True)
    async with asyncio.timeout(30):
        while not _unsent(upstream.port):  # noqa: ASYNC110 (nothing tells when a buffer fills)
            await asyncio.sleep(0.01)
    await run.abort()
    assert not _unsent(upstream.port), "the request is thrown away, not written to somebody who does not read"
    upstream.listen_again()
    await upstream.wait_for(lambda entry: entry.hung_up)
    assert not entry.body_complete


async def test_closing_the_generator_closes_the_upstream(agent: OpenAIAgent, upstream: Upstream) -> None:
    async with aclosing(agent.run(request_for("slow-6000x10ms"), AbortSignal())) as events:
        async for _ in events:
            break
    entry = await upstream.wait_for(lambda entry: entry.hung_up)
    assert entry.words_sent < 1000


async def test_a_failure_of_who_reads_closes_the_upstream(agent: OpenAIAgent, upstream: Upstream) -> None:
    with pytest.raises(RuntimeError):
        async with aclosing(agent.run(request_for("stall-after-1"), AbortSignal())) as events:
            async for _ in events:
                raise RuntimeError("the reader fails")
    await upstream.wait_for(lambda entry: entry.hung_up)


# -- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("error-400", 400, "code_400"),
        ("error-401", 502, "upstream_authentication_error"),
        ("error-403", 502, "upstream_authentication_error"),
        ("error-404", 404, "code_404"),
        ("error-404-html", 502, "upstream_error"),
        ("error-429", 429, "code_429"),
        ("error-500", 502, "upstream_error"),
        ("error-503-html", 503, "upstream_error"),
        ("redirect", 502, "upstream_error"),
        ("cut-after-2", 502, "upstream_cut_off"),
        ("end-after-2", 502, "upstream_cut_off"),
        ("garbage", 502, "upstream_protocol_error"),
        ("mid-error-2", 502, "upstream_error"),
    ],
)
async def test_a_failure_is_told_as_what_it_is_and_never_with_the_key(
    agent: OpenAIAgent, caplog: pytest.LogCaptureFixture, model: str, status: int, code: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AgentError) as caught:
        await ask(agent, model)
    error = caught.value
    assert (error.status, error.code) == (status, code)
    assert KEY not in f"{error!r}{error}{vars(error)}{error.__cause__!r}{error.__context__!r}{caplog.text}"
    assert error.retry_after == (7 if status in (429, 503) else None)


async def test_the_param_of_a_bad_request_is_passed_on(agent: OpenAIAgent) -> None:
    with pytest.raises(AgentError) as caught:
        await ask(agent, "error-400")
    assert caught.value.param == "temperature"
    assert caught.value.message.startswith("'temperature' is too hot. You sent ")


async def test_what_came_before_an_error_frame_is_kept(agent: OpenAIAgent) -> None:
    run = Run(agent, request_for("mid-error-2"))
    await asyncio.wait([run.task])
    assert text_of(run.events) == "alpha bravo"
    with pytest.raises(UpstreamError, match="The engine died"):
        run.task.result()


async def test_the_operator_is_told_what_he_must_mend(agent: OpenAIAgent, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AgentError):
        await ask(agent, "error-401")
    (record,) = (record for record in caplog.records if record.name == "gateway.agents.openai")
    assert record.getMessage() == "upstream.refused"
    assert (vars(record)["agent"], vars(record)["upstream_status"]) == ("openai", 401)


async def test_a_bad_request_of_the_clients_is_no_news_for_the_operator(
    agent: OpenAIAgent, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AgentError):
        await ask(agent, "error-400")
    assert not [record for record in caplog.records if record.name == "gateway.agents.openai"]


async def test_an_upstream_that_is_not_there(make: MakeAgent) -> None:
    with pytest.raises(UpstreamError) as caught:
        await ask(make(base_url="http://127.0.0.1:1/v1"), "words-1")
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")


async def test_an_upstream_whose_certificate_is_worth_nothing(make: MakeAgent, tmp_path: Path) -> None:
    async with Upstream(tls=_self_signed(tmp_path)) as impostor:
        with pytest.raises(UpstreamError) as caught:
            await ask(make(base_url=impostor.base_url), "words-1")
        assert caught.value.code == "upstream_unreachable"
        assert not impostor.log, "the key was not sent"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("silent", {"first_byte_timeout": 0.1}, "did not answer in time"),
        ("head-then-silent", {"first_byte_timeout": 0.1}, "did not answer in time"),
        ("stall-after-2", {"silence_timeout": 0.1}, "fell silent"),
    ],
)
async def test_silence_is_bounded(
    make: MakeAgent, upstream: Upstream, model: str, options: dict[str, float], words: str
) -> None:
    with pytest.raises(UpstreamTimeout, match=words) as caught:
        await ask(make(**options), model)
    assert caught.value.status == 504
    await upstream.wait_for(lambda entry: entry.hung_up)


async def test_connecting_is_bounded(make: MakeAgent) -> None:
    async with mute_server() as (port, _, closed):
        with pytest.raises(UpstreamTimeout, match="could not be reached in time") as caught:
            await ask(make(base_url=f"https://127.0.0.1:{port}/v1", connect_timeout=0.1), "words-1")
        assert caught.value.status == 504
        await asyncio.wait_for(closed.wait(), 30)


async def test_names_that_are_slow_to_look_up_hold_up_nobody_elses_threads(
    make: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    looked_up: list[str] = []

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        looked_up.append(host)
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    agent = make(base_url="http://slow.invalid/v1", connect_timeout=0.2)
    runs = [Run(agent, request_for("words-1")) for _ in range(60)]
    try:
        async with asyncio.timeout(30):
            await asyncio.to_thread(time.monotonic)
            await asyncio.wait([run.task for run in runs])
    finally:
        over.set()
    assert looked_up == ["slow.invalid"], "once for all of them"
    assert all(isinstance(run.task.exception(), UpstreamTimeout) for run in runs)


async def test_only_silence_is_bounded_and_neither_the_whole_nor_the_first_byte(make: MakeAgent) -> None:
    agent = make(silence_timeout=1.0)
    assert text_of(await ask(agent, "think-1500ms")) == "alpha"
    assert len(text_of(await ask(agent, "slow-15x100ms")).split()) == 15


async def test_an_upstream_may_be_asked_again_after_a_failure(agent: OpenAIAgent) -> None:
    with pytest.raises(UpstreamError):
        await ask(agent, "cut-after-1")
    assert text_of(await ask(agent, "words-1")) == "alpha"


def test_without_its_parser_the_check_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"base_url": "http://127.0.0.1:1/v1", "api_key": None}
    before = list(OpenAIAgent.check(options))
    monkeypatch.setattr(f"{OpenAIAgent.__module__}.find_spec", lambda name: None)
    assert [*before, "the package httptools is not installed (extra 'openai')."] == list(OpenAIAgent.check(options))
