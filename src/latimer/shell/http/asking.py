"""The client's end of HTTP/1.1: one request at a time on a connection, and a pool that keeps connections alive.

The body of an answer is given to a function as it comes, in the callback that brings it (`Reply.flow`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import ip_address
from typing import cast
from urllib.parse import SplitResult, urlsplit

import aiohappyeyeballs
import httptools
from msgspec import Struct

from latimer.policy.addresses import port_of

from .proxies import DIRECT, Way
from .socks import connected
from .trust import tls_context

KEEP_ALIVE_SECONDS = 20.0
"""How long an idle connection is kept. Servers close theirs after 60 s and more; a race with that costs an answer."""
HELD_BYTES = 256 * 1024
"""Of a body, how much may have come before anybody asks for it."""
INFLATED_BYTES = 1024 * 1024
"""Of a compressed body, how much is unpacked at once: a kilobyte can hold a megabyte."""
MAX_HEAD_BYTES = 128 * 1024
DELAY_SECONDS = 0.25
"""How long one address is tried before the next (RFC 8305)."""

Sink = Callable[[bytes], bool]
"""Takes what has come; False: enough for now."""


class BrokenReply(ConnectionError):
    """The other side closed or said what is not HTTP before the answer was complete."""


class Origin(Struct, frozen=True):
    """Where a connection leads."""

    host: str
    port: int
    tls: bool


Place = tuple[Origin, Way]
"""What connections are shared by: never those of another provider's certificate or proxy."""


class Target(Struct, frozen=True):
    """A URL, taken apart once for all its requests."""

    origin: Origin
    head: bytes
    """Request line and `host`, after the method."""


@cache
def target(url: str) -> Target:
    """Raises ValueError for a URL without a host."""
    parts: SplitResult = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an HTTP URL: {url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f" {path} HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}\r\n"
    return Target(Origin(parts.hostname, port_of(parts), tls=parts.scheme == "https"), head.encode("ascii"))


class Connection(asyncio.Protocol):
    """One connection to an upstream."""

    __slots__ = (
        "_error",
        "_head_size",
        "_held",
        "_held_size",
        "_keeps_alive",
        "_loop",
        "_parser",
        "_parts",
        "_reading",
        "_sink",
        "_to_the_end",
        "_transport",
        "_turn",
        "complete",
        "headers",
        "idle",
        "on_body",
        "place",
        "status",
    )

    def __init__(self, place: Place, loop: asyncio.AbstractEventLoop) -> None:
        self.place = place
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = True
        """Whether the answer has come to its end."""
        self._keeps_alive = True
        self._to_the_end = False
        self._head_size = 0
        self._parts: list[bytes] = []
        self.on_body = self._parts.append  # what the parser calls, without a Python function between
        self._held: list[bytes] = []
        self._held_size = 0
        self._sink: Sink | None = None
        self._error: BaseException | None = None
        self._turn: asyncio.Future[None] | None = None
        self._reading = True
        self.idle: asyncio.TimerHandle | None = None

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            self.close()  # words nobody asked for
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, BrokenReply) as error:
            self._deliver()
            # The parser wraps what a callback raises.
            known = error.__context__ if isinstance(error.__context__, BrokenReply) else None
            self._fail(known or BrokenReply(f"this is not HTTP: {error}"))
            return
        if self._parts:
            self._deliver()
        if self.complete:
            self._wake()
        elif not self.status:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD_BYTES:
                self._fail(BrokenReply("the head of the answer is too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.complete:
            return
        if self._to_the_end and exc is None:
            self.complete = True
            self._wake()
        elif isinstance(exc, ssl.SSLError):
            self._fail(BrokenReply(f"the encryption broke: {exc}"))  # no fault of certificates: those were accepted
        else:
            self._fail(exc or BrokenReply("the server closed the connection before the answer was complete"))

    # --- what the parser calls ---

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
            if status == 101:
                raise BrokenReply("the server switches protocols")
            return
        self.status = status
        self._keeps_alive = self._parser.should_keep_alive()
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._to_the_end = not framed
        self._wake()

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True

    # --- one exchange ---

    async def ask(self, request: bytes) -> None:
        """Send a request; returns when the head of its answer has come. Raises ConnectionError, OSError."""
        if self._transport is None:
            raise BrokenReply("the server closed the connection")
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers, self.complete, self._error = 0, {}, False, None
        self._to_the_end, self._head_size = False, 0
        self._transport.write(request)
        while not self.status:
            await self._next()

    async def flow(self, sink: Sink) -> bool:
        """Give what comes to `sink` until it has enough (False) or the body has ended (True).

        Raises ConnectionError or OSError when the connection breaks, and what `sink` raises.
        """
        if self._held:
            held, self._held, self._held_size = b"".join(self._held), [], 0
            if not sink(held):
                return False
        if self.complete:
            return True
        self._sink = sink
        self._read(True)
        try:
            while self._sink is not None and not self.complete:
                await self._next()
        finally:
            self._sink = None
        return self.complete and not self._held

    async def _next(self) -> None:
        """Until something has happened."""
        if self._error is not None:
            raise self._error
        self._turn = self._loop.create_future()
        try:
            await self._turn
        finally:
            self._turn = None
        if self._error is not None and not self._held:
            raise self._error

    def _deliver(self) -> None:
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._sink is None:
            if data:
                self._held.append(data)
                self._held_size += len(data)
            if self._held_size > HELD_BYTES:
                self._read(False)
            return
        try:
            more = self._sink(data)
        except Exception as error:
            self._sink = None
            self._fail(error)
            return
        if not more:
            self._sink = None
            self._read(False)
            self._wake()

    def _read(self, wanted: bool) -> None:
        if self._transport is None or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        elif not self.complete:
            self._transport.pause_reading()
        else:
            self._reading = True

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._wake()
        self.close()

    def _wake(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    # --- its life ---

    @property
    def reusable(self) -> bool:
        """Whether it can take another request."""
        return self.complete and self._keeps_alive and self._transport is not None and not self._transport.is_closing()

    def rest(self) -> None:
        """Nothing is asked for now; what comes now is nobody's."""
        self._parser = None
        self._held, self._held_size = [], 0
        self._read(True)

    def close(self) -> None:
        """Close at once: nothing that is still to be sent matters any more."""
        if self._transport is not None:
            self._transport.abort()


class Reply:
    """An answer whose head has come."""

    __slots__ = (
        "_connection",
        "_inflater",
        "_packed",
        "headers",
        "status",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = connection.status
        self.headers = connection.headers
        encoding = self.headers.get("content-encoding", "").strip().lower()
        self._inflater = _inflater(encoding)
        self._packed = b""
        """What has come and not been unpacked yet."""

    async def flow(self, sink: Sink) -> bool:
        """As `Connection.flow`, without the body's compression, which was not asked for but may have come."""
        if self._inflater is None:
            return await self._connection.flow(sink)
        packed, self._packed = self._packed, b""
        if not self._inflate(packed, sink):
            return False
        return await self._connection.flow(lambda data: self._inflate(data, sink)) and not self._packed

    def _inflate(self, data: bytes, sink: Sink) -> bool:
        assert self._inflater is not None
        while data:
            try:
                plain = self._inflater.decompress(data, INFLATED_BYTES)
            except zlib.error as error:
                raise BrokenReply(f"the compressed body is broken: {error}") from error
            data = self._inflater.unconsumed_tail
            if plain and not sink(plain):
                self._packed = data
                return False
        return True


class Pool:
    """Connections to all upstreams."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._idle: dict[Place, list[Connection]] = {}
        self._loop = asyncio.get_running_loop()

    def asked(self, method: str, url: str, headers: Mapping[str, str], body: bytes, way: Way = DIRECT) -> Asking:
        """Send a request; yields its answer when the head has come. Leaving before the end closes the connection.

        Raises OSError (ConnectionError, socket.gaierror, ssl.SSLError, TimeoutError).
        """
        where = target(url)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
        head = b"%b%b%bcontent-length: %d\r\n\r\n" % (method.encode(), where.head, lines, len(body))
        return Asking(self, (where.origin, way), head + body)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it if its answer did not come to its end."""
        if not connection.reusable:
            connection.close()
            return
        connection.rest()
        connection.idle = self._loop.call_later(KEEP_ALIVE_SECONDS, connection.close)
        self._idle.setdefault(connection.place, []).append(connection)

    def close(self) -> None:
        """Close what is idle."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def take(self, place: Place) -> Connection | None:
        """An idle connection."""
        waiting = self._idle.get(place)
        while waiting:
            connection = waiting.pop()
            if connection.idle is not None:
                connection.idle.cancel()
            if connection.reusable:
                return connection
        return None

    async def connect(self, place: Place) -> Connection:
        """A new connection. Raises OSError."""
        loop = self._loop
        origin, way = place
        async with asyncio.timeout(self._connect_seconds):
            if way.proxy:  # of the SOCKS kind: those of HTTP are the library's
                found = await connected(way.proxy, origin.host, origin.port, self._connect_seconds)
            else:
                addresses = _literal(origin) or await loop.getaddrinfo(
                    origin.host, origin.port, type=socket.SOCK_STREAM
                )
                found = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=DELAY_SECONDS, interleave=1, loop=loop
                )
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = tls_context(way.trust) if origin.tls else None
            _, connection = await loop.create_connection(
                lambda: Connection(place, loop), sock=found, ssl=tls, server_hostname=origin.host if tls else None
            )
        return connection


class Asking:
    """One request: sent on entering, and done with on leaving.

    A class of its own, as are those of the layers above: the event loop keeps account of every asynchronous generator,
    which cost a request about 5 us for each of four.
    """

    def __init__(self, pool: Pool, place: Place, request: bytes) -> None:
        self._pool = pool
        self._place = place
        self._request = request
        self._connection: Connection | None = None

    async def __aenter__(self) -> Reply:
        connection = self._pool.take(self._place) or await self._pool.connect(self._place)
        try:
            await connection.ask(self._request)
            reply = Reply(connection)
        except BaseException:
            self._pool.give_back(connection)
            raise
        self._connection = connection
        return reply

    async def __aexit__(self, *failure: object) -> None:
        if self._connection is not None:
            self._pool.give_back(self._connection)


def _literal(origin: Origin) -> list[aiohappyeyeballs.AddrInfoType]:
    """The address, where the host is one already: looking it up would wake a thread."""
    try:
        family = socket.AF_INET6 if ip_address(origin.host).version == 6 else socket.AF_INET
    except ValueError:
        return []
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (origin.host, origin.port))]


def _inflater(encoding: str) -> zlib._Decompress | None:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "deflate"):
        return zlib.decompressobj(47)  # either, by its first bytes
    raise BrokenReply(f"the body is compressed in a way that was not asked for: {encoding}")
