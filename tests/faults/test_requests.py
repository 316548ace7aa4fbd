"""Hostile requests: what others could read differently is refused, each request has one answer, none hangs."""

import asyncio
import json
import re

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latimer.shell.http import serving
from latimer.shell.http.serving import Listener, Request, Response, TooLarge, Unreadable
from tests.shell.harness import KEY, KEY_VARIABLE, config_for, gateway
from tests.shell.http.test_serving import LIMIT, listening, talk

HEAD = b"POST /p HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
FIVE = b"Content-Length: 5\r\n"
HELLO = b"\r\n5\r\nhello\r\n0\r\n\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

REFUSED = {
    "both framings": HEAD + FIVE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, the other way round": CHUNKED + FIVE + b"\r\n0\r\n\r\n",
    "two lengths": HEAD + FIVE + b"Content-Length: 6\r\n\r\nhello",
    "the same length twice": HEAD + FIVE + FIVE + b"\r\nhello",
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "a hexadecimal length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "a length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "an empty length": HEAD + b"Content-Length: \r\n\r\nhello",
    "a space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "a folded line": HEAD + b"X-A: 1\r\n 2\r\n" + FIVE + b"\r\nhello",
    "a folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n" + HELLO,
    "bare line feeds": b"POST /p HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello",
    "one bare line feed": HEAD + b"X: 1\n" + FIVE + b"\r\nhello",
    "a bare carriage return": HEAD + b"X: 1\r" + FIVE + b"\r\nhello",
    "a null": HEAD + b"X: a\0b\r\n" + FIVE + b"\r\nhello",
    "bare line feeds in chunks": CHUNKED + b"\r\n5\nhello\n0\n\n",
    "a bare line feed after an extension": CHUNKED + b"\r\n5;a\nhello\r\n0\r\n\r\n",
    "a space after a chunk's size": CHUNKED + b"\r\n5 \r\nhello\r\n0\r\n\r\n",
    "a chunk's size with 0x": CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk's size beyond 64 bits": CHUNKED + b"\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a coding that is not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n" + HELLO,
    "a coding before chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n" + HELLO,
    "two codings": HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n" + HELLO,
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + HELLO,
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n" + HELLO,
    "a coding after a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n" + HELLO,
    "a quoted coding": HEAD + b'Transfer-Encoding: "chunked"\r\n' + HELLO,
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + HELLO,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no version": b"GET /\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a length in a trailer": CHUNKED + b"\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "endless extensions": CHUNKED + b"\r\n5;" + b"a" * 70_000,
    "endless trailers": CHUNKED + b"\r\n5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 12_000,
    "another protocol with a body": HEAD + FIVE + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nhello",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_be_read_in_two_ways_is_refused(name: str) -> None:
    async with listening() as (listener, port):
        answer = await talk(port, REFUSED[name] + SECOND)
        assert [int(code) for code in STATUS.findall(answer)] in ([400], [431]), answer
        assert b"/second" not in answer
        await asyncio.sleep(0.01)
        assert not listener.connections


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length:\t5 \r\n\r\nhello",
        CHUNKED + b'\r\n5;a="b"\r\nhello\r\n0\r\n\r\n',
        CHUNKED + HELLO,
        b"\r\n\r\n" + CHUNKED.replace(b"chunked", b"Chunked") + HELLO,
    ],
)
async def test_what_is_odd_but_clear_is_served(request_bytes: bytes) -> None:
    async with listening() as (_, port):
        answer = await talk(port, request_bytes + SECOND)
    assert STATUS.findall(answer) == [b"200", b"200"]
    assert b"POST /p  hello" in answer


async def test_trailers_change_nothing() -> None:
    """Whoever checked the head has not seen them."""
    seen: list[dict[str, list[str]]] = []

    async def note(request: Request) -> None:
        await request.body()
        seen.append(request.headers)
        request.respond(Response())

    async with listening(note) as (_, port):
        await talk(port, CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-Api-Key: k\r\nContent-Encoding: gzip\r\n\r\n")
    assert seen == [{"host": ["x"], "transfer-encoding": ["chunked"]}]


async def test_a_body_that_does_not_go_on_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.1)
    async with listening() as (listener, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + FIVE + b"\r\nhe")
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        assert not listener.connections


LINES = st.sampled_from(
    [
        b"Host: x",
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: 99999",
        b"Content-Length: 5, 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding : chunked",
        b"Connection: close",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"Content-Encoding: gzip",
        b" folded",
        b"X: \xff\xfe",
        b": nameless",
        b"X-Long: " + b"y" * 3000,
    ]
)
BODIES = st.sampled_from(
    [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n", b"0\r\n\r\n"]
)
FIRST = st.sampled_from([b"GET / HTTP/1.1", b"POST /p HTTP/1.1", b"HEAD / HTTP/1.1", b"POST / HTTP/1.0", b"GET /"])
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
REQUESTS = st.builds(
    lambda first, lines, end, body: end.join([first, *lines, b"", b""]) + body,
    FIRST,
    st.lists(LINES, max_size=5),
    ENDS,
    BODIES,
)
NOISE = st.one_of(st.binary(max_size=60), st.sampled_from([b"\r\n", b"\0", b"\x16\x03\x01"]))


class Counted:
    """A handler that notes how often each request was answered, and whether one failed."""

    def __init__(self) -> None:
        self.begun = 0
        self.read: list[tuple[str, bytes]] = []
        self.failures: list[BaseException] = []

    async def __call__(self, request: Request) -> None:
        self.begun += 1
        try:
            body = await request.body()
            self.read.append((request.method, body))
            request.respond(Response(200, {}, b"%d" % len(body)))
        except (TooLarge, Unreadable):
            request.respond(Response(400))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except BaseException as error:
            self.failures.append(error)
            raise


def by_another(data: bytes) -> list[tuple[str, bytes]]:
    """What h11, a parser in Python, reads in the same bytes: the method and the body of each request."""
    found: list[tuple[str, bytes]] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data.lstrip(b"\r\n"))
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                found.append((event.method.decode(), b""))
            elif isinstance(event, h11.Data):
                found[-1] = (found[-1][0], found[-1][1] + bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return found
                connection.start_next_cycle()
            else:  # it needs more, or will read no more
                return found
    except h11.RemoteProtocolError:
        return found


@given(st.lists(st.one_of(REQUESTS, REQUESTS, NOISE), min_size=1, max_size=5), st.integers(0, 200))
@settings(max_examples=150)
def test_hostile_requests_have_one_answer_each(pieces: list[bytes], cut: int) -> None:
    async def run() -> None:
        handler = Counted()
        async with listening(handler) as (listener, port):
            data = b"".join(pieces)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for part in (data[:cut], data[cut:]):
                writer.write(part)
                await asyncio.sleep(0)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 3)
            writer.close()
            await asyncio.sleep(0)
            said = STATUS.findall(answer)
            finals = [code for code in said if code != b"100"]
            # One for each request that was begun, and one for what was none.
            assert len(finals) <= handler.begun + 1, (data, answer)
            assert finals.count(b"200") <= data.count(b"HTTP/1."), (data, answer)
            assert not handler.failures
            if b"gzip" not in data:
                assert handler.read == by_another(data)[: len(handler.read)], data
            assert not any(connection.busy for connection in listener.connections)

    asyncio.run(run())


async def test_the_gateway_itself_answers_hostile_requests_in_its_envelope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    async with gateway(config_for("http://127.0.0.1:9/v1")) as client:
        port = int(client.url.rpartition(":")[2])
        for name, request_bytes in REFUSED.items():
            answer = await talk(port, request_bytes + SECOND)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert len(STATUS.findall(answer)) == 1, (name, answer)
            assert b"connection: close" in head, name
            assert json.loads(body)["type"] == "error", name


async def test_hundreds_of_half_requests_cost_only_their_connections() -> None:
    """They are closed when the server stops; others are served meanwhile."""

    async def echo(request: Request) -> None:
        request.respond(Response(200, {}, await request.body()))

    listener = Listener(echo, Response, LIMIT)
    _, port = await listener.listen("127.0.0.1", 0)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    for _, writer in opened:
        writer.write(HEAD + FIVE + b"\r\nhe")
    assert STATUS.findall(await talk(port, SECOND)) == [b"200"]
    assert len(listener.connections) >= 300
    listener.stop_listening()
    listener.close()
    for _, writer in opened:
        writer.close()
    await asyncio.sleep(0.05)
    assert not listener.connections
