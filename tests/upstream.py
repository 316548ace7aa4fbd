"""A scripted server of all three dialects on a loopback port, in a thread with its own event loop.

A script is asked once for each request that obeys the rules (see `scenarios.strict`) and answers with a `Say`, or with
a `Wire` where the exact bytes matter. Everything that arrived is on record.
"""

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from aiohttp import web

from tests.scenarios.ledger import Ledger
from tests.scenarios.replies import Cut, Pause, Say, Wire, failure
from tests.scenarios.rules import Json, MalformedError, Rules, parse
from tests.scenarios.strict import Host, Strict
from tests.scenarios.turns import TURNS, Turn, flat, messages_of, tools_of

__all__ = ["Exchange", "Reply", "Script", "Upstream", "conversation", "flat", "playing", "sequence"]

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
    dialect: str = "chat"
    host: Host = field(default_factory=Strict)
    ledger: Ledger = field(default_factory=Ledger)
    refused: str | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    arrived: float = field(default_factory=time.monotonic)
    gone_after: float | None = None

    @property
    def messages(self) -> list[Json]:
        """The conversation, in the dialect's own form."""
        return messages_of(self.dialect, self.body)

    @property
    def turns(self) -> list[Turn]:
        """The conversation, in a form that is the same for every dialect."""
        turns: list[Turn] = TURNS[self.dialect](self.body)
        return turns

    @property
    def streaming(self) -> bool:
        """Whether the reply is to be streamed."""
        return bool(self.body.get("stream"))

    @property
    def tools(self) -> dict[str, Json]:
        """The functions on offer, by name, in the order of the request."""
        return tools_of(self.dialect, self.body)

    @property
    def results(self) -> list[str]:
        """The texts of all tool results so far."""
        return self.said("tool")

    @property
    def rounds(self) -> int:
        """How often the model has called tools so far."""
        return sum(bool(turn.calls) for turn in self.turns)

    @property
    def parts(self) -> list[Json]:
        """All content parts of all messages."""
        return [part for turn in self.turns for part in turn.parts]

    @property
    def text(self) -> str:
        """All text of the conversation."""
        return "\n".join(turn.text for turn in self.turns)

    def said(self, role: str) -> list[str]:
        """The texts of all messages of one role."""
        return [turn.text for turn in self.turns if turn.role == role]

    def render(self, say: Say) -> Wire:
        """The bytes for `say`, as this request wants it."""
        calls = sum(len(turn.calls) for turn in self.turns)
        usage = say.usage or {
            "prompt_tokens": len(self.raw) // 4,
            "completion_tokens": 1
            + (len(say.text) + len(say.reasoning) + sum(len(call.text) for call in say.calls)) // 4,
        }
        total = usage["prompt_tokens"] + usage["completion_tokens"]
        say = replace(say, usage={**usage, "total_tokens": total}).identified(first=calls + 1)
        return self.host.render(self, say, self.ledger)


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

    def __init__(
        self, script: Script | Iterable[Reply | Script] | None = None, *, key: str | None = None, port: int = 0
    ) -> None:
        self.rules = Rules()
        self.host: Host = Strict()
        self.ledger = Ledger()
        self.key = key
        self.exchanges: list[Exchange] = []
        self.strays: list[str] = []
        self.failures: list[str] = []
        self._script: Script = sequence()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="upstream", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._port = port
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

    def play(
        self, script: Script | Iterable[Reply | Script], *, rules: Rules | None = None, host: Host | None = None
    ) -> Self:
        """Start over: forget what was recorded, and answer with `script` from now on."""
        self._script = script if callable(script) else sequence(*script)
        self.rules = rules or Rules()
        self.host = host or Strict(self.rules)
        self.ledger = Ledger()
        self.exchanges, self.strays, self.failures = [], [], []
        return self

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on the port, or on a free one."""
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
        app.router.add_get("/{prefix:.*}models", self._models)
        app.router.add_post("/{prefix:.*}messages/count_tokens", self._count)
        app.router.add_post("/{path:.*}", self._post)
        app.router.add_route("*", "/{path:.*}", self._stray)
        # A client that goes away cancels the handler: that is how disconnects get on record.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        await site.start()
        self._port = runner.addresses[0][1]
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        entry = {"id": self.host.model, "object": "model", "created": 1, "owned_by": "script"}
        return web.json_response({"object": "list", "data": [entry]})

    async def _stray(self, request: web.Request) -> web.Response:
        self.strays.append(f"{request.method} {request.path_qs}")
        return web.json_response({"error": {"message": "Not Found", "type": "invalid_request_error"}}, status=404)

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response({"input_tokens": len(await request.read()) // 4})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        dialect = self.host.dialect(request.path)
        return await self._complete(request, dialect) if dialect else await self._stray(request)

    async def _complete(self, request: web.Request, dialect: str) -> web.StreamResponse:
        raw = await request.read()
        number, headers, host = len(self.exchanges), request.headers.copy(), self.host
        exchange = Exchange(number, request.path, headers, raw, {}, host.model, dialect, host, self.ledger)
        self.exchanges.append(exchange)
        try:
            wire = await self._answer(exchange)
        except MalformedError as error:
            exchange.refused = str(error)
            wire = exchange.host.refuse(exchange, error)
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
        shown = exchange.headers.get("x-api-key", exchange.headers.get("authorization", "").removeprefix("Bearer "))
        if self.key is not None and shown != self.key:
            message = "Incorrect API key provided. You can find your API key at https://example.invalid/keys."
            return exchange.host.refuse(exchange, MalformedError(message, code="invalid_api_key", status=401))
        exchange.body = parse(exchange.raw)
        exchange.host.check(exchange, exchange.ledger)
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
