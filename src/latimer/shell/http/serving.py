"""The server's end of HTTP/1.1: requests in, answers out, one connection each.

A request's handler starts as soon as its head is complete, so that it can refuse before the body has come. Reading goes
on while it runs: that is how a client that goes away is noticed.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools
from msgspec import Struct

from latimer.shell.http.accepting import Acceptor

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together."""
IDLE_SECONDS = 75.0
"""How long a connection may wait for a whole request head, or for more of a body."""
FRAMING = 16
"""Bytes of chunk sizes and extensions for each byte of a body, beyond those that a head may have."""
HIGH_WATER = 64 * 1024
"""Bytes that wait for a slow client before the upstream is not read any more."""
MOST_WAITING = 8
"""Requests of one connection that may wait for their turn."""
BACKLOG = 1024
"""Connections that may wait to be taken."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_NO_BREAKS = {0: " ", 10: " ", 13: " "}
"""A value may hold what a client called a model; it must not end its line."""
_BODILESS = frozenset({204, 304})
_BODIES = frozenset({"content-length", "transfer-encoding"})


class TooLarge(Exception):
    """The request's body is larger than its limit."""


class Unreadable(Exception):
    """The request's body is not what its headers say."""


class Response(Struct, frozen=True):
    """A whole answer. `content-length` and `connection` are added."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Request:
    """One request, and the means to answer it. Header names are in lower case, with all values of a repeated one."""

    __slots__ = (
        "_error",
        "_limit",
        "_parts",
        "_size",
        "_waiting",
        "begun",
        "chunks",
        "complete",
        "headers",
        "keeps_alive",
        "line",
        "method",
        "path",
        "query",
    )

    def __init__(self, connection: Connection, limit: int) -> None:
        self.method = ""
        self.path = ""
        """Decoded, without the query."""
        self.query = ""
        self.headers: dict[str, list[str]] = {}
        self.begun = False
        """Whether the client has its status line."""
        self.complete = False
        """Whether the whole body has come."""
        self.keeps_alive = False
        self.chunks = True
        """Whether the client understands chunks (HTTP/1.0 does not)."""
        self.line = connection
        """The connection, whose congestion is this request's."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._waiting: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    def header(self, name: str) -> str:
        """The last value of a header, '' without one."""
        values = self.headers.get(name)
        return values[-1] if values else ""

    async def body(self) -> bytes:
        """The body, decompressed. Raises `TooLarge`, `Unreadable`, ConnectionError when the client goes away."""
        length = self.header("content-length")
        if length.isdigit() and int(length) > self._limit:
            raise TooLarge
        if self._error is not None:
            raise self._error
        if not self.complete and self._size <= self._limit:
            if self.header("expect").lower() == "100-continue":
                self.line.put(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self._size > self._limit:
            raise TooLarge
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return _inflated(body, self.header("content-encoding").strip().lower(), self._limit)

    def respond(self, response: Response) -> None:
        """Answer with a whole body."""
        body = b"" if self.method == "HEAD" or response.status in _BODILESS else response.body
        self._head(response.status, {**response.headers, "content-length": str(len(response.body))}, body)

    def open(self, headers: Mapping[str, str]) -> None:
        """Begin a 200 whose body comes in pieces."""
        if self.chunks:
            headers = {**headers, "transfer-encoding": "chunked"}
        else:
            self.keeps_alive = False
        self._head(200, headers, b"")

    def write(self, data: bytes) -> None:
        """A piece of the body, in one write; nothing when the client is gone, whose handler is being cancelled."""
        transport = self.line.transport
        if transport is not None:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunks else data)

    def end(self) -> None:
        """The end of a body that came in pieces."""
        if self.chunks:
            self.line.put(b"0\r\n\r\n")

    async def drain(self) -> None:
        """Wait while the client is slow to read. Raises ConnectionError when it goes away."""
        await self.line.drain()

    def feed(self, data: bytes) -> None:
        """More of the body; of one that is too large nothing is kept."""
        self._size += len(data)
        if self._size <= self._limit:
            self._parts.append(data)
        else:
            self._parts = []
            self._wake(None)

    def finish(self) -> None:
        """The body has come."""
        self.complete = True
        self._wake(None)

    def fail(self, error: Exception) -> None:
        """The rest of the body will not come."""
        self._error = error
        self._wake(error)

    def _wake(self, error: Exception | None) -> None:
        if self._waiting is None or self._waiting.done():
            return
        if error is None:
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(error)

    def _head(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.begun = True
        # A body that was refused unread would be taken for the next request.
        self.keeps_alive = self.keeps_alive and self.complete
        lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"]
        lines += [f"{name}: {value.translate(_NO_BREAKS)}\r\n" for name, value in headers.items()]
        lines.append("connection: keep-alive\r\n\r\n" if self.keeps_alive else "connection: close\r\n\r\n")
        self.line.put("".join(lines).encode("utf-8", "replace") + body)


Handler = Callable[[Request], Awaitable[None]]
"""Answers a request. It must not raise, but for CancelledError and ConnectionError."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_drained",
        "_ending",
        "_in_head",
        "_loop",
        "_parser",
        "_queue",
        "_request",
        "_server",
        "_task",
        "_timer",
        "_unpaid",
        "_url",
        "congested",
        "transport",
    )

    def __init__(self, server: Listener) -> None:
        self._server = server
        self._loop = server.loop
        self._parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self._request = Request(self, server.limit)
        self._url = b""
        self._in_head = True
        self._unpaid = 0
        """Bytes that are no body: a head, or the framing of chunks beyond `FRAMING` for each byte in them."""
        self._queue: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._ending = False
        """Whether nothing more is read: what came last was no HTTP, or was said to be the end."""
        self.congested = False

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass
        self.transport.set_write_buffer_limits(HIGH_WATER)
        self._server.joined(self)
        self._timer = self._loop.call_later(IDLE_SECONDS, self.close)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._unpaid += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._request.headers.keys() & _BODIES:
                self._request.fail(Unreadable())  # the parser has taken the body for the other protocol
            self._refuse(400)
        except httptools.HttpParserError:
            self._refuse(400)
        else:
            if self._unpaid > MAX_HEAD_BYTES:
                self._refuse(431)
            elif not (self._in_head or self._request.complete):
                self._stop_timer()
                self._timer = self._loop.call_later(IDLE_SECONDS, self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None
        self._server.left(self)
        self._stop_timer()
        self._request.fail(ConnectionResetError("the client went away"))
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the client went away"))
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        self._request = Request(self, self._server.limit)
        self._url = b""
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: nobody who has read the head knows of it
        key = name.decode("latin-1").lower()
        self._request.headers.setdefault(key, []).append(value.decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        request = self._request
        path, _, query = self._url.decode("utf-8", "surrogateescape").partition("?")
        request.method = self._parser.get_method().decode("latin-1")
        request.path, request.query = unquote(path, errors="surrogateescape"), query
        request.keeps_alive = self._parser.should_keep_alive() and not self._server.stopping
        version = self._parser.get_http_version()
        if not _unambiguous(request.headers, version):
            raise Unreadable
        request.chunks = version != "1.0"
        self._in_head = False
        self._unpaid = 0
        self._stop_timer()
        self._queue.append(request)
        if self._task is None:
            self._next()
        elif len(self._queue) > MOST_WAITING:
            self.close()

    def on_body(self, body: bytes) -> None:
        self._unpaid -= FRAMING * len(body)  # the body has a limit of its own
        self._request.feed(body)

    def on_message_complete(self) -> None:
        self._request.finish()
        self._unpaid = 0
        self._stop_timer()

    # --- one request after the other ---

    def _next(self) -> None:
        request = self._queue.popleft()
        self._task = self._loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self._server.handler(request)
        except ConnectionError:
            pass  # the client is gone
        finally:
            self._task = None
            if self._server.stopping or not (request.keeps_alive and request.begun):
                self.close()
            elif self._queue:
                self._next()
            elif self._ending:
                self.close()
            elif self.transport is not None:
                self._timer = self._loop.call_later(IDLE_SECONDS, self.close)

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._task is not None

    def put(self, data: bytes) -> None:
        """Bytes for the client; nothing when it is gone."""
        if self.transport is not None:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read most of what was written."""
        if self.transport is None:
            raise ConnectionResetError("the client went away")
        if self.congested:
            self._drained = self._loop.create_future()
            await self._drained

    def close(self) -> None:
        """End the connection once everything is written."""
        self._stop_timer()
        if self.transport is not None:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """What is not HTTP gets one answer, unless others are on their way, and is the end."""
        self._ending = True
        self._request.keeps_alive = False
        if not self._request.complete:
            self._request.fail(Unreadable())
        if self._task is None:
            Request(self, 0).respond(self._server.refusal(status))
            self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Listener:
    """A listening socket and its connections. `limit` is the most bytes of a request's body.

    `refusal` makes the answer to what is not HTTP (400) or has too large a head (431).
    """

    def __init__(self, handler: Handler, refusal: Callable[[int], Response], limit: int) -> None:
        self.handler = handler
        self.refusal = refusal
        self.limit = limit
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.stopping = False
        self._server: asyncio.Server | None = None
        self._acceptor: Acceptor | None = None

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Start; returns where. Raises OSError."""
        self._server = await self.loop.create_server(lambda: Connection(self), host or None, port, backlog=BACKLOG)
        name: tuple[str, int] = self._server.sockets[0].getsockname()
        return name[0], name[1]

    def listen_on(self, sockets: Sequence[socket.socket], loads: memoryview, slot: int) -> None:
        """Start on sockets that other processes share, see `Acceptor`."""
        self._acceptor = Acceptor(sockets, loads, slot, lambda: Connection(self))
        self._acceptor.start()

    def joined(self, connection: Connection) -> None:
        """There is one connection more."""
        self.connections.add(connection)
        if self._acceptor is not None:
            self._acceptor.open(len(self.connections))

    def left(self, connection: Connection) -> None:
        """There is one connection less."""
        self.connections.discard(connection)
        if self._acceptor is not None:
            self._acceptor.open(len(self.connections))

    def stop_listening(self) -> None:
        """Take no more connections and close idle ones; requests that are being answered go on."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        if self._acceptor is not None:
            self._acceptor.stop()
        for connection in list(self.connections):
            if not connection.busy:
                connection.close()

    def close(self) -> None:
        """End every connection."""
        for connection in list(self.connections):
            connection.close()


def _unambiguous(headers: Mapping[str, list[str]], version: str) -> bool:
    """Whether everybody on the way reads this head in the same way. The parser itself refuses the other doubtful ones:
    two lengths, a length beside chunks, folded lines, bare line feeds.
    """
    hosts = len(headers.get("host", ()))
    codings = [value.strip().lower() for value in headers.get("transfer-encoding", ())]
    if version == "1.0":
        return hosts <= 1 and not codings
    return version == "1.1" and hosts == 1 and codings in ([], ["chunked"])


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its compression: gzip, or deflate with or without its zlib header."""
    if encoding in ("", "identity"):
        return body
    bits = 31 if encoding == "gzip" else 15 if body[:1] == b"\x78" else -15
    inflater = zlib.decompressobj(bits)
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise Unreadable from error
    if len(inflated) > limit:
        raise TooLarge
    if not inflater.eof:
        raise Unreadable
    return inflated
