"""A scripted Chat Completions server on a loopback port, in a thread with its own event loop.

A script is asked once for each request that obeys the rules (see `scenarios.rules`) and answers with a `Say`, or with a
`Wire` where the exact bytes matter. Everything that arrived is on record.
"""

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from aiohttp import web

from tests.scenarios.replies import Cut, Pause, Say, Wire, failure
from tests.scenarios.rules import Json, MalformedError, Rules, parse

Reply = Say | Wire
Script = Callable[["Exchange"], Reply | Awaitable[Reply]]


@dataclass
class Exchange:
    """One request as the upstream saw it, and what became of it."""

    number: int
    path: str
    headers: Mapping[str, str]
    raw: bytes
    body: Json
    model: str
    refused: str | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    arrived: float = field(default_factory=time.monotonic)
    gone_after: float | None = None

    @property
    def messages(self) -> list[Json]:
        """The conversation."""
        return list(self.body.get("messages", []))

    @property
    def streaming(self) -> bool:
        """Whether the reply is to be streamed."""
        return bool(self.body.get("stream"))

    @property
    def tools(self) -> dict[str, Json]:
        """The functions on offer, by name, in the order of the request."""
        return {tool["function"]["name"]: tool["function"] for tool in self.body.get("tools", [])}

    @property
    def results(self) -> list[str]:
        """The texts of all tool messages so far."""
        return [flat(message["content"]) for message in self.messages if message["role"] == "tool"]

    @property
    def parts(self) -> list[Json]:
        """All content parts of all messages."""
        contents = [message.get("content") for message in self.messages]
        return [part for content in contents if isinstance(content, list) for part in content]

    @property
    def text(self) -> str:
        """All text of the conversation."""
        return "\n".join(flat(message.get("content")) for message in self.messages)

    def said(self, role: str) -> list[str]:
        """The texts of all messages of one role."""
        return [flat(message.get("content")) for message in self.messages if message["role"] == role]

    def render(self, say: Say) -> Wire:
        """The bytes for `say`, as this request wants it."""
        calls = sum(len(message.get("tool_calls") or ()) for message in self.messages)
        usage = say.usage or {
            "prompt_tokens": len(self.raw) // 4,
            "completion_tokens": 1
            + (len(say.text) + len(say.reasoning) + sum(len(call.text) for call in say.calls)) // 4,
        }
        total = usage["prompt_tokens"] + usage["completion_tokens"]
        say = replace(say, usage={**usage, "total_tokens": total}).identified(first=calls + 1)
        if not self.streaming:
            return say.whole(self.model)
        options = self.body.get("stream_options") or {}
        return say.streamed(self.model, include_usage=bool(options.get("include_usage")))


def flat(content: Any) -> str:
    """The text of a message's content, whatever its form."""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def sequence(*replies: Reply | Script) -> Script:
    """A script that gives one reply after the other, whatever is asked."""
    left: Iterator[Reply | Script] = iter(replies)

    def script(exchange: Exchange) -> Reply | Awaitable[Reply]:
        reply = next(left, None)
        if reply is None:
            raise AssertionError(f"request {exchange.number + 1}, but the script has only {len(replies)} replies")
        return reply(exchange) if callable(reply) else reply

    return script


class Upstream:
    """The server. Use it as a context manager, or `start` and `stop` it."""

    def __init__(self, script: Script | Iterable[Reply | Script] | None = None, *, key: str | None = None) -> None:
        self.rules = Rules()
        self.key = key
        self.exchanges: list[Exchange] = []
        self.strays: list[str] = []
        self.failures: list[str] = []
        self._script: Script = sequence()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="upstream", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._port = 0
        if script is not None:
            self.play(script)

    @property
    def url(self) -> str:
        """The base URL, as a provider prints it."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def served(self) -> list[Exchange]:
        """The exchanges that obeyed the rules."""
        return [exchange for exchange in self.exchanges if exchange.refused is None]

    @property
    def refused(self) -> list[str]:
        """What was wrong with the requests that did not obey the rules."""
        return [exchange.refused for exchange in self.exchanges if exchange.refused is not None]

    @property
    def last(self) -> Exchange:
        """The newest exchange."""
        return self.exchanges[-1]

    def play(self, script: Script | Iterable[Reply | Script], *, rules: Rules | None = None) -> Self:
        """Start over: forget what was recorded, and answer with `script` from now on."""
        self._script = script if callable(script) else sequence(*script)
        self.rules = rules or Rules()
        self.exchanges, self.strays, self.failures = [], [], []
        return self

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on a free loopback port."""
        self._thread.start()
        if not self._ready.wait(10):
            raise AssertionError("the scripted upstream did not start")

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        if self._thread.is_alive():
            raise AssertionError("the scripted upstream did not stop")

    async def _serve(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{prefix:.*}chat/completions", self._complete)
        app.router.add_get("/{prefix:.*}models", self._models)
        app.router.add_route("*", "/{path:.*}", self._stray)
        # A client that goes away cancels the handler: that is how disconnects get on record.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        entry = {"id": self.rules.model, "object": "model", "created": 1, "owned_by": "script"}
        return web.json_response({"object": "list", "data": [entry]})

    async def _stray(self, request: web.Request) -> web.Response:
        self.strays.append(f"{request.method} {request.path_qs}")
        return web.json_response({"error": {"message": "Not Found", "type": "invalid_request_error"}}, status=404)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        exchange = Exchange(len(self.exchanges), request.path, request.headers.copy(), raw, {}, self.rules.model)
        self.exchanges.append(exchange)
        try:
            wire = await self._answer(exchange)
        except MalformedError as error:
            exchange.refused = str(error)
            wire = failure(error.status, str(error), param=error.param, code=error.code)
        except Exception as error:
            # A bug in a script must not look like a provider's outage: it is kept for the test to see.
            self.failures.append(repr(error))
            wire = failure(400, f"the script failed: {error!r}", code="script_failed")
        try:
            return await _send(request, wire)
        except (asyncio.CancelledError, ConnectionResetError):
            exchange.gone_after = time.monotonic() - exchange.arrived
            exchange.gone.set()
            raise
        finally:
            exchange.answered.set()

    async def _answer(self, exchange: Exchange) -> Wire:
        if self.key is not None and exchange.headers.get("authorization") != f"Bearer {self.key}":
            message = "Incorrect API key provided. You can find your API key at https://example.invalid/keys."
            return failure(401, message, code="invalid_api_key")
        exchange.body = parse(exchange.raw)
        self.rules.check(exchange.body)
        reply = self._script(exchange)
        if inspect.isawaitable(reply):
            reply = await reply
        return exchange.render(reply) if isinstance(reply, Say) else reply


async def _send(request: web.Request, wire: Wire) -> web.StreamResponse:
    # A pause at the very start holds back the status line too: that is a model still reading its prompt.
    steps = wire.steps
    if steps and isinstance(steps[0], Pause):
        await asyncio.sleep(steps[0].seconds)
        steps = steps[1:]
    response = web.StreamResponse(status=wire.status, headers=dict(wire.headers))
    if all(isinstance(step, bytes) for step in steps) and "event-stream" not in wire.headers["content-type"]:
        response.content_length = sum(len(step) for step in steps if isinstance(step, bytes))
    await response.prepare(request)
    for step in steps:
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Cut():
                if request.transport is not None:
                    request.transport.abort()
                return response
            case _:
                await response.write(step)
                await asyncio.sleep(0)
    await response.write_eof()
    return response


@contextmanager
def playing(
    script: Script | Iterable[Reply | Script], *, rules: Rules | None = None, key: str | None = None
) -> Iterator[Upstream]:
    """A running upstream that plays `script`."""
    with Upstream(key=key).play(script, rules=rules) as upstream:
        yield upstream


def conversation(exchange: Exchange) -> str:
    """A readable transcript of a request, for the message of a failing assertion."""
    return "\n".join(json.dumps(message, ensure_ascii=False)[:400] for message in exchange.messages)
