"""The client's end of an answer: when the 200 goes out, pings in silence, and what a failure still can be.

Committing late keeps the HTTP status honest and retries possible; committing early keeps the client patient. Claude
Code gives up after 360 s without headers and 300 s without a byte (measured, 2.1.330); pings count as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from latimer.dialects.messages.encoder import PING


class Client(Protocol):
    """Where an answer goes."""

    def announce(self, route: str, report: str) -> None:
        """Headers for the route that is about to be tried."""
        ...

    async def send(self, data: bytes) -> None:
        """Bytes of the answer."""
        ...


class WholeClient:
    """A client that wants one JSON message."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""

    def announce(self, route: str, report: str) -> None:
        self.headers = _headers(route, report)

    async def send(self, data: bytes) -> None:
        self.body += data


class StreamClient:
    """A client that wants a stream. `greeting` is the `message_start` to send when the upstream takes its time.

    Every `send` is whole events, and a write is never divided, so pings fall between events.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        headers: dict[str, str],
        greeting: Callable[[], bytes],
        commit_seconds: float,
        ping_seconds: float,
    ) -> None:
        self._request = request
        self._own_headers = headers
        self._greeting = greeting
        self._ping_seconds = ping_seconds
        self._response: web.StreamResponse | None = None
        self._opening = asyncio.Lock()
        self._sending = False
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._timer = self._loop.call_later(commit_seconds, self._tick)
        self._pinging: asyncio.Task[None] | None = None
        self.headers: dict[str, str] = {}
        self.committed = False
        """Whether the client has its status: a failure is then an event of the stream."""

    def announce(self, route: str, report: str) -> None:
        self.headers = _headers(route, report)

    async def send(self, data: bytes) -> None:
        """Write, waiting while the client is slow to read: the upstream is then not read either."""
        self._sending = True
        response = self._response or await self._open()
        await response.write(data)
        self._last_write = self._loop.time()
        self._sending = False

    async def close(self) -> web.StreamResponse:
        """End the stream. Only after `committed`."""
        self.stop()
        response = await self._open()
        await response.write_eof()
        return response

    def stop(self) -> None:
        """No more pings."""
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    async def _open(self) -> web.StreamResponse:
        async with self._opening:
            if self._response is None:
                self.committed = True
                headers = {
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "Cache-Control": "no-cache",
                    "X-Accel-Buffering": "no",
                    **self._own_headers,
                    **self.headers,
                }
                response = web.StreamResponse(headers=headers)
                await response.prepare(self._request)
                self._response = response
                self._timer.cancel()
                self._timer = self._loop.call_later(self._ping_seconds, self._tick)
            return self._response

    def _tick(self) -> None:
        """One timer for a stream, not one for each event."""
        silent = self._loop.time() - self._last_write
        due = self._ping_seconds - silent if self.committed else 0.0
        if due <= 0.01:
            # A client that is slow to read has bytes waiting already.
            if not self._sending and (self._pinging is None or self._pinging.done()):
                self._pinging = self._loop.create_task(self._ping())
            due = self._ping_seconds
        self._timer = self._loop.call_later(due, self._tick)

    async def _ping(self) -> None:
        try:
            response = self._response or await self._open()
            if not self._sending:  # else the first data came meanwhile, and it begins the message
                self._last_write = self._loop.time()
                await response.write(self._greeting() + PING)
        except ConnectionError:
            self._timer.cancel()  # the client is gone; the server cancels the request


def _headers(route: str, report: str) -> dict[str, str]:
    return {"latimer-route": route} | ({"latimer-report": report} if report else {})
