"""A gateway and a scripted upstream in one event loop: fast, and in full control of every byte and connection.

A script answers one exchange: it is a `Say`, a `Wire`, or a coroutine function that writes what it likes.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from latimer.policy.config import Config, parse
from latimer.shell.service import running
from tests.scenarios.replies import Cut, Pause, Say, Wire

Json = dict[str, Any]
KEY_VARIABLE = "LATIMER_TEST_KEY"
KEY = "sk-canary-0123456789abcdefghij"
PROMPT = "canary prompt: the cat sat on the mat"
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
DONE = b"data: [DONE]\n\n"


@dataclass
class Exchange:
    """One request as the upstream saw it, and the means to answer it."""

    number: int
    path: str
    headers: Mapping[str, str]
    raw: bytes
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The other side has closed the connection."""

    @property
    def body(self) -> Json:
        found: Json = json.loads(self.raw)
        return found

    async def head(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", "Transfer-Encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        if data:
            await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def say(self, *texts: str) -> None:
        """Deltas of text, one chunk each."""
        for text in texts:
            await self.chunk(delta(text))

    async def end(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def finish(self, *, usage: bool = True, done: bool = True) -> None:
        """The finish reason, the usage and the end."""
        await self.chunk(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        if usage:
            await self.chunk(event({"choices": [], "usage": USAGE}))
        if done:
            await self.chunk(DONE)
        await self.end()

    async def write(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def play(self, wire: Wire) -> None:
        steps = wire.steps
        if steps and isinstance(steps[0], Pause):  # a pause at the very start holds back the status line too
            await asyncio.sleep(steps[0].seconds)
            steps = steps[1:]
        headers = {name: value for name, value in wire.headers.items() if name != "content-type"}
        await self.head(wire.status, wire.headers["content-type"], **headers)
        for step in steps:
            match step:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Cut():
                    self.reset()
                    return
                case _:
                    await self.chunk(step)
                    await asyncio.sleep(0)
        await self.end()

    def reset(self) -> None:
        """Close as a dying process does: with a RST."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """Close in good order."""
        self.writer.close()


Answer = Say | Wire | Callable[[Exchange], Awaitable[None]]


def event(body: Json) -> bytes:
    return b"data: %s\n\n" % json.dumps(body).encode()


def delta(text: str) -> bytes:
    return event({"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}]})


ROLE = event({"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
"""What most servers begin with: no content yet."""


def halting(go: asyncio.Event, begin: str = "Hello", end: str = " you") -> Callable[[Exchange], Awaitable[None]]:
    """Streams an answer whose second half comes when it may."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(begin)
        await go.wait()
        await exchange.say(end)
        await exchange.finish()

    return script


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.gone.wait()


class Upstream:
    """The server. `answers` are for chat completions, the last one for all that follow; `gets` for other paths."""

    def __init__(self, answers: Sequence[Answer], others: Mapping[str, Any]) -> None:
        self.exchanges: list[Exchange] = []
        self.asked: list[str] = []
        self.connections = 0
        self.port = 0
        self.errors: list[BaseException] = []
        self._answers = answers
        self._others = others
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        keys = dict(line.split(": ", 1) for line in head[1:] if line)
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        if not path.endswith("/chat/completions"):
            self.asked.append(f"{method} {path}")
            await Exchange(-1, path, keys, raw, writer).play(await self._other(path, raw))
            return True
        exchange = Exchange(len(self.exchanges), path, {k.lower(): v for k, v in keys.items()}, raw, writer)
        self.exchanges.append(exchange)
        watch = asyncio.create_task(_watch(reader, exchange))
        try:
            await self._answer(exchange)
        except ConnectionError:
            exchange.gone.set()
            raise
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        return not writer.is_closing() and not reader.at_eof()

    async def _answer(self, exchange: Exchange) -> None:
        answer = self._answers[min(exchange.number, len(self._answers) - 1)]
        if isinstance(answer, Say):
            say = Say(**{**answer.__dict__, "usage": answer.usage or USAGE})
            answer = say.streamed("m", include_usage=True) if exchange.body.get("stream") else say.whole("m")
        if isinstance(answer, Wire):
            await exchange.play(answer)
        else:
            await answer(exchange)

    async def _other(self, path: str, raw: bytes) -> Wire:
        found = self._others.get(path)
        if callable(found):
            found = found(raw)
        if isinstance(found, Wire):
            return found
        if found is None:
            return Wire((b'{"error":{"message":"not found"}}',), status=404)
        return Wire((json.dumps(found).encode(),))


async def _watch(reader: asyncio.StreamReader, exchange: Exchange) -> None:
    """Notice that the client has gone, without eating the next request (which it never pipelines)."""
    while not reader.at_eof() and reader.exception() is None and not exchange.writer.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    exchange.gone.set()


@asynccontextmanager
async def upstream(*answers: Answer, others: Mapping[str, Any] | None = None) -> AsyncIterator[Upstream]:
    """A scripted upstream."""
    script = Upstream(answers or (Say("Hello there"),), others or {})
    server = await asyncio.start_server(script.connect, "127.0.0.1", 0, limit=2**20)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        await script.stop()
        await server.wait_closed()
    assert not script.errors, script.errors


def config_for(*urls: str, rules: str = "", retry: str = "base_wait_seconds = 0.01", **server: Any) -> Config:
    """Providers p0, p1, …, all with the canary key, in one chain."""
    server = {"port": 0, **server}
    lines = ["[server]", *(f"{name} = {json.dumps(value)}" for name, value in server.items()), "[retry]", retry]
    for number, url in enumerate(urls):
        lines += [f"[providers.p{number}]", f'base_url = "{url}"', f'api_key = "env:{KEY_VARIABLE}"', rules]
    chain = [f"p{number}/m" for number in range(len(urls))]
    return parse("\n".join([*lines, "[routes]", f"default = {json.dumps(chain)}"]), "test.toml")


@dataclass
class Response:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        """The error of Anthropic's envelope, checked."""
        assert self.headers["content-type"].startswith("application/json"), self.body
        envelope = self.json
        assert set(envelope) == {"type", "error", "request_id"}, envelope
        assert envelope["type"] == "error"
        assert envelope["request_id"] == self.headers["request-id"]
        found: Json = envelope["error"]
        return found

    @property
    def events(self) -> list[tuple[str, Json]]:
        """The events of a stream, checked to be whole."""
        assert self.headers["content-type"].startswith("text/event-stream"), (self.status, self.body)
        return events_in(self.body)

    @property
    def text(self) -> str:
        return "".join(data["delta"].get("text", "") for name, data in self.events if name == "content_block_delta")


def events_in(body: bytes) -> list[tuple[str, Json]]:
    found = []
    assert body.endswith(b"\n\n"), body[-200:]
    for block in body.decode().split("\n\n")[:-1]:
        name, data = [line for line in block.split("\n") if not line.startswith(":")]
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        parsed = json.loads(data[6:])
        assert parsed["type"] == name[7:]
        found.append((name[7:], parsed))
    return found


def names(events: list[tuple[str, Json]], *, pings: bool = False) -> list[str]:
    return [name for name, _ in events if pings or name != "ping"]


WHOLE_TEXT = ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]
ENDING = ["message_delta", "message_stop"]


def message(*, stream: bool = True, **fields: Any) -> Json:
    """A request with the canary in its prompt."""
    body = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
    return {**body, "stream": stream, **fields}


@dataclass
class Gateway:
    """A running gateway, and a client for it."""

    url: str
    session: aiohttp.ClientSession

    async def ask(
        self, *, path: str = "/v1/messages", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Response:
        return await self.post(path, message(**fields), {"anthropic-version": "2023-06-01"} | dict(headers or {}))

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.call("POST", path, headers, data)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return await self.call("GET", path, headers)

    async def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Response:
        async with self.session.request(method, self.url + path, data=data, headers=headers) as response:
            return Response(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def opened(self, **fields: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request whose answer has begun; leaving goes away without reading on."""
        response = await self.session.post(self.url + "/v1/messages", data=json.dumps(message(**fields)))
        try:
            yield response
        finally:
            response.close()


@asynccontextmanager
async def gateway(config: Config, state: Path | None = None) -> AsyncIterator[Gateway]:
    """A running gateway that must leave no task behind."""
    before = asyncio.all_tasks()
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, running(config, state) as url:
        yield Gateway(url, session)
    for _ in range(5):
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if "latimer" in repr(task)}
    assert not left


@asynccontextmanager
async def serving(
    *answers: Answer, others: Mapping[str, Any] | None = None, rules: str = "", retry: str = "", **server: Any
) -> AsyncIterator[tuple[Gateway, Upstream]]:
    """A gateway before one scripted upstream."""
    async with upstream(*answers, others=others) as script:
        config = config_for(script.url, rules=rules, retry=retry or "base_wait_seconds = 0.01", **server)
        async with gateway(config) as running_gateway:
            yield running_gateway, script


async def eventually(condition: Callable[[], bool], seconds: float = 2.0) -> None:
    """Wait until the condition holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
