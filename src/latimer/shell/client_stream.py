"""The client's end of an answer: when the 200 goes out, pings in silence, and what a failure still can be.

Committing late keeps the HTTP status honest and retries possible; committing early keeps the client patient. Claude
Code gives up after 360 s without headers and 300 s without a byte (measured, 2.1.330); pings count as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from latimer.dialects.messages.encoder import PING
from latimer.shell.http.serving import Request


class Client(Protocol):
    """Where an answer goes."""

    def announce(self, route: str, report: str) -> None:
        """Headers for the route that is about to be tried."""
        ...

    def write(self, data: bytes) -> None:
        """Bytes of the answer."""
        ...

    @property
    def congested(self) -> bool:
        """Whether so much waits for the client that no more should be read for it."""
        ...

    async def drain(self) -> None:
        """Wait while the client is slow to read. Raises ConnectionError when it goes away."""
        ...


class WholeClient:
    """A client that wants one JSON message."""

    congested = False

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""

    def announce(self, route: str, report: str) -> None:
        self.headers = _headers(route, report)

    def write(self, data: bytes) -> None:
        self.body += data

    async def drain(self) -> None:
        return


class StreamClient:
    """A client that wants a stream. `greeting` is the `message_start` to send when the upstream takes its time.

    Every `write` is whole events, so pings fall between events.
    """

    __slots__ = (
        "_greeting",
        "_last_write",
        "_line",
        "_loop",
        "_own_headers",
        "_ping_seconds",
        "_request",
        "_route",
        "_timer",
        "headers",
    )

    def __init__(
        self,
        request: Request,
        headers: dict[str, str],
        greeting: Callable[[], bytes],
        commit_seconds: float,
        ping_seconds: float,
    ) -> None:
        self._request = request
        self._line = request.line
        self._own_headers = headers
        self._greeting = greeting
        self._ping_seconds = ping_seconds
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._timer = self._loop.call_later(commit_seconds, self._tick)
        self.headers: dict[str, str] = {}
        self._route = ""
        """The one that the client was told of."""

    @property
    def committed(self) -> bool:
        """Whether the client has its status: a failure is then an event of the stream."""
        return self._request.begun

    @property
    def congested(self) -> bool:
        return self._line.congested

    def announce(self, route: str, report: str) -> None:
        """Where the headers are out already, a comment tells of another route."""
        self.headers = _headers(route, report)
        if self.committed and route != self._route:
            self._route = route
            self.write(b": latimer-route %b\n" % route.encode("unicode_escape") + PING)

    def write(self, data: bytes) -> None:
        if not self._request.begun:
            self._open()
        self._request.write(data)
        self._last_write = self._loop.time()

    async def drain(self) -> None:
        await self._request.drain()

    def close(self) -> None:
        """End the stream. Only after `committed`."""
        self.stop()
        self._request.end()

    def stop(self) -> None:
        """No more pings."""
        self._timer.cancel()

    def _open(self) -> None:
        self._route = self.headers.get("latimer-route", "")
        self._request.open(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                **self._own_headers,
                **self.headers,
            }
        )
        self._timer.cancel()
        self._timer = self._loop.call_later(self._ping_seconds, self._tick)

    def _tick(self) -> None:
        """One timer for a stream, not one for each event."""
        silent = self._loop.time() - self._last_write
        due = self._ping_seconds - silent if self.committed else 0.0
        if due <= 0.01:
            # A client that is slow to read has bytes waiting already.
            if not self.congested:
                self.write(PING if self.committed else self._greeting() + PING)
            due = self._ping_seconds
        self._timer.cancel()
        self._timer = self._loop.call_later(due, self._tick)


def _headers(route: str, report: str) -> dict[str, str]:
    return {"latimer-route": route} | ({"latimer-report": report} if report else {})
