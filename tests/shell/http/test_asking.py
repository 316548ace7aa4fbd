"""The client's end of HTTP/1.1 against a server that says exactly the bytes it is told to."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.shell.http import asking
from latimer.shell.http.asking import BrokenReply, Pool, Reply, target

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello world"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world"
INFORMED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH
PACKED = gzip.compress(b"hello world", mtime=0)
GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED)
WHOLE = [LENGTH, CHUNKED, TO_THE_END, INFORMED, GZIPPED]


class Server:
    """Plays one script of writes for each connection's every request; `...` closes, None waits."""

    def __init__(self, *scripts: Sequence[bytes | None]) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while self.scripts:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                for step in self.scripts.pop(0):
                    if step is None:
                        writer.close()
                        return
                    writer.write(step)
                    await writer.drain()
                    await asyncio.sleep(0)
            await reader.read()
        writer.close()


@asynccontextmanager
async def serving(*scripts: Sequence[bytes | None]) -> AsyncIterator[tuple[Server, Pool, str]]:
    server = Server(*scripts)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    pool = Pool(2.0)
    try:
        yield server, pool, f"http://127.0.0.1:{server.port}/v1/x?y=1"
    finally:
        pool.close()
        listening.close()


async def body_of(reply: Reply) -> bytes:
    parts: list[bytes] = []

    def take(data: bytes) -> bool:
        parts.append(data)
        return True

    assert await reply.flow(take)
    return b"".join(parts)


@pytest.mark.parametrize("piece", [1, 5, 1000])
@pytest.mark.parametrize("answer", WHOLE)
async def test_answers_in_any_pieces(answer: bytes, piece: int) -> None:
    pieces = [answer[at : at + piece] for at in range(0, len(answer), piece)]
    script = [*pieces, None] if answer is TO_THE_END else pieces
    async with serving(script) as (server, pool, url), pool.asked("POST", url, {"x-key": "k"}, b"{}") as reply:
        assert reply.status == 200
        assert await body_of(reply) == b"hello world"
        if answer is LENGTH:
            assert reply.headers["x-a"] == "1, 2"
    assert server.requests[0].startswith(b"POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-key: k\r\ncontent-length: 2\r\n\r\n" in server.requests[0]


async def test_a_connection_serves_again() -> None:
    async with serving([LENGTH], [CHUNKED], [LENGTH]) as (server, pool, url):
        for _ in range(3):
            async with pool.asked("POST", url, {}, b"") as reply:
                assert await body_of(reply) == b"hello world"
        assert server.connections == 1


async def test_an_answer_that_is_left_costs_its_connection() -> None:
    async with serving([CHUNKED[:60]], [LENGTH]) as (server, pool, url):
        async with pool.asked("POST", url, {}, b"") as reply:
            assert not await reply.flow(lambda _: False)
        async with pool.asked("POST", url, {}, b"") as reply:
            assert await body_of(reply) == b"hello world"
        assert server.connections == 2


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with serving([LENGTH, None], [LENGTH]) as (server, pool, url):
        for _ in range(2):
            async with pool.asked("POST", url, {}, b"") as reply:
                assert await body_of(reply) == b"hello world"
            await asyncio.sleep(0.02)
        assert server.connections == 2


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "KEEP_ALIVE_SECONDS", 0.02)
    async with serving([LENGTH], [LENGTH]) as (server, pool, url):
        for _ in range(2):
            async with pool.asked("POST", url, {}, b"") as reply:
                assert await body_of(reply) == b"hello world"
            await asyncio.sleep(0.06)
        assert server.connections == 2


async def test_words_nobody_asked_for_end_the_connection() -> None:
    async with serving([LENGTH, b"more"], [LENGTH]) as (server, pool, url):
        async with pool.asked("POST", url, {}, b"") as reply:
            assert await body_of(reply) == b"hello world"
        await asyncio.sleep(0.02)
        async with pool.asked("POST", url, {}, b"") as reply:
            assert await body_of(reply) == b"hello world"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        [None],
        [b"HTTP/1.1 20", None],
        [b"hello\r\n\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx"],
        [b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000],
    ],
)
async def test_no_answer(answer: list[bytes | None]) -> None:
    async with serving(answer) as (_, pool, url):
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(2), pool.asked("POST", url, {}, b""):
                pass


@pytest.mark.parametrize(
    "rest",
    [
        [LENGTH[:-3], None],
        [CHUNKED[:-5], None],
        [CHUNKED[:-5], b"zz\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"],
    ],
)
async def test_half_an_answer(rest: list[bytes | None]) -> None:
    async with serving(rest) as (_, pool, url), asyncio.timeout(2), pool.asked("POST", url, {}, b"") as reply:
        with pytest.raises(ConnectionError):
            await body_of(reply)


async def test_what_a_sink_raises_comes_out() -> None:
    def broken(_: bytes) -> bool:
        raise ValueError("a bug")

    async with serving([LENGTH]) as (_, pool, url), pool.asked("POST", url, {}, b"") as reply:
        with pytest.raises(ValueError, match="a bug"):
            await reply.flow(broken)


async def test_a_sink_that_has_enough_is_not_read_for() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n"] + [b"x" * 100_000] * 400
    async with serving(pieces) as (_, pool, url), pool.asked("POST", url, {}, b"") as reply:
        sizes: list[int] = []

        def sip(data: bytes) -> bool:
            sizes.append(len(data))
            return False

        while not await reply.flow(sip):
            pass
        assert sum(sizes) == 40_000_000
        assert max(sizes) < 2_000_000


async def test_a_body_that_nobody_wants_yet_is_not_held_whole() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n"] + [b"x" * 100_000] * 400
    async with serving(pieces) as (_, pool, url), pool.asked("POST", url, {}, b"") as reply:
        await asyncio.sleep(0.1)
        first: list[int] = []
        await reply.flow(lambda data: bool(first.append(len(data))))
        assert first[0] < 2_000_000


async def test_a_compressed_bomb_is_unpacked_in_pieces_and_only_as_far_as_it_is_wanted() -> None:
    size = 16 * asking.INFLATED_BYTES
    packed = gzip.compress(bytes(size), mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    pieces: list[int] = []

    def take(data: bytes) -> bool:
        pieces.append(len(data))
        return len(pieces) % 3 != 0

    async with serving([head + packed]) as (_, pool, url), pool.asked("GET", url, {}, b"") as reply:
        assert not await reply.flow(take)
        assert len(pieces) == 3
        while not await reply.flow(take):
            pass
    assert sum(pieces) == size
    assert max(pieces) <= asking.INFLATED_BYTES


async def test_another_protocol_is_named() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    async with serving([switch]) as (_, pool, url):
        with pytest.raises(BrokenReply, match="switches protocols"):
            async with pool.asked("GET", url, {}, b""):
                pass


async def test_nothing_listens() -> None:
    pool = Pool(2.0)
    with pytest.raises(ConnectionRefusedError):
        async with pool.asked("GET", "http://127.0.0.1:9/", {}, b""):
            pass
    with pytest.raises(ConnectionRefusedError):
        async with pool.asked("GET", "http://localhost:9/", {}, b""):
            pass


@pytest.mark.parametrize("url", ["ftp://x", "http://", "x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="not an HTTP URL"):
        target(url)


def test_targets() -> None:
    found = target("https://api.example.com/v1/chat?a=b")
    assert (found.origin.host, found.origin.port, found.origin.tls) == ("api.example.com", 443, True)
    assert found.head == b" /v1/chat?a=b HTTP/1.1\r\nhost: api.example.com\r\n"
    assert target("http://[::1]:8080").head == b" / HTTP/1.1\r\nhost: [::1]:8080\r\n"


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([*WHOLE, b"5\r\nhello\r\n", b"0\r\n\r\n"])), max_size=5)
)
def test_any_bytes_are_an_answer_or_an_error(pieces: list[bytes]) -> None:
    async def run() -> None:
        async with serving([*pieces, None]) as (_, pool, url):
            with suppress(BrokenReply, ConnectionError):
                async with asyncio.timeout(2), pool.asked("POST", url, {}, b"") as reply:
                    await body_of(reply)

    asyncio.run(run())
