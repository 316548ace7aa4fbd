"""What is fuzzed: each target takes any bytes, and raises when a parser does what it must never do.

A parser may refuse what it is given in the one way that it promises; anything else that it raises is found. Where there
is a law to hold, it is held: the grammar of events, the same events for any pieces, an object for an object.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from latimer import documents, images
from latimer.dialects.errors.error_body import read_body
from latimer.dialects.errors.failures import failure_of
from latimer.dialects.messages.headers import read_headers
from latimer.dialects.messages.request import decode_count_request, decode_request
from latimer.dialects.sealing import seal, unseal
from latimer.errors import ConfigError, Rejection
from latimer.events import check
from latimer.policy import config, knowledge, model_lists
from latimer.profile import Profile
from latimer.repair.argument_text import ArgumentText
from latimer.repair.malformed import Malformed
from latimer.repair.schema import Parameters
from latimer.shell.http import asking, serving
from latimer.wire import splice
from tests import reading

CASES = Path(__file__).parent.parent / "cases"
SCHEMA = json.dumps(
    {
        "type": "object",
        "required": ["path", "count"],
        "properties": {
            "path": {"type": "string"},
            "count": {"type": "integer"},
            "list": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object", "properties": {"flag": {"type": "boolean"}}},
        },
    }
).encode()
Target = Callable[[bytes], None]


def in_pieces(data: bytes) -> tuple[list[bytes], bytes]:
    """The first byte says how large the pieces are, the rest is what is read."""
    size, body = (data[0] % 64) + 1 if data else 1, data[1:]
    return [body[at : at + size] for at in range(0, len(body), size)], body


def answer(upstream: reading.Upstream) -> Target:
    """An answer obeys the grammar, and comes out the same whatever its pieces."""

    def read(data: bytes) -> None:
        pieces, body = in_pieces(data)
        events = upstream.read(pieces, reading.TAG_READER)
        check(events)
        assert events == upstream.read([body], reading.TAG_READER)

    return read


def request(data: bytes) -> None:
    """A request is refused, or every dialect makes JSON of it or refuses it."""
    try:
        decoded = decode_request(data)
    except Rejection:
        return
    for upstream in reading.UPSTREAMS.values():
        with suppress(Rejection):
            outgoing = upstream.request(decoded, data, model="model", route=reading.ROUTE, profile=Profile())
            json.loads(outgoing.body)


def count(data: bytes) -> None:
    with suppress(Rejection):
        decode_count_request(data)


def refusal(data: bytes) -> None:
    """The first two bytes are the status, the next line its wait, the rest the body."""
    status = 300 + int.from_bytes(data[:2], "big") % 300
    wait, _, body = data[2:].partition(b"\n")
    failure = failure_of(status, {"retry-after": wait.decode("latin-1")}, read_body(body), reading.ASKED, 1.7e9)
    msgspec.json.encode(failure)
    assert len(failure.message.encode()) <= 2048


def spliced(data: bytes) -> None:
    """What is not changed stays as it is, byte for byte; what is changed is still JSON."""
    try:
        value = msgspec.json.decode(data)
    except ValueError:
        return
    if isinstance(value, dict):
        assert splice.splice(data, {}) == data
        names = list(splice.members(data))
        changed = json.loads(splice.splice(data, dict.fromkeys(names[:1])))
        assert not names or names[0] not in changed
    elif isinstance(value, list):
        assert splice.splice_items(data, {}) == data
        assert len(splice.items(data)) == len(value)


def arguments(data: bytes) -> None:
    """Arguments are an object, or malformed; pieces change neither."""
    pieces, body = in_pieces(data)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return
    size = len(pieces[0]) if pieces else 1
    whole = _arguments([text])
    assert whole == _arguments([text[at : at + size] for at in range(0, len(text), size)])
    if whole is not None:
        assert isinstance(json.loads(whole), dict)


def _arguments(pieces: list[str]) -> str | None:
    reader = ArgumentText(Parameters.read(SCHEMA))
    try:
        return "".join([*map(reader.feed, pieces), reader.finish()])
    except Malformed:
        return None


def configuration(data: bytes) -> None:
    with suppress(ConfigError, UnicodeDecodeError):
        config.parse(data.decode(), "latimer.toml")


def learned(data: bytes) -> None:
    with suppress(ValueError):
        known = knowledge.decode(data)
        assert knowledge.decode(knowledge.encode(known)) == known


def listing(data: bytes) -> None:
    """What an upstream says of its models."""
    try:
        told = msgspec.json.decode(data)
    except ValueError:
        return
    model_lists.read_models(told)
    model_lists.read_told(told, "model")


def headers(data: bytes) -> None:
    lines = [line.partition(b": ") for line in data.split(b"\n")]
    given: dict[str, list[str]] = {}
    for name, _, value in lines:
        given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("utf-8", "surrogateescape"))
    with suppress(Rejection):
        read_headers(given)


def signature(data: bytes) -> None:
    text = data.decode("latin-1")
    if (opened := unseal(text, reading.ROUTE)) is not None:
        assert unseal(seal(opened), reading.ROUTE) == opened


def picture(data: bytes) -> None:
    packed = base64.b64encode(data).decode()
    images.dimensions(packed)
    images.media_type("image/png", packed)


def document(data: bytes) -> None:
    with suppress(Rejection, documents.UnreadableDocument):
        documents.pdf_text(base64.b64encode(data).decode())


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Said only where the body is waited for."""


class Wire(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""

    def pause_reading(self) -> None:
        """What comes is given all the same."""

    def resume_reading(self) -> None:
        """As before."""


async def _echo(asked: serving.Request) -> None:
    try:
        body = await asked.body()
    except (serving.TooLarge, serving.Unreadable):
        body = b""
    asked.respond(serving.Response(200, {}, body))


def served(data: bytes) -> None:
    """A client's bytes get the same answers whatever their pieces, and leave no task behind.

    What is no HTTP is refused, or just ends the connection when it came while an earlier request was being answered.
    """
    pieces, body = in_pieces(data)
    slowly, at_once = asyncio.run(_served(pieces)), asyncio.run(_served([body]))
    assert slowly.startswith(at_once)


async def _served(pieces: list[bytes]) -> bytes:
    def refused(status: int) -> serving.Response:
        return serving.Response(status, {}, b"")

    wire = Wire()
    connection = serving.Connection(serving.Listener(_echo, refused, 1000))
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not connection.busy
    assert not wire.said or wire.said.startswith(b"HTTP/1.1 ")
    return wire.said.replace(CONTINUE, b"")


def replied(data: bytes) -> None:
    """A server's bytes become the same body and the same kind of end, whatever their pieces."""
    pieces, body = in_pieces(data)
    asyncio.run(_replied(pieces))
    asyncio.run(_replied([body]))


async def _replied(pieces: list[bytes]) -> bytes | None:
    loop = asyncio.get_running_loop()
    connection = asking.Connection(asking.Origin("127.0.0.1", 1, False), loop)
    connection.connection_made(Wire())
    asked = loop.create_task(connection.ask(b"GET / HTTP/1.1\r\n\r\n"))
    await asyncio.sleep(0)
    said: list[bytes] = []

    def take(data: bytes) -> bool:
        said.append(data)
        return True

    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    connection.connection_lost(None)
    try:
        await asked
        await asking.Reply(connection).flow(take)
    except OSError:
        return None
    return b"".join(said)


def planted(data: bytes) -> None:
    """A mistake that a search without guidance does not find, to show that this one does."""
    marks = b"LATIMER"
    at = 0
    while at < len(marks) and data[at : at + 1] == marks[at : at + 1]:
        at += 1
        if at == 4:
            raise ZeroDivisionError("the planted mistake")


TARGETS: Mapping[str, Target] = {
    **{name: answer(upstream) for name, upstream in reading.UPSTREAMS.items()},
    "request": request,
    "count": count,
    "refusal": refusal,
    "splice": spliced,
    "arguments": arguments,
    "configuration": configuration,
    "learned": learned,
    "listing": listing,
    "headers": headers,
    "signature": signature,
    "picture": picture,
    "document": document,
    "served": served,
    "replied": replied,
}


def seeds(name: str) -> Iterator[bytes]:
    """What the search for a target begins with, of the cases where they fit."""
    if name in reading.UPSTREAMS:
        for suffix in ("sse", "json"):
            for path in sorted((CASES / name).glob(f"*/upstream.{suffix}"))[:60]:
                yield b"\x06" + path.read_bytes()[:4096]
    elif name in ("request", "count", "splice"):
        for path in sorted(CASES.glob("*/*/request.json"))[::4]:
            yield path.read_bytes()[:4096]
    else:
        yield from _SEEDS.get(name, (b"{}",))


_GET = b"GET /v1/models?a=b HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
_CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\nhe\r\n0\r\n\r\n"
)
_SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "refusal": (
        b"\x00d2\n" + b'{"error":{"message":"maximum context length is 8192 tokens","type":"x","code":"y"}}',
        b"\x00d1s\n<html><body><h1>502</h1></body></html>",
        b"\x00dMon, 23 Nov 2026 00:00:00 GMT\n" + b'[{"error":{"details":[{"retryDelay":"3s"}]}}]',
    ),
    "arguments": (
        b'\x03{"path": "a\\u00e9", "count": 3, "list": ["x"], "more": {"flag": true}}',
        b"\x02{'path': 'a', count: \"3\",}",
        b'\x05```json\n{"path": "a", "count": 1, "list": "[1]"}\n```',
    ),
    "configuration": (
        b'[providers.a]\nbase_url = "http://x/v1"\napi_key = "env:A"\n[routes]\ndefault = "a/m"\n',
        b'[server]\nport = 1\n[retry]\ntries = 3\n[providers.openai]\n[routes]\nopus = ["openai/x"]\n',
    ),
    "learned": (b'{"version":1,"findings":[]}',),
    "listing": (
        b'{"data":[{"id":"model","context_length":1000,"pricing":{"prompt":"0.1"}}]}',
        b'{"models":[{"name":"m"}]}',
    ),
    "headers": (b"anthropic-beta: a,b\nanthropic-version: 2023-06-01\nx-claude-code-session-id: x",),
    "signature": (b"latimer.", b"x" * 40),
    "picture": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\x02\0\0\0",
        b"GIF89a\1\0\1\0",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
    ),
    "document": (b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",),
    "served": (b"\x08" + _GET, b"\x08" + _POST, b"\x08" + _CHUNKED, b"\x30" + _GET + _POST),
    "replied": (
        b"\x08HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"\x08HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"\x08HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
    ),
}
