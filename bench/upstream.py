"""A paced, scripted Chat Completions server: `python -m bench.upstream` prints its port and serves on loopback.

It must never be the bottleneck, so it is a bare asyncio protocol that writes prepared bytes: one write, and so one
packet, per token, as providers do. `POST /control {"shape":…,"tokens":…,"rate":…}` sets the answer that follows;
`GET /control` says how late its worst token was. It is not an HTTP server for anything but this benchmark.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import cast

import uvloop

from bench import script

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": *true')
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_GOLDEN = 0.618034  # spreads the phases of any number of streams evenly, so that tokens don't arrive in bursts


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _plain(status: int, body: bytes) -> bytes:
    head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


# Where Anthropic's clients and OpenAI's ask how many tokens a request has.
_COUNT = re.compile(rb"/v1/(messages/count_tokens|responses/input_tokens)\b")
_COUNTED = _plain(200, b'{"object":"response.input_tokens","input_tokens":12500}')


class Scenario:
    """What every following request is answered with, as bytes ready to send."""

    def __init__(self, shape: script.Shape = "text", tokens: int = 1, rate: float = 0) -> None:
        """`rate` is in tokens per second and stream; 0 writes as fast as the reader takes them."""
        opening, middle, ending = script.events(shape, tokens)
        self.interval = 1 / rate if rate else 0.0
        self.first = _STREAM_HEAD + _chunked(opening) + _chunked(middle[0])
        self.rest = [_chunked(event) for event in middle[1:]]
        self.last = _chunked(ending) + b"0\r\n\r\n"
        self.whole = _plain(200, script.response(shape, tokens))
        self.streams = 0
        self.worst_lag = 0.0


class Upstream(asyncio.Protocol):
    """One connection: requests one after the other, each answered by the scenario of the moment."""

    scenario = Scenario()

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._needed = 0
        self._timer: asyncio.Handle | None = None
        self._paused = False
        self._held_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and len(self._buffer) >= self._needed:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            self._needed = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < self._needed:
                return
            head, body = bytes(self._buffer[:end]), bytes(self._buffer[end + 4 : self._needed])
            del self._buffer[: self._needed]
            self._needed = 0
            self._answer(head.split(b" ", 2)[:2], body)

    def _answer(self, line: list[bytes], body: bytes) -> None:
        scenario = Upstream.scenario
        if line == [b"POST", b"/control"]:
            Upstream.scenario = Scenario(**json.loads(body))
            self._transport.write(_plain(200, b"{}"))
        elif line == [b"GET", b"/control"]:
            self._transport.write(_plain(200, json.dumps({"worst_lag": scenario.worst_lag}).encode()))
        elif line[0] == b"POST" and _COUNT.match(line[1]):
            self._transport.write(_COUNTED)
        elif line != [b"POST", b"/v1/chat/completions"]:
            self._transport.write(_plain(404, b'{"error":{"message":"not found"}}'))
        elif not _STREAM.search(body):
            self._transport.write(scenario.whole)
        else:
            self._transport.write(scenario.first)
            self._sent, self._scenario = 0, scenario
            scenario.streams += 1
            self._due = self._loop.time() + scenario.interval * (scenario.streams * _GOLDEN % 1)
            self._schedule()

    def _schedule(self) -> None:
        if self._scenario.interval:
            self._due += self._scenario.interval
            self._timer = self._loop.call_at(self._due, self._tick)
        else:
            self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        scenario = self._scenario
        late = self._loop.time() - self._due if scenario.interval else 0.0
        self._held_up = self._held_up and late > scenario.interval
        if not self._held_up:  # what a slow reader caused is not this server's lateness
            scenario.worst_lag = max(scenario.worst_lag, late)
        if self._paused:  # the reader is slower than the script: never pile up more than the transport's buffer
            self._timer = None
            return
        if self._sent == len(scenario.rest):
            self._transport.write(scenario.last)
            self._timer = None
            return
        self._transport.write(scenario.rest[self._sent])
        self._sent += 1
        self._schedule()

    def pause_writing(self) -> None:
        self._paused = self._held_up = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._timer is None:
            self._timer = self._loop.call_soon(self._tick)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
