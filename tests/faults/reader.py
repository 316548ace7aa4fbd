"""The client's end, strict: HTTP/1.1 framing, the grammar of server-sent events, Anthropic's order of events."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
ROUTE = ": latimer-route "
BLOCKS = {"text_delta": "text", "input_json_delta": "tool_use", "thinking_delta": "thinking"}


@dataclass
class Told:
    """What a client was told. `status` 0: it left while the answer still came."""

    status: int
    headers: dict[str, str]
    text: str = ""
    error: Json = field(default_factory=dict)
    pings: int = 0
    whole: bool = False
    """Whether it says that it came to its own end."""


class StreamReader:
    """The events of one stream, each checked for its place."""

    def __init__(self, request_id: str) -> None:
        self.told = Told(200, {})
        self._request_id = request_id
        self._rest = b""
        self._open: int | None = None
        self._blocks = 0
        self._state = "new"

    def feed(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        for frame in frames:
            self._frame(frame)

    def end(self) -> Told:
        """The body has ended."""
        assert not self._rest, f"a stream ends with half an event: {self._rest[-200:]!r}"
        assert self._state in {"done", "failed"}, f"a stream ends in the state {self._state}"
        self.told.whole = self._state == "done"
        return self.told

    def _frame(self, frame: bytes) -> None:
        lines = []
        for line in frame.decode().split("\n"):
            if line.startswith(ROUTE):  # the headers, which named another one, are out
                self.told.headers["latimer-route"] = line.removeprefix(ROUTE)
            elif not line.startswith(":"):
                lines.append(line)
        if not lines:
            return
        name, data = lines
        assert name.startswith("event: "), frame
        assert data.startswith("data: "), frame
        body = json.loads(data[6:])
        assert body["type"] == name[7:], frame
        assert self._state not in {"done", "failed"}, f"{name} after the end"
        getattr(self, f"_{body['type']}")(body)

    def _ping(self, _: Json) -> None:
        assert self._state != "new"
        self.told.pings += 1

    def _message_start(self, body: Json) -> None:
        assert self._state == "new"
        self._state = "open"
        message = body["message"]
        assert message["content"] == []
        assert message["stop_reason"] is None
        assert message["id"].startswith("msg_")

    def _content_block_start(self, body: Json) -> None:
        assert self._state == "open"
        assert self._open is None
        assert body["index"] == self._blocks
        self._open = body["index"]
        self._blocks += 1

    def _content_block_delta(self, body: Json) -> None:
        assert self._state == "open"
        assert body["index"] == self._open
        self.told.text += body["delta"].get("text", "")

    def _content_block_stop(self, body: Json) -> None:
        assert body["index"] == self._open
        self._open = None

    def _message_delta(self, body: Json) -> None:
        assert self._state == "open"
        assert self._open is None
        assert body["delta"]["stop_reason"]
        self._state = "stopping"

    def _message_stop(self, _: Json) -> None:
        assert self._state == "stopping"
        self._state = "done"

    def _error(self, body: Json) -> None:
        assert body["request_id"] == self._request_id
        self.told.error = body["error"]
        self._state = "failed"


async def ask(
    port: int, body: Json, *, leave: Callable[[Told, int], bool] = lambda told, size: False, patience: float = 30
) -> Told:
    """Ask for a message, and read the answer to the last byte, or until `leave` says so.

    Raises TimeoutError when it takes longer than `patience`, in seconds.
    """
    data = json.dumps(body).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + data)
        return await asyncio.wait_for(_answer(reader, leave), patience)
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, leave: Callable[[Told, int], bool]) -> Told:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    version, code, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    pairs = [line.split(": ", 1) for line in lines]
    headers = dict(pairs)
    assert len(headers) == len(pairs), pairs
    assert headers["request-id"].startswith("req_")
    if headers.get("transfer-encoding") != "chunked":
        told = _whole(int(code), headers, await reader.readexactly(int(headers["content-length"])))
        assert await reader.read() == b""
        return told
    assert code == "200"
    assert headers["content-type"].startswith("text/event-stream")
    stream, size = StreamReader(headers["request-id"]), 0
    stream.told.headers = headers
    while length := int(await reader.readuntil(b"\r\n"), 16):
        chunk = await reader.readexactly(length + 2)
        assert chunk.endswith(b"\r\n")
        stream.feed(chunk[:-2])
        size += length
        if leave(stream.told, size):
            stream.told.status = 0
            return stream.told
    assert await reader.read() == b"\r\n"
    return stream.end()


def _whole(status: int, headers: dict[str, str], body: bytes) -> Told:
    assert headers["content-type"] == "application/json", (status, body)
    found = json.loads(body)
    if status == 200:
        assert found["type"] == "message"
        text = "".join(block["text"] for block in found["content"])
        return Told(status, headers, text, whole=bool(found.get("stop_reason")))
    assert set(found) == {"type", "error", "request_id"}
    assert found["type"] == "error"
    assert found["request_id"] == headers["request-id"]
    return Told(status, headers, error=found["error"])
