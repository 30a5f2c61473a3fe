"""`mount`: exactly the endpoints' paths are ours; all else is the inner application's, its lifespan too."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from gateway_project.routing import Mount, endpoint_routes, mount, websocket_routes
from gateway_project.transport import claims
from gateway_project.transport.servers import lifespan

Scope = dict[str, Any]


class Recorder:
    """An ASGI application that remembers the scopes it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


def http(where: str) -> Scope:
    return {"type": "http", "path": where, "headers": []}


async def nothing(*arguments: Any) -> Any:
    raise AssertionError("nobody should send or receive here")


@pytest.fixture
def inner() -> Recorder:
    return Recorder()


@pytest.fixture
def endpoint() -> Any:
    """Any: to Django's types only views have routes."""
    return Recorder()


@pytest.mark.parametrize("prefix", ["", "ai", "ai/v2"])
async def test_just_the_endpoints_paths_are_answered(inner: Recorder, endpoint: Any, prefix: str) -> None:
    start = f"/{prefix}" if prefix else ""
    routes = [path("v1/answer", endpoint), path("v1/models/<path:model>", endpoint)]
    mounted = Mount(inner, {"http": routes, "websocket": []}, prefix)
    for where in ("/v1/answer", "/v1/models/a/b"):
        await mounted(http(start + where), nothing, nothing)
    assert inner.scopes == []
    assert [scope["url_route"]["kwargs"] for scope in endpoint.scopes] == [{}, {"model": "a/b"}]
    others = ("/v1/answer/", "/v1/answers", "/v1/answe", "/x/v1/answer", "//v1/answer", "/v1/models/", "/", "")
    scopes = [http(start + where) for where in others] + ([http("/v1/answer"), http("/aiv1/answer")] if prefix else [])
    for scope in scopes:
        await mounted(scope, nothing, nothing)
    assert len(endpoint.scopes) == 2
    assert [id(scope) for scope in inner.scopes] == [id(scope) for scope in scopes]
    assert all("url_route" not in scope for scope in scopes)


@pytest.mark.parametrize("prefix", ["", "ai"])
def test_all_paths_that_are_owned_are_answered(prefix: str) -> None:
    """Told to the server too, which then watches over what it reads for them."""
    start = f"/{prefix}" if prefix else ""
    mounted = mount(returns, prefix, owns="v1/")
    assert isinstance(mounted, Mount)
    for where in ("/v1/responses", "/v1/nothing", "/v1/", "/v1/a\r\nb", "/v1/responses/"):
        assert mounted.answers("http", start + where)
        assert claims.is_claimed(quote(start + where).encode() + b"?a=b")
    for where in ("/v1", "/v2/responses", "/", "/xv1/responses", "//v1/responses"):
        assert not mounted.answers("http", start + where)


async def test_without_that_unknown_paths_are_left(inner: Recorder) -> None:
    mounted = mount(inner)
    assert isinstance(mounted, Mount)
    assert mounted.answers("http", "/v1/responses")
    assert not mounted.answers("http", "/v1/nothing")
    await mounted(http("/v1/nothing"), nothing, nothing)
    assert len(inner.scopes) == 1


@pytest.mark.parametrize("kind", ["websocket", "webtransport"])
async def test_every_other_scope_goes_inside_untouched(inner: Recorder, endpoint: Any, kind: str) -> None:
    scope = {"type": kind, "path": "/v1/answer", "state": {"kept": 1}}
    routes = {"http": [path("v1/answer", endpoint)], "websocket": [path("v1/socket", endpoint)]}
    await Mount(inner, routes, "")(scope, nothing, nothing)
    assert endpoint.scopes == []
    assert inner.scopes[0] is scope
    assert scope == {"type": kind, "path": "/v1/answer", "state": {"kept": 1}}


@pytest.mark.parametrize("prefix", ["", "ai"])
async def test_just_the_endpoints_websockets_are_answered(inner: Recorder, endpoint: Any, prefix: str) -> None:
    start = f"/{prefix}" if prefix else ""
    mounted = Mount(inner, {"http": [], "websocket": [path("v1/answer", endpoint)]}, prefix)
    await mounted(http(f"{start}/v1/answer") | {"type": "websocket"}, nothing, nothing)
    assert [scope["type"] for scope in endpoint.scopes] == ["websocket"]
    for scope in (
        http(f"{start}/v1/answer"),
        *(http(where) | {"type": "websocket"} for where in ("/x", "/v1/answer/")),
    ):
        await mounted(scope, nothing, nothing)
        assert inner.scopes[-1] is scope
    assert len(endpoint.scopes) == 1


def test_the_installed_endpoints_bring_each_path_once() -> None:
    paths = [str(route.pattern) for route in endpoint_routes()]
    assert sorted(paths) == [
        "v1/chat/completions",
        "v1/models",
        "v1/models/<path:model>",
        "v1/responses",
        "v1/responses/<str:id>",
        "v1/responses/<str:id>/cancel",
        "v1/responses/<str:id>/input_items",
        "v1/responses/compact",
    ]
    assert [str(route.pattern) for route in websocket_routes()] == ["v1/responses"]


# -- lifespan -----------------------------------------------------------------------------------------


class Server:
    """The server's side of the protocol, a supervisor that only notes what is asked of it, and their diary."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.state: dict[str, Any] = {}
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.draining, self.hurried = asyncio.Event(), asyncio.Event()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def shutdown(self) -> None:
        """The supervisor's."""
        self.diary.append("the runs end")
        self.draining.set()

    def hurry(self) -> None:
        """The supervisor's."""
        self.diary.append("the runs hurry")
        self.hurried.set()

    def current_supervisor(self) -> "Server":
        self.diary.append("the supervisor begins")
        return self

    @asynccontextmanager
    async def run(self, application: Any) -> AsyncIterator[None]:
        """Run an application's lifespan; it must have ended in the end."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        async with asyncio.timeout(30):
            task = asyncio.ensure_future(application(scope, self._messages.get, self.answers.put))
            yield
            await task
        assert not [one.get_name() for one in asyncio.all_tasks() if one.get_name().startswith("gateway:")]

    async def tell(self, phase: str) -> Any:
        await self._messages.put({"type": f"lifespan.{phase}"})
        return await self.answers.get()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(lifespan, "current_supervisor", made.current_supervisor)
    monkeypatch.setattr(lifespan, "running_supervisor", lambda: made)
    return made


def inner_lifespan(server: Server, *, fail_at: str = "", die: bool = False) -> Any:
    """An inner application that has a lifespan, writes into the diary, and may fail."""

    async def application(scope: Scope, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            server.diary.append(f"inner {phase}")
            if phase == fail_at:
                await send({"type": f"lifespan.{phase}.failed", "message": "no database"})
                raise LookupError("no database")
            scope["state"]["pool"] = phase
            await send({"type": f"lifespan.{phase}.complete"})
            if die:
                raise LookupError("died in between")

    return application


async def test_the_inner_application_begins_first_and_ends_last(server: Server) -> None:
    async with server.run(Mount(inner_lifespan(server), {}, "")):
        assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
        assert server.state == {"pool": "startup"}
        assert server.diary == ["inner startup", "the supervisor begins"]
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert server.diary[2:] == ["the runs end", "inner shutdown"]


async def returns(scope: Scope, receive: Any, send: Any) -> None:
    """Not every application says that it does not know a scope."""


async def asks_first(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("unknown message")


WITHOUT: dict[str, Callable[[], Any]] = {
    "Django": get_asgi_application,
    "a router": lambda: ProtocolTypeRouter({"http": returns}),
    "returns": lambda: returns,
    "receives, then raises": lambda: asks_first,
}


@pytest.mark.parametrize("application", WITHOUT.values(), ids=WITHOUT)
async def test_an_inner_application_without_a_lifespan_is_answered_for(
    server: Server, application: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with server.run(Mount(application(), {}, "")):
        assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert server.diary == ["the supervisor begins", "the runs end"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_inner_startup_that_fails_is_passed_on_and_nothing_begins(server: Server) -> None:
    async with server.run(Mount(inner_lifespan(server, fail_at="startup"), {}, "")):
        assert await server.tell("startup") == {"type": "lifespan.startup.failed", "message": "no database"}
    assert server.diary == ["inner startup"]


async def test_an_inner_shutdown_that_fails_is_passed_on_after_the_runs_ended(server: Server) -> None:
    async with server.run(Mount(inner_lifespan(server, fail_at="shutdown"), {}, "")):
        await server.tell("startup")
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.failed", "message": "no database"}
    assert server.diary[2:] == ["the runs end", "inner shutdown"]


async def test_an_inner_application_that_died_in_between_does_not_keep_the_runs_from_ending(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.run(Mount(inner_lifespan(server, die=True), {}, "")):
        await server.tell("startup")
        answer = await server.tell("shutdown")
    assert (answer["type"], "died in between" in answer["message"]) == ("lifespan.shutdown.failed", True)
    assert server.diary[-1] == "the runs end"
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["lifespan.failed"]


async def test_a_supervisor_that_fails_to_end_does_not_keep_the_inner_application_from_ending(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise LookupError

    monkeypatch.setattr(server, "shutdown", fail)
    async with server.run(Mount(inner_lifespan(server), {}, "")):
        await server.tell("startup")
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert server.diary[-1] == "inner shutdown"
    assert "lifespan.drain_failed" in caplog.text


async def test_a_server_that_just_stops_leaves_no_task_behind(server: Server) -> None:
    task: asyncio.Future[None]
    async with asyncio.timeout(30):
        scope = {"type": "lifespan", "state": {}}
        receive: asyncio.Queue[Any] = asyncio.Queue()
        task = asyncio.ensure_future(Mount(inner_lifespan(server), {}, "")(scope, receive.get, server.answers.put))
        await receive.put({"type": "lifespan.startup"})
        await server.answers.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("gateway:")]


async def test_after_the_last_answer_there_is_nothing_left_to_cancel(server: Server) -> None:
    """hypercorn cancels the lifespan then, and ends with a traceback if that finds something."""

    async def lingers(scope: Scope, receive: Any, send: Any) -> None:
        await inner_lifespan(server)(scope, receive, send)
        await asyncio.Event().wait()

    messages: asyncio.Queue[Any] = asyncio.Queue()
    mounted = Mount(lingers, {}, "")({"type": "lifespan", "state": {}}, messages.get, server.answers.put)
    task = asyncio.ensure_future(mounted)
    async with asyncio.timeout(30):
        for phase in ("startup", "shutdown"):
            await messages.put({"type": f"lifespan.{phase}"})
            await server.answers.get()
        task.cancel()
        await task


@pytest.fixture
def caught() -> Iterator[list[int]]:
    """The signals that the server's own handler got."""
    got: list[int] = []
    before = {number: signal.signal(number, lambda n, _: got.append(n)) for number in (signal.SIGTERM, signal.SIGINT)}
    yield got
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_runs_end_from_the_servers_signal_on(server: Server, caught: list[int], number: int) -> None:
    own = signal.getsignal(number)
    async with server.run(Mount(returns, {}, "")):
        await server.tell("startup")
        os.kill(os.getpid(), number)
        await server.draining.wait()
        assert caught == [number]
        os.kill(os.getpid(), number)
        await server.hurried.wait()
        await server.tell("shutdown")
    assert server.diary == ["the supervisor begins", "the runs end", "the runs hurry"]
    assert caught == [number, number]
    assert signal.getsignal(number) is own


async def test_a_signal_that_nobody_handles_still_ends_the_process(server: Server) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        async with server.run(Mount(returns, {}, "")):
            await server.tell("startup")
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            await server.tell("shutdown")
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_handlers_that_were_set_after_ours_are_left(server: Server, caught: list[int]) -> None:
    async with server.run(Mount(returns, {}, "")):
        await server.tell("startup")
        later = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await server.tell("shutdown")
    assert later != signal.getsignal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_a_server_in_another_thread_keeps_its_signals(server: Server) -> None:
    """Only the main thread may set handlers (`signal.signal`)."""

    async def serve() -> None:
        async with server.run(Mount(returns, {}, "")):
            assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
            await server.tell("shutdown")

    asyncio.run(asyncio.to_thread(asyncio.run, serve()))
    assert server.diary == ["the supervisor begins", "the runs end"]
