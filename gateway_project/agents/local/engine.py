"""A small language model inside this process: `xllamacpp` behind one async generator.

What an abort has to do decides the shape of this module. llama.cpp looks for a stop only where it hands out
a result, and while it reads a prompt it hands out none, unless it was asked for progress. So every request
asks for progress, the prompt is read in small batches, and the callback that receives a result answers
"stop" once the consumer is gone. The batch already under way is still computed; `Engine.chat` therefore
does not return from an abort before the engine itself reports that the request is off its slot. Only then is
"stopped" true.

One plain thread a slot sits inside the engine's blocking call, which lets go of the GIL. Chunks cross to the
event loop with one wake-up a burst. The engine never waits for a reader; what a slow reader can pile up is
bounded by the request's tokens, which the context always bounds. Do not fork after `Engine.load`.
"""

import asyncio
import contextlib
import json
import logging
import queue
import re
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

from gateway_project import clock

logger = logging.getLogger("gateway.agents.local")

_BATCH_TOKENS = 8
"""How much of a prompt is read between two chances to stop."""

JOIN_SECONDS = 5.0
"""How long `Engine.close` waits for a worker. A batch takes 0.1 to 0.3 s."""

STOP_SECONDS = 60.0
"""How long the engine may take to give up a request. Its run is long recorded as unresponsive by then."""

_PASSED_ON = frozenset(
    {
        "messages",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "response_format",
    }
)
"""What of a body reaches the engine. It knows many more keys (slots, adapters, grammars): no client's business."""


class EngineError(Exception):
    """The engine refused or failed a request. `status` is the HTTP status that fits, `kind` the engine's word."""

    def __init__(self, status: int, message: str, kind: str = "server_error") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind


class _Job:
    """One request on its way between the event loop and a worker."""

    def __init__(self, request: str) -> None:
        self.request = request
        self.loop = asyncio.get_running_loop()
        self.wake = asyncio.Event()
        self.ended = asyncio.Event()
        self.stop = False
        self.last = ""
        self.error: EngineError | None = None
        self._started = False
        self._lock = threading.Lock()
        self._waiting: list[str] = []

    def start(self) -> bool:
        """A worker takes the job, unless its consumer left while it was queued."""
        with self._lock:
            self._started = not self.stop
            return self._started

    def abandon(self) -> bool:
        """The consumer leaves. True when a worker has the job and will set `ended`."""
        with self._lock:
            self.stop = True
            return self._started

    def push(self, raw: str) -> None:
        """A worker hands over a chunk; one wake-up serves all that wait."""
        with self._lock:
            self._waiting.append(raw)
            first = len(self._waiting) == 1
        if first:
            self._call(self.wake.set)

    def take(self) -> list[str]:
        """The consumer takes all that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting

    def end(self, error: EngineError | None) -> None:
        """A worker is done with the job."""
        self.error = error
        self._call(self.ended.set)
        self._call(self.wake.set)

    def _call(self, action: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody reads any more.
            self.loop.call_soon_threadsafe(action)


class Engine:
    """`slots` requests at a time, each with a context of `context_tokens`; a further one waits its turn.

    With two threads it is 1.6 times as fast on two idle cores. On busy ones they wait for each other, and a
    batch, so an abort too, took up to 3 s against 0.3 s with one. Larger batches read hardly faster.

    Args:
        model_path: a GGUF file.
    """

    def __init__(self, model_path: Path, *, context_tokens: int = 2048, slots: int = 1, threads: int = 1) -> None:
        self.model_path = model_path
        self.context_tokens = context_tokens
        self.slots = slots
        self.threads = threads
        self._server: Any = None
        self._closing = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []

    @property
    def loaded(self) -> bool:
        """Whether it can be asked."""
        return self._server is not None and not self._closing

    def load(self) -> None:
        """Read the model and start the workers. Takes half a second and holds the GIL: call it before serving."""
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self.model_path)
        params.model_alias = {self.model_path.stem}
        params.n_ctx = self.context_tokens * self.slots
        params.n_parallel = self.slots
        params.kv_unified = False
        params.n_batch = params.n_ubatch = _BATCH_TOKENS
        # Slower than none in small batches.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
        params.cache_ram_mib = 0
        params.n_ctx_checkpoints = 0
        params.warmup = False
        params.endpoint_metrics = True  # `_activity` reads them
        params.endpoint_slots = False
        params.ui = False
        params.n_threads_http = 1
        params.verbosity = -1
        # The engine insists on listening. Nobody else can enter this directory, and in a moment nobody at all.
        with tempfile.TemporaryDirectory(prefix="gateway-engine-") as directory:
            params.hostnames = [f"{directory}/engine.sock"]
            self._server = xllamacpp.Server(params)
        # An engine that is closed before its own thread runs never ends. It answers when the thread does.
        self._server.handle_metrics()
        self._closing = False
        self._jobs = queue.SimpleQueue()
        self._workers = [threading.Thread(target=self._work, name=f"gateway-engine-{n}") for n in range(self.slots)]
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """Stop what runs, end the workers, free the model. Blocks for a batch or two."""
        self._closing = True
        self._jobs.put(None)  # Each worker hands it on.
        for worker in self._workers:
            worker.join(JOIN_SECONDS)
        self._workers = []
        self._server = None  # The last reference: the engine joins its own threads.

    async def chat(self, body: Mapping[str, Any], *, max_tokens: int | None) -> AsyncGenerator[dict[str, Any], None]:
        """Yield parsed ``chat.completion.chunk`` objects, the last one with ``usage``.

        However the consumer leaves (end, `aclose`, cancellation), the engine is done with the request
        afterwards. Use it under `contextlib.aclosing`.

        Raises:
            EngineError: what the engine refused or failed.
        """
        if not self.loaded:
            raise EngineError(503, "the engine is not running")
        job = _Job(json.dumps(self._request(body, max_tokens)))
        self._jobs.put(job)
        try:
            ended = False
            while not ended:
                await job.wake.wait()
                job.wake.clear()
                ended = job.ended.is_set()  # Read before taking: nothing is pushed after the end.
                for raw in job.take():
                    yield json.loads(raw)
            if job.error is not None:
                raise job.error
        finally:
            if job.abandon():
                await _wait_through_cancels(job.ended)

    def _request(self, body: Mapping[str, Any], max_tokens: int | None) -> dict[str, Any]:
        request = {key: value for key, value in body.items() if key in _PASSED_ON and value is not None}
        request["max_tokens"] = min(max_tokens or self.context_tokens, self.context_tokens)
        # A prefix kept from before changes the last digits: a seed would then not reproduce.
        request["cache_prompt"] = "seed" not in request
        request["stream"] = True
        request["stream_options"] = {"include_usage": True}
        request["return_progress"] = True
        request["timings_per_token"] = True  # the count so far, in case the client leaves
        return request

    # -- from here on: on the workers' threads --------------------------------------------------------

    def _leaving(self) -> bool:
        # The interpreter marks the main thread as ended before it joins us: no generation may outlive that.
        return self._closing or not threading.main_thread().is_alive()

    def _work(self) -> None:
        while not (leaving := self._leaving()) or not self._jobs.empty():  # leaving: answer whoever still queues
            with contextlib.suppress(queue.Empty):
                job = self._jobs.get(timeout=0 if leaving else 0.5)
                if job is not None and job.start():
                    self._see_to_its_end(job)
        self._jobs.put(None)

    def _see_to_its_end(self, job: _Job) -> None:
        """Whatever goes wrong, the job's consumer is told, and the worker lives on for the next one."""
        error: EngineError | None = EngineError(500, "the engine's worker failed")
        try:
            error = self._run(job)
        except Exception as failure:
            logger.exception("engine.failed")
            error = EngineError(500, repr(failure))
        finally:
            job.end(error)

    def _run(self, job: _Job) -> EngineError | None:
        cut = False

        def receive(raw: str) -> bool:
            nonlocal cut
            if job.stop or self._leaving() or job.loop.is_closed():
                cut = True
                return True
            job.last = raw
            if not raw.startswith('{"error":') and '"prompt_progress":' not in raw:
                job.push(raw)
            return False

        try:
            self._server.handle_chat_completions(job.request, receive)
        except (ValueError, RuntimeError) as error:  # thrown while the request is parsed
            return EngineError(400, str(error), "invalid_request_error")
        if cut:
            self._wait_until_off_the_slot()
            return EngineError(503, "the engine was told to stop")
        if job.last.startswith('{"error":'):
            told = json.loads(job.last)["error"]
            return EngineError(int(told.get("code", 500)), told.get("message", ""), told.get("type", "server_error"))
        return None if '"usage":' in job.last else EngineError(500, "the engine ended without a result")

    def _wait_until_off_the_slot(self) -> None:
        """Wait for the engine's word that the request just given up is not computed any more.

        It takes a cancellation between two batches: if none is under way, or one has ended since, it took it.
        An engine that does not tell holds its slot for `STOP_SECONDS`; then the next request may try its luck.
        """
        at_first: int | None = None
        until = clock.monotonic() + STOP_SECONDS
        while self._server is not None and clock.monotonic() < until:
            with contextlib.suppress(Exception):  # No answer is no word from the engine: ask again.
                processing, batches = self._activity()
                at_first = batches if at_first is None else at_first
                if processing == 0 or batches > at_first:
                    return
            time.sleep(0.004)
        logger.error("engine.not_off_the_slot")

    def _activity(self) -> tuple[int, int]:
        """Requests on slots, and batches computed so far. Answered at once, also while a batch is computed."""
        found = dict(re.findall(r"llamacpp:(requests_processing|n_decode_total) (\d+)", self._server.handle_metrics()))
        return int(found["requests_processing"]), int(found["n_decode_total"])


async def _wait_through_cancels(ended: asyncio.Event) -> None:
    """Wait for the worker, even if cancelled meanwhile; the cancellation goes out afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not ended.is_set():
        try:
            await ended.wait()
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled
