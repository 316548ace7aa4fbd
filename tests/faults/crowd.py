"""A crowd of clients and its upstream, both in this process, around a real `latimer serve`: as fast as it goes.

Each stream has a number of its own, which stands in every token of it, so that a token that is lost or goes to another
stream is seen. One in twenty meets a fault.
"""

import asyncio
import json
import os
import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

from tests.faults.reader import StreamReader

FAULTS = ("reset", "closed", "ended", "garbage", "error", "bad chunk", "500", "refused by reset")
ONCE = ("500", "refused by reset")
"""What comes before an answer comes once, so that the next request has the whole of it."""
EVERY = 20
WHOLE, LEAVES = 7, 11
NUMBER = re.compile(rb"number (\d+) of (\d+) tokens")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PATHS = {b"/chat/completions": "chat", b"/responses": "responses", b"/messages": "messages"}


def fault_of(number: int) -> str:
    """What befalls a stream, '' for most."""
    return FAULTS[number // EVERY % len(FAULTS)] if number % EVERY == EVERY // 2 else ""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(body: object, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body)}\n\n".encode()


def token(number: int, place: int) -> str:
    """What the stream says at one place."""
    return f"{number}.{place} "


class Speech:
    """One stream's events in a dialect: before, for each token, and after."""

    def __init__(self, dialect: str, number: int) -> None:
        self._dialect = dialect
        self._number = number

    def opening(self) -> bytes:
        if self._dialect == "chat":
            return event({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        if self._dialect == "responses":
            item = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "status": "in_progress"}
            response = {"id": "resp_1", "status": "in_progress", "output": [], "model": "m"}
            return event({"type": "response.created", "response": response}, "response.created") + event(
                {"type": "response.output_item.added", "output_index": 0, "item": item}
            )
        message = {"id": f"msg_{self._number:024d}", "type": "message", "role": "assistant", "model": "m"}
        usage = {"input_tokens": 5, "output_tokens": 1}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return event({"type": "message_start", "message": message}, "message_start") + event(block, block["type"])

    def token(self, place: int) -> bytes:
        text = token(self._number, place)
        if self._dialect == "chat":
            return b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()
        if self._dialect == "responses":
            where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
            return event({"type": "response.output_text.delta", **where, "delta": text}, "response.output_text.delta")
        return (
            b"event: content_block_delta\ndata: "
            b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n' % text.encode()
        )

    def ending(self) -> bytes:
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        if self._dialect == "chat":
            finish = event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            return finish + event({"id": "c", "choices": [], "usage": usage}) + b"data: [DONE]\n\n"
        if self._dialect == "responses":
            told = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}
            response = {"id": "resp_1", "status": "completed", "output": [], "model": "m", "usage": told}
            return event({"type": "response.completed", "response": response}, "response.completed")
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        stop = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}
        return (
            event({"type": "content_block_stop", "index": 0}, "content_block_stop")
            + event(stop, "message_delta")
            + event({"type": "message_stop"}, "message_stop")
        )


class Upstream:
    """Answers by the number in the prompt. `pace` seconds lie between two writes, each of `burst` tokens."""

    def __init__(self, *, pace: float, burst: int) -> None:
        self._pace = pace
        self._burst = burst
        self._asked: Counter[int] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.open = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close everything; what a client keeps for later closes with it."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        found = NUMBER.search(body)
        if not found:  # the question for the list of models
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        number, tokens = int(found[1]), int(found[2])
        dialect = next(name for path, name in PATHS.items() if path + b" " in head)
        fault = fault_of(number)
        if fault in ONCE and not self._asked[number]:
            self._asked[number] += 1
            if fault == "500":
                writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
                return True
            return self._reset(writer)
        return await self._speak(Speech(dialect, number), tokens, fault, writer)

    async def _speak(self, speech: Speech, tokens: int, fault: str, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD + chunk(speech.opening()))
        for start in range(0, tokens, self._burst):
            if fault and start >= tokens // 2 and fault not in ONCE:
                return await self._break(speech, fault, writer)
            places = range(start, min(start + self._burst, tokens))
            writer.write(chunk(b"".join([speech.token(place) for place in places])))
            await writer.drain()
            await asyncio.sleep(self._pace)
        writer.write(chunk(speech.ending()) + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _break(self, speech: Speech, fault: str, writer: asyncio.StreamWriter) -> bool:
        if fault == "reset":
            return self._reset(writer)
        if fault == "closed":
            writer.close()
            return False
        broken = {
            "ended": b"0\r\n\r\n",
            "garbage": chunk(b"event: x\ndata: {nothing that is JSON\n\n") + b"0\r\n\r\n",
            "error": chunk(event({"type": "error", "error": {"type": "api_error", "message": "boom"}}, "error"))
            + b"0\r\n\r\n",
            "bad chunk": b"zz\r\n\r\n",
        }
        writer.write(broken[fault])
        await writer.drain()
        return fault != "bad chunk"

    def _reset(self, writer: asyncio.StreamWriter) -> bool:
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False


@dataclass
class Seen:
    """What all clients saw."""

    whole: int = 0
    left: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    events: int = 0


class Crowd:
    """Clients that ask one after the other, each for a stream of so many tokens.

    `mixed`: one of `WHOLE` answers is a message, and one of `LEAVES` clients goes away in the middle of a stream.
    """

    def __init__(self, url: str, models: tuple[str, ...], tokens: int, *, mixed: bool = False) -> None:
        self._mixed = mixed
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)
        self._models = models
        self._tokens = tokens
        self._numbers = count()
        self.seen = Seen()

    async def ask(self, clients: int, streams: int) -> None:
        """So many streams more, by so many clients at once."""
        left = iter(range(streams))
        await asyncio.gather(*(self._client(left) for _ in range(clients)))

    async def _client(self, left: object) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=2**20)
        for _ in left:  # type: ignore[attr-defined]
            number = next(self._numbers)
            whole = self._mixed and number % WHOLE == 0
            leaves = self._mixed and number % LEAVES == 0 and not whole
            writer.write(self._question(number, stream=not whole))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if whole:
                await self._message(number, head, reader)
                continue
            await self._stream(number, head, reader, leaves=leaves)
            if leaves:
                self.seen.left += 1
                writer.transport.abort()
                reader, writer = await asyncio.open_connection(self._host, self._port, limit=2**20)
        writer.close()

    def _question(self, number: int, *, stream: bool) -> bytes:
        prompt = f"number {number} of {self._tokens} tokens"
        model = self._models[(number + number // (EVERY * len(FAULTS))) % len(self._models)]  # each fault in each
        body = {"model": model, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        data = json.dumps(body).encode()
        return b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(data) + data

    async def _message(self, number: int, head: str, reader: asyncio.StreamReader) -> None:
        """An answer in one piece: whole, or an error for a fault that comes each time."""
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        fault = fault_of(number)
        if fault and fault not in ONCE:
            assert head.startswith("HTTP/1.1 500 "), (number, fault, head)
            assert body["error"]["message"].startswith(("chat/m: ", "responses/m: ", "messages/m: ", "translated/m: "))
            self.seen.broken[fault] += 1
            return
        assert head.startswith("HTTP/1.1 200 "), (number, fault, head, body)
        assert body["content"][0]["text"] == self._text(number)
        self.seen.whole += 1

    async def _stream(self, number: int, head: str, reader: asyncio.StreamReader, *, leaves: bool) -> None:
        assert head.startswith("HTTP/1.1 200 "), (number, fault_of(number), head)
        stream = StreamReader(head.partition("request-id: ")[2].partition("\r\n")[0])
        while length := int(await reader.readuntil(b"\r\n"), 16):
            part = (await reader.readexactly(length + 2))[:-2]
            self.seen.events += part.count(b"\n\n")
            stream.feed(part)
            if leaves and stream.told.text:
                assert self._text(number).startswith(stream.told.text)
                return
        assert await reader.readexactly(2) == b"\r\n"
        self._check(number, stream)

    def _text(self, number: int) -> str:
        return "".join(token(number, place) for place in range(self._tokens))

    def _check(self, number: int, stream: StreamReader) -> None:
        told = stream.end()
        whole = self._text(number)
        fault = fault_of(number)
        if not fault or fault in ONCE:
            assert told.text == whole, (number, fault, told.error, told.text[-50:])
            assert told.whole
            self.seen.whole += 1
            return
        assert told.error, (number, fault)
        assert not told.whole
        # What came before the fault is there and nothing else; of the last burst, some may have died with it.
        assert whole.startswith(told.text), (number, fault)
        self.seen.broken[fault] += 1


def config(port: int) -> tuple[str, tuple[str, ...]]:
    """A configuration with the upstream in every dialect, and the models that lead there."""
    url = f"http://127.0.0.1:{port}/v1"
    lines = ['[server]\nhost = "127.0.0.1"\nport = 0']
    for name in ("chat", "responses", "messages", "translated"):
        dialect = "messages" if name == "translated" else name
        lines.append(f'[providers.{name}]\nbase_url = "{url}"\ndialect = "{dialect}"')
    lines.append("[providers.translated.native]\npassthrough = false\n[routes]")
    lines += [f'{name} = "{name}/m"' for name in ("chat", "responses", "messages", "translated")]
    return "\n".join(lines), ("chat", "responses", "messages", "translated")


def chained(first: int, second: int) -> str:
    """A configuration with the upstreams of two ports as a chain of routes for the model `chat`."""
    lines = ["[server]\nport = 0\n[retry]\nbase_wait_seconds = 0.1"]
    for name, port in (("chat", first), ("second", second)):
        lines.append(f'[providers.{name}]\nbase_url = "http://127.0.0.1:{port}/v1"\ndialect = "chat"')
    return "\n".join([*lines, '[routes]\nchat = ["chat/m", "second/m"]\n'])


@dataclass(frozen=True)
class Use:
    """What a process has taken of the machine."""

    resident: float
    """MB."""
    cpu: float
    """Seconds."""
    files: int
    threads: int


def used(process: int) -> Use:
    """By Linux's own account of the process."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    times = (folder / "stat").read_text().rpartition(") ")[2].split()
    ticks = int(times[11]) + int(times[12])
    files = len(list((folder / "fd").iterdir()))
    resident = int(status["VmRSS"].split()[0]) / 1024
    return Use(resident, ticks / os.sysconf("SC_CLK_TCK"), files, int(status["Threads"]))
