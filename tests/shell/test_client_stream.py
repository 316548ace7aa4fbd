"""The client's end: commits, pings, slow readers and clients that go away."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from latimer.shell.client_stream import WholeClient
from tests.scenarios.replies import Say, failure, rate_limited
from tests.shell.harness import (
    ENDING,
    ROLE,
    WHOLE_TEXT,
    Exchange,
    Gateway,
    Upstream,
    delta,
    events_in,
    eventually,
    hang,
    message,
    names,
    serving,
)

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]

QUICK = {"commit_seconds": 0.05, "ping_seconds": 0.05}
STREAMS = pytest.mark.parametrize("stream", [True, False])
TEXT = [*WHOLE_TEXT, *ENDING]


def paused(seconds: float, *, begin: bytes = b"") -> Callable[[Exchange], Awaitable[None]]:
    """An upstream that takes its time, before the status line or after its first bytes."""

    async def answer(exchange: Exchange) -> None:
        if begin:
            await exchange.head()
            await exchange.chunk(begin)
        await asyncio.sleep(seconds)
        if not begin:
            await exchange.head()
        await exchange.say("Hello")
        await exchange.finish()

    return answer


def check_order(events: list[tuple[str, Any]]) -> None:
    """One beginning, before everything; nothing after the end."""
    found = names(events, pings=True)
    assert found[0] == "message_start", found
    assert found.count("message_start") == 1, found
    assert found[-1] == "message_stop", found


# --- commit and pings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"", ROLE, b": comment\n\n"])
async def test_a_silent_upstream_is_bridged_by_pings(begin: bytes) -> None:
    async with serving(paused(0.3, begin=begin), **QUICK) as (client, _):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with client.opened() as response:
            assert response.status == 200
            assert 0.03 < loop.time() - begun < 0.2
            assert response.headers["latimer-route"] == "p0/m"
            body = await response.read()
    events = events_in(body)
    check_order(events)
    assert names(events) == TEXT
    found = names(events, pings=True)
    assert 3 <= found.index("content_block_start") - 1 <= 6  # pings before the first block, and no storm of them
    assert events[0][1]["message"]["usage"]["input_tokens"] > 0


async def test_pings_inside_a_stream() -> None:
    async def halting(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hel")
        await asyncio.sleep(0.25)
        await exchange.say("lo")
        await exchange.finish()

    async with serving(halting, commit_seconds=5, ping_seconds=0.05) as (client, _):
        loop = asyncio.get_running_loop()
        async with client.opened() as response:
            body = await response.content.readuntil(b"Hel")
            longest, last = 0.0, loop.time()
            while data := await response.content.readany():
                body += data
                longest, last = max(longest, loop.time() - last), loop.time()
    events = events_in(body)
    check_order(events)
    assert names(events, pings=True).count("ping") >= 2
    assert longest < 0.2


async def test_no_pings_while_words_flow() -> None:
    async def steady(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(40):
            await exchange.say("x")
            await asyncio.sleep(0.01)
        await exchange.finish()

    async with serving(steady, commit_seconds=0.1, ping_seconds=0.25) as (client, _):
        assert "ping" not in names((await client.ask()).events, pings=True)


async def test_pings_while_an_upstream_says_nothing_that_counts() -> None:
    """Comments and empty deltas are no bytes for the client."""

    async def chatter(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hel")
        for _ in range(25):
            await exchange.chunk(b": keep-alive\n\n" + ROLE)
            await asyncio.sleep(0.01)
        await exchange.say("lo")
        await exchange.finish()

    async with serving(chatter, commit_seconds=5, ping_seconds=0.05) as (client, _):
        events = (await client.ask()).events
        assert names(events, pings=True).count("ping") >= 2


@pytest.mark.parametrize("commit", [0.0001, 0.001, 0.003])
async def test_commit_and_first_words_do_not_race(commit: float) -> None:
    """The timer fires around the moment at which the first bytes come, many times over."""
    dice = random.Random(7)

    async def jittered(exchange: Exchange) -> None:
        await asyncio.sleep(dice.choice([0, commit / 2, commit, commit * 1.5, commit * 3]))
        await exchange.head()
        if dice.random() < 0.5:
            await exchange.chunk(ROLE)
            await asyncio.sleep(dice.choice([0, commit, commit * 2]))
        for _ in range(dice.randint(1, 5)):
            await exchange.say("x")
            await asyncio.sleep(dice.choice([0, commit, 0.002]))
        await exchange.finish()

    async with serving(jittered, commit_seconds=commit, ping_seconds=0.012) as (client, _):
        for _ in range(6):
            for answer in await asyncio.gather(*(client.ask() for _ in range(12))):
                check_order(answer.events)
                assert answer.text.strip("x") == ""


@pytest.mark.parametrize("commit", [0.0001, 0.002])
async def test_commit_and_failure_do_not_race(commit: float) -> None:
    """Either an honest status or an error event; never a status inside of a stream."""
    dice = random.Random(11)

    async def jittered(exchange: Exchange) -> None:
        await asyncio.sleep(dice.choice([0, commit / 2, commit, commit * 2]))
        await exchange.play(failure(401, "wrong key"))

    async with serving(jittered, commit_seconds=commit) as (client, _):
        for _ in range(6):
            for answer in await asyncio.gather(*(client.ask() for _ in range(12))):
                if answer.status == 200:
                    assert names(answer.events) == ["message_start", "error"]
                else:
                    assert answer.status == 401
                    assert answer.error["type"] == "authentication_error"


async def test_a_failure_after_the_commit_is_an_event() -> None:
    async def fails(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        await exchange.play(failure(503, "overloaded"))

    async with serving(fails, retry="tries = 2", **QUICK) as (client, script):
        answer = await client.ask()
        assert answer.status == 200
        assert names(answer.events) == ["message_start", "error"]
        assert answer.events[-1][1]["error"]["type"] == "overloaded_error"
        assert answer.events[-1][1]["request_id"] == answer.headers["request-id"]
        assert len(script.exchanges) == 2  # nothing was said yet, so it was tried again


async def test_a_retry_after_the_commit() -> None:
    async def fails(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        await exchange.play(failure(503, "overloaded"))

    async with serving(fails, paused(0.1, begin=ROLE), **QUICK) as (client, _):
        events = (await client.ask()).events
        check_order(events)
        assert names(events) == TEXT


async def test_a_commit_without_tokens() -> None:
    async with serving(**QUICK) as (client, _):
        assert names((await client.ask(max_tokens=0)).events) == ["message_start", *ENDING]


async def test_a_whole_answer_gets_no_pings() -> None:
    async with serving(paused(0.2), **QUICK) as (client, _):
        answer = await client.ask(stream=False)
        assert answer.json["content"][0]["text"] == "Hello"


async def test_one_timer_for_each_side_of_a_stream() -> None:
    def timers() -> list[str]:
        scheduled: list[Any] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        waiting = (repr(handle._callback) for handle in scheduled if not handle.cancelled())
        return [text for text in waiting if "_tick" in text]

    async def steady(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(50):
            await exchange.say("x")
            await asyncio.sleep(0.004)
        await exchange.finish()

    most = 0
    async with serving(steady, commit_seconds=0.01, ping_seconds=0.01, idle_timeout_seconds=0.02) as (client, _):
        async with client.opened() as response:
            while await response.content.readany():
                most = max(most, len(timers()))
        assert most == 2
        await asyncio.sleep(0)
        assert timers() == []


def test_whole_clients_collect() -> None:
    client = WholeClient()
    client.announce("p/m", "")
    client.write(b"a")
    client.write(b"b")
    assert client.body == b"ab"
    assert client.headers == {"latimer-route": "p/m"}


# --- going away ------------------------------------------------------------------------------------------------------


async def _after_words(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello")
    await exchange.gone.wait()


async def _steadily(exchange: Exchange) -> None:
    await exchange.head()
    while not exchange.gone.is_set():
        await exchange.say("Hello")
        await asyncio.sleep(0.002)


async def _after_role(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(ROLE)
    await exchange.gone.wait()


async def _in_error_body(exchange: Exchange) -> None:
    await exchange.head(500, "application/json")
    await exchange.chunk(b'{"error":')
    await exchange.gone.wait()


async def _in_whole_body(exchange: Exchange) -> None:
    await exchange.head(200, "application/json")
    await exchange.chunk(b'{"choices":')
    await exchange.gone.wait()


LEFT = [hang, _after_words, _steadily, _after_role, _in_error_body, _in_whole_body]


async def leave(client: Gateway, script: Upstream, *, stream: bool) -> None:
    """Ask, go away after a moment, and see that everything behind has gone too."""
    port = int(client.url.rsplit(":", 1)[1])
    before = asyncio.all_tasks()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(message(stream=stream)).encode()
    writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await eventually(lambda: len(script.exchanges) == 1)
    await asyncio.sleep(0.08)
    assert not script.exchanges[0].gone.is_set()
    writer.close()
    await asyncio.wait_for(script.exchanges[0].gone.wait(), 1)
    await eventually(lambda: not [task for task in asyncio.all_tasks() - before if "latimer" in repr(task)])
    assert len(script.exchanges) == 1


@STREAMS
@pytest.mark.parametrize("commit", [0.02, 5])
@pytest.mark.parametrize("fault", LEFT)
async def test_a_client_that_goes_away(fault: Any, commit: float, stream: bool) -> None:
    async with serving(fault, commit_seconds=commit, ping_seconds=0.02) as (client, script):
        await leave(client, script, stream=stream)
        assert (await client.get("/health")).status == 200
        text = (await client.get("/metrics")).body.decode()
        assert 'latimer_requests_total{outcome="disconnected",path="/v1/messages"} 1.0' in text
        assert "latimer_open_requests 1.0" in text  # the one for the metrics


@STREAMS
async def test_a_client_that_goes_away_between_attempts(stream: bool) -> None:
    async with serving(rate_limited("20"), commit_seconds=0.02, ping_seconds=0.02) as (client, script):
        before = asyncio.all_tasks()
        asking = asyncio.create_task(client.ask(stream=stream))
        await eventually(lambda: len(script.exchanges) == 1)
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: not [task for task in asyncio.all_tasks() - before if "latimer" in repr(task)])
        assert len(script.exchanges) == 1


async def test_a_client_that_goes_away_while_it_sends() -> None:
    async with serving() as (client, script):
        _, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rsplit(":", 1)[1]))
        writer.write(b'POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"model":')
        await asyncio.sleep(0.05)
        writer.close()
        await eventually(lambda: not [task for task in asyncio.all_tasks() if "LatimerServer" in repr(task)])
        assert not script.exchanges


# --- slow readers ----------------------------------------------------------------------------------------------------

PIECE = "x" * 16_000


@asynccontextmanager
async def slow_reader(client: Gateway) -> AsyncIterator[asyncio.StreamReader]:
    """A client with small buffers that reads only when it is told to."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", int(client.url.rsplit(":", 1)[1])))
    reader, writer = await asyncio.open_connection(sock=raw, limit=16_384)
    body = json.dumps(message()).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    try:
        yield reader
    finally:
        writer.close()


def flood(pieces: int) -> tuple[Callable[[Exchange], Awaitable[None]], list[int]]:
    """An upstream with much to say, and how many pieces it got rid of."""
    sent = [0]

    async def answer(exchange: Exchange) -> None:
        raw: socket.socket = exchange.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        await exchange.head()
        for _ in range(pieces):
            if exchange.gone.is_set():
                return
            await exchange.chunk(delta(PIECE))
            sent[0] += 1
        await exchange.finish()

    return answer, sent


async def test_a_slow_reader_holds_the_upstream_back() -> None:
    answer, sent = flood(8000)  # 128 MB
    async with serving(answer, commit_seconds=0.02, ping_seconds=0.01) as (client, script):
        async with slow_reader(client):
            await eventually(lambda: sent[0] > 0)
            before = -1
            while before != sent[0]:
                before = sent[0]
                await asyncio.sleep(0.2)
            assert sent[0] * len(PIECE) < 24_000_000  # what the system's own buffers hold
            assert len([task for task in asyncio.all_tasks() if "_ping" in repr(task)]) <= 1
        await asyncio.wait_for(script.exchanges[0].gone.wait(), 1)


async def test_a_slow_reader_is_not_the_upstreams_silence() -> None:
    """Nor are its pings lost inside of an event."""
    pieces = 1500  # 24 MB
    answer, sent = flood(pieces)
    limits = {"commit_seconds": 0.01, "ping_seconds": 0.01, "idle_timeout_seconds": 0.2}
    async with serving(answer, **limits) as (client, _), slow_reader(client) as reader:
        await eventually(lambda: sent[0] > 0)
        await asyncio.sleep(0.6)
        assert sent[0] < pieces
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        body = bytearray()
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
    events = events_in(bytes(body))
    check_order(events)
    assert sum(len(data["delta"]["text"]) for name, data in events if name == "content_block_delta") == pieces * 16_000


# --- the loop that users run -----------------------------------------------------------------------------------------


@pytest.mark.skipif(uvloop is None, reason="not for this system")
@pytest.mark.parametrize("fault", LEFT)
def test_going_away_on_uvloop(fault: Any) -> None:
    async def scenario() -> None:
        async with serving(fault, commit_seconds=0.02, ping_seconds=0.02) as (client, script):
            await leave(client, script, stream=True)

    uvloop.run(scenario())


@pytest.mark.skipif(uvloop is None, reason="not for this system")
def test_streams_on_uvloop() -> None:
    async def scenario() -> None:
        async with serving(paused(0.2), Say("Hello"), failure(500, "x"), **QUICK) as (client, _):
            for _ in range(2):
                events = (await client.ask()).events
                check_order(events)
                assert names(events) == TEXT
            assert (await client.ask()).status in (200, 500)
        answer, sent = flood(8000)
        async with serving(answer, ping_seconds=0.01) as (client, script):
            async with slow_reader(client):
                await eventually(lambda: sent[0] > 0)
                await asyncio.sleep(0.5)
                assert sent[0] * len(PIECE) < 24_000_000
            await asyncio.wait_for(script.exchanges[0].gone.wait(), 1)

    uvloop.run(scenario())
