"""The upstream's end of one connection, byte by byte, and the server of one cell of the matrix."""

import asyncio
import json
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.answers import Spoken, spoken

LINGER = struct.pack("ii", 1, 0)


@dataclass
class Line:
    """One request and the means to answer it. `after`: the fault comes after the first token."""

    writer: asyncio.StreamWriter
    answer: Spoken
    after: bool
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def head(
        self, status: str = "200 OK", content_type: str | None = None, *more: str, framed: bool = True
    ) -> None:
        """Status line and headers; chunks follow where `framed`."""
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type or self.answer.content_type}", *more]
        if framed:
            lines.append("Transfer-Encoding: chunked")
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def begin(self) -> None:
        """The head, and the answer up to where the fault comes."""
        await self.head()
        for part in self.said:
            await self.chunk(part)

    @property
    def said(self) -> tuple[bytes, ...]:
        """What of the answer comes before the fault: two tokens, one of which may wait for the next."""
        return self.answer.opening + (self.answer.tokens[:2] if self.after else ())

    @property
    def left(self) -> tuple[bytes, ...]:
        """What comes after the fault."""
        return self.answer.tokens[2 if self.after else 0 :] + self.answer.ending

    async def rest(self, *, pause: float = 0) -> None:
        """The answer from where `begin` left it, and its end."""
        for part in self.left:
            await self.chunk(part)
            await asyncio.sleep(pause)
        await self.end()

    async def well(self) -> None:
        """The good answer."""
        await self.begin()
        await self.rest()

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    def below_tls(self, data: bytes) -> None:
        """Bytes in the clear on an encrypted connection."""
        os.write(self.writer.get_extra_info("socket").fileno(), data)

    async def settle(self) -> None:
        """Let what was written be read, so that a reset does not overtake it."""
        await asyncio.sleep(0.15)

    async def reset(self) -> None:
        """Close as a dying process does."""
        await self.settle()
        with suppress(OSError):
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.writer.transport.abort()

    def close(self) -> None:
        """Close in good order."""
        self.writer.close()

    async def hang(self) -> None:
        """Say nothing more."""
        await self.gone.wait()


Play = Callable[[Line], Awaitable[None]]


class Upstream:
    """The server of one cell: the first requests meet the plays, one each; the last play is for all that follow.

    `early` plays do not wait for a request. With `closes`, nobody listens any more once the first
    request has come, until `listen` is called.
    """

    def __init__(
        self, dialect: str, plays: list[Play], *, after: bool, early: tuple[Play, ...] = (), closes: bool = False
    ) -> None:
        self.requests = 0
        self.port = 0
        self.errors: list[BaseException] = []
        self.left = asyncio.Event()
        """A client went away before its answer was complete."""
        self._dialect = dialect
        self._plays = plays
        self._after = after
        self._early = early
        self._closes = closes
        self._tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, tls: ssl.SSLContext | None = None) -> None:
        """Start, on the same port as before."""
        self._tls = tls or self._tls
        held, self._held = self._held or self._bound(), None
        self._server = await asyncio.start_server(self._connected, sock=held, ssl=self._tls, limit=2**20)
        self.port = held.getsockname()[1]

    def _bound(self) -> socket.socket:
        """A socket that has the port and refuses connections, until somebody listens on it."""
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", self.port))
        return held

    @property
    def listening(self) -> bool:
        return self._server is not None

    def deaf(self) -> None:
        """Nobody listens from now on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._held = self._bound()  # or another process could take the port

    async def stop(self) -> None:
        self.deaf()
        if self._held is not None:
            self._held.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        play = self._plays[min(self.requests, len(self._plays) - 1)]
        stream = True
        if play not in self._early:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            stream = bool(json.loads(await reader.readexactly(length)).get("stream"))
        self.requests += 1
        if self._closes and self.requests == 1:
            self.deaf()
        line = Line(writer, spoken(self._dialect, stream=stream), self._after)
        watch = asyncio.create_task(self._watch(reader, line))
        try:
            await play(line)
        except ConnectionError:
            self.left.set()
            raise
        finally:
            watch.cancel()
        return not writer.is_closing() and not reader.at_eof()

    async def _watch(self, reader: asyncio.StreamReader, line: Line) -> None:
        while not reader.at_eof() and reader.exception() is None and not line.writer.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        line.gone.set()
        self.left.set()
