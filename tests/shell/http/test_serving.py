"""The server's end of HTTP/1.1, byte by byte: a raw socket on one side, a small handler on the other."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.shell.http import serving
from latimer.shell.http.serving import Listener, Request, Response, TooLarge, Unreadable

LIMIT = 1000
GET = b"GET /a%20b?c=1 HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


async def echo(request: Request) -> None:
    """Says what it was asked; 413 and 400 for bodies that cannot be had."""
    try:
        body = await request.body()
    except (TooLarge, Unreadable) as error:
        request.respond(Response(413 if isinstance(error, TooLarge) else 400))
        return
    said = f"{request.method} {request.path} {request.query} ".encode() + body
    request.respond(Response(200, {"x-said": "yes"}, said))


def refusal(status: int) -> Response:
    return Response(status, {}, b"refused")


@asynccontextmanager
async def listening(handler: Callable[[Request], Awaitable[None]] = echo) -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener(handler, refusal, LIMIT)
    _, port = await listener.listen("127.0.0.1", 0)
    try:
        yield listener, port
    finally:
        listener.stop_listening()
        listener.close()


async def talk(port: int, *pieces: bytes) -> bytes:
    """Everything that comes back until the server closes, or says nothing for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = b""
    try:
        while data := await asyncio.wait_for(reader.read(65536), 0.15):
            answer += data
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return answer


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize(
    ("request_bytes", "said"), [(GET, b"GET /a b c=1 "), (POST, b"POST /p  hello"), (CHUNKED, b"POST /p  hello")]
)
async def test_requests_in_any_pieces(request_bytes: bytes, said: bytes, piece: int) -> None:
    async with listening() as (_, port):
        pieces = [request_bytes[at : at + piece] for at in range(0, len(request_bytes), piece)]
        answer = await talk(port, *pieces)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-said: yes" in head
    assert b"connection: keep-alive" in head
    assert body == said


async def test_requests_in_a_row_are_answered_in_order() -> None:
    async with listening() as (_, port):
        answer = await talk(port, GET + POST + CHUNKED)
    assert [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"GET /a b c=1 ",
        b"POST /p  hello",
        b"POST /p  hello",
    ]


async def test_too_many_requests_in_a_row_end_the_connection() -> None:
    async def slow(request: Request) -> None:
        await asyncio.sleep(10)
        request.respond(Response())

    async with listening(slow) as (listener, port):
        assert await talk(port, GET * 20) == b""
        await asyncio.sleep(0.01)
        assert not listener.connections


async def test_a_head_gets_no_body() -> None:
    async with listening() as (_, port):
        answer = await talk(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"content-length: 8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_a_client_of_http_1_0_gets_a_body_without_chunks() -> None:
    async def stream(request: Request) -> None:
        request.open({"content-type": "text/plain"})
        request.write(b"one ")
        request.write(b"two")
        request.end()

    async with listening(stream) as (_, port):
        old = await talk(port, b"GET / HTTP/1.0\r\n\r\n")
        new = await talk(port, GET)
    assert old.endswith(b"connection: close\r\n\r\none two")
    assert new.endswith(b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_connection_close_is_obeyed() -> None:
    async with listening() as (_, port):
        answer = await talk(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", GET)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer


async def test_expect_is_answered_before_the_body() -> None:
    async with listening() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.close()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 1001\r\n\r\n",  # told at once, before the body comes
        b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"0" * 100_000, mtime=0)), gzip.compress(b"0" * 100_000, mtime=0)),
    ],
)
async def test_large_bodies_are_refused_and_nothing_after_them_is_read(body: bytes) -> None:
    async with listening() as (_, port):
        answer = await talk(port, b"POST / HTTP/1.1\r\nHost: x\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")[2:-4]),
        ("identity", b"hello"),
    ],
)
async def test_compressed_bodies(encoding: str, packed: bytes) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with listening() as (_, port):
        answer = await talk(port, head.encode() + packed)
        cut = await talk(port, head.encode().replace(b"gzip", b"deflate") + b"x" * len(packed))
    assert answer.endswith(b"POST /  hello")
    assert b"HTTP/1.1 400" in cut or encoding == "identity"


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
        (b"GET /" + b"y" * 70_000, 431),
    ],
)
async def test_what_is_no_request_gets_one_answer(broken: bytes, status: int) -> None:
    async with listening() as (listener, port):
        answer = await talk(port, broken)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.endswith(b"refused")
        await asyncio.sleep(0.01)
        assert not listener.connections


async def test_a_header_cannot_end_its_line() -> None:
    async def hostile(request: Request) -> None:
        request.respond(Response(200, {"x-model": "a\r\nset-cookie: b\0"}, b""))

    async with listening(hostile) as (_, port):
        answer = await talk(port, GET)
    assert b"x-model: a  set-cookie: b \r\n" in answer


async def test_a_client_that_goes_away_cancels_its_handler() -> None:
    ended = asyncio.Event()

    async def waiting(request: Request) -> None:
        del request
        try:
            await asyncio.sleep(10)
        finally:
            ended.set()

    async with listening(waiting) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await asyncio.sleep(0.02)
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 1)


async def test_a_client_that_goes_away_before_its_body_has_come() -> None:
    seen: list[str] = []

    async def reading(request: Request) -> None:
        try:
            await request.body()
        except ConnectionError:
            seen.append("gone")
            raise
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with listening(reading) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST[:-2])
        await asyncio.sleep(0.02)
        writer.transport.abort()
        await asyncio.sleep(0.05)
    assert seen


async def test_a_slow_client_congests_its_own_answer_only() -> None:
    sent = 0

    async def stream(request: Request) -> None:
        nonlocal sent
        request.open({})
        for _ in range(400):
            request.write(b"x" * 65_536)
            sent += 1
            if request.line.congested:
                await request.drain()
        request.end()

    async with listening(stream) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(GET)
        await asyncio.sleep(0.2)
        stopped = sent
        assert stopped < 400
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
            if data.endswith(b"0\r\n\r\n"):
                break
        assert total > 400 * 65_536
        writer.close()


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.05)
    async with listening() as (listener, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET[:10])
        assert await asyncio.wait_for(reader.read(), 1) == b""
        writer.close()
        assert not listener.connections


async def test_stopping_lets_requests_end() -> None:
    release = asyncio.Event()

    async def slow(request: Request) -> None:
        await release.wait()
        request.respond(Response(200, {}, b"done"))

    async with listening(slow) as (listener, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await asyncio.sleep(0.02)
        listener.stop_listening()
        assert await asyncio.wait_for(idle.read(), 1) == b""
        release.set()
        assert (await asyncio.wait_for(reader.read(), 1)).endswith(b"done")
        writer.close()
        idle_writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.sampled_from([GET, POST, CHUNKED, b"\r\n", b"0\r\n\r\n"])), max_size=6
    )
)
def test_any_bytes_leave_the_server_standing(pieces: list[bytes]) -> None:
    async def run() -> None:
        async with listening() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 2)
            writer.close()
            assert b"200 OK" in await talk_once(port)

    asyncio.run(run())


async def talk_once(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    answer = await asyncio.wait_for(reader.readuntil(b"c=1 "), 2)
    writer.close()
    return answer
