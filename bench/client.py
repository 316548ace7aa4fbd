"""The load: `python -m bench.client` reads a `Load` as JSON on standard input and prints what came back as JSON.

Reads are only collected while the load runs; afterwards every answer is parsed whole and compared with the script,
so a lost, doubled or broken token fails the benchmark instead of making it look fast.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import uvloop

from bench import bodies, script

Dialect = Literal["chat", "messages"]
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FIRST = script.FIRST_TOKEN.strip().encode()


@dataclass(frozen=True)
class Load:
    """`connections` clients, each sending `requests` one after the other and expecting `tokens` tokens of `shape`."""

    port: int
    dialect: Dialect
    connections: int
    requests: int
    tokens: int
    shape: script.Shape = "text"
    stream: bool = True
    body_bytes: int = 0  # size of a Claude-Code-like request; 0 for the smallest one
    tools: int = bodies.TOOLS
    turns: int = bodies.TURNS
    count: bool = False  # ask for a count of tokens instead of an answer
    time_limit: float = 120  # seconds


class BadAnswerError(Exception):
    """What came back is not the script, or did not come back in time."""


class Connection(asyncio.Protocol):
    """One client connection: each answer's bytes, and the seconds from request to first token and to the end."""

    def __init__(self, request: bytes, requests: int) -> None:
        self._request, self._left = request, requests
        self._reads: list[bytes] = []
        self._expected = 0
        self._waiting = True
        self.done: list[bytes] = []
        self.first: list[float] = []
        self.whole: list[float] = []
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._send()

    def _send(self) -> None:
        self._reads, self._expected, self._waiting = [], 0, True
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._reads.append(data)
        if self._waiting:
            seen = b"".join(self._reads)
            if not self._expected and (end := seen.find(b"\r\n\r\n")) >= 0:
                length = LENGTH.search(seen, 0, end + 2)
                self._expected = end + 4 + int(length[1]) if length else -1
            if _FIRST in seen:
                self.first.append(time.perf_counter() - self._sent)
                self._waiting = False
        if self._complete():
            self.whole.append(time.perf_counter() - self._sent)
            self.done.append(b"".join(self._reads))
            self._left -= 1
            if self._left:
                self._send()
            else:
                self._transport.close()

    def _complete(self) -> bool:
        if self._expected > 0:
            return sum(map(len, self._reads)) >= self._expected
        tail = self._reads[-1] if len(self._reads[-1]) > 5 else b"".join(self._reads[-5:])
        return self._expected < 0 and tail.endswith(b"0\r\n\r\n")

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_result(None)


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise BadAnswerError(answer[:500].decode(errors="replace"))
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return bytes(whole)


def _chat(body: bytes, stream: bool) -> str:
    if not stream:
        message = json.loads(body)["choices"][0]["message"]
        return str(message["content"] or message["tool_calls"][0]["function"]["arguments"])
    events = body.split(b"\n\n")
    if events[-2:] != [script.DONE.strip(), b""]:
        raise BadAnswerError(f"a chat stream ends in {events[-2:]!r}")
    said = ""
    for event in events[:-2]:
        for choice in json.loads(event.removeprefix(b"data: "))["choices"]:
            calls = choice["delta"].get("tool_calls")
            said += calls[0]["function"]["arguments"] if calls else choice["delta"].get("content") or ""
    return said


def _messages(body: bytes, stream: bool) -> str:
    if not stream:
        blocks: list[dict[str, Any]] = json.loads(body)["content"]
        return "".join(_canonical(b["input"]) if b["type"] == "tool_use" else b["text"] for b in blocks)
    said, last = "", ""
    for event in filter(None, body.split(b"\n\n")):
        data: dict[str, Any] = json.loads(event[event.index(b"data:") + 5 :])
        last = data["type"]
        if last == "content_block_delta":
            said += data["delta"].get("text") or data["delta"].get("partial_json") or ""
    if last != "message_stop":
        raise BadAnswerError(f"a messages stream ends in {last!r}")
    return said


def _canonical(arguments: object) -> str:
    return json.dumps(arguments, separators=(",", ":"))


def verify(answer: bytes, load: Load) -> None:
    """Raise BadAnswerError unless `answer`, a whole HTTP response, says exactly what the script says."""
    if load.count:
        if not json.loads(_body(answer))["input_tokens"] > 0:
            raise BadAnswerError(answer[-500:].decode(errors="replace"))
        return
    said = (_chat if load.dialect == "chat" else _messages)(_body(answer), load.stream)
    expected = script.text(load.tokens) if load.shape == "text" else script.arguments(load.tokens)
    if said != expected:
        raise BadAnswerError(f"{len(said)} characters came back, {len(expected)} were sent; the last: {said[-60:]!r}")


async def run(load: Load) -> dict[str, Any]:
    """Put the load on, verify every answer, and say how long it took.

    `seconds` is the time to the last answer, `whole` what the middle one of the answers took, `first` those from each
    request to its first token, `cpu` what this client itself spent.
    """
    request = (
        bodies.count_http(load.body_bytes)
        if load.count
        else bodies.http(load.dialect, load.stream, load.body_bytes, load.tools, load.turns)
    )
    loop = asyncio.get_running_loop()
    began, began_cpu = time.perf_counter(), time.process_time()
    try:
        async with asyncio.timeout(load.time_limit):
            made = [
                await loop.create_connection(lambda: Connection(request, load.requests), "127.0.0.1", load.port)
                for _ in range(load.connections)
            ]
            await asyncio.gather(*(connection.finished for _, connection in made))
    except TimeoutError:
        raise BadAnswerError(f"not done in {load.time_limit:.0f} s") from None
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    answers = [answer for _, connection in made for answer in connection.done]
    if len(answers) != load.connections * load.requests:
        raise BadAnswerError(f"{len(answers)} of {load.connections * load.requests} answers were complete")
    for answer in answers:
        verify(answer, load)
    first = [seconds for _, connection in made for seconds in connection.first]
    whole = statistics.median(seconds for _, connection in made for seconds in connection.whole)
    return {"seconds": seconds, "cpu": cpu, "answers": len(answers), "first": first, "whole": whole}


def spec(load: Load) -> bytes:
    """A load as the bytes this program reads."""
    return json.dumps(asdict(load)).encode()


if __name__ == "__main__":
    try:
        print(json.dumps(uvloop.run(run(Load(**json.load(sys.stdin))))))
    except BadAnswerError as error:
        sys.exit(f"bench.client: {error}")
