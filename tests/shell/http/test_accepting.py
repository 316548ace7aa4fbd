"""Taking connections in turn, with a second process played by the test."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from latimer.shell.http import accepting
from latimer.shell.http.accepting import ABSENT, shared_loads
from latimer.shell.http.serving import Listener, Request, Response


async def hello(request: Request) -> None:
    request.respond(Response(200, {}, b"hello"))


@asynccontextmanager
async def sharing(processes: int = 2) -> AsyncIterator[tuple[Listener, memoryview, int]]:
    """A listener at slot 0 of shared sockets."""
    one = socket.create_server(("127.0.0.1", 0))
    one.setblocking(False)
    port = one.getsockname()[1]
    loads = shared_loads(processes)
    listener = Listener(hello, Response, 100)
    listener.listen_on([one], loads, 0)
    try:
        yield listener, loads, port
    finally:
        listener.stop_listening()
        listener.close()
        await asyncio.sleep(0)
        assert loads[0] == ABSENT
        assert one.fileno() == -1


async def ask(port: int) -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"hello"), 5)
    return answer, writer


async def left(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def settled() -> None:
    await asyncio.sleep(0.02)


async def test_it_counts_its_connections() -> None:
    async with sharing() as (_, loads, port):
        assert list(loads) == [0, ABSENT]
        asked = [await ask(port) for _ in range(3)]
        assert list(loads) == [3, ABSENT]
        for _, writer in asked:
            await left(writer)
        await settled()
        assert list(loads) == [0, ABSENT]


async def test_one_that_has_fewer_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "YIELD_SECONDS", 0.5)
    async with sharing() as (_, loads, port):
        _, first = await ask(port)
        loads[1] = 0
        asking = asyncio.create_task(ask(port))
        await asyncio.sleep(0.1)
        assert not asking.done()
        _, second = await asking  # nobody took it
        assert loads[0] == 2
        loads[1] = 2
        _, third = await asyncio.wait_for(ask(port), 0.4)
        for writer in (first, second, third):
            await left(writer)


async def test_another_takes_what_was_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "YIELD_SECONDS", 0.05)
    async with sharing() as (listener, loads, port):
        assert listener._acceptor is not None
        ours = listener._acceptor._sockets[0]
        _, first = await ask(port)
        loads[1] = 0
        with socket.socket() as client:
            client.connect(("127.0.0.1", port))
            await asyncio.sleep(0.01)
            ours.accept()[0].close()
            await asyncio.sleep(0.1)  # it looks in vain
            assert loads[0] == 1
        loads[1] = ABSENT
        _, second = await ask(port)
        await left(first)
        await left(second)


async def test_without_descriptors_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.05)
    said = []
    monkeypatch.setattr(accepting.log, "error", lambda text, why: said.append(why))

    class Full(socket.socket):
        full = True

        def accept(self) -> tuple[socket.socket, object]:
            if Full.full:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    one = Full()
    one.bind(("127.0.0.1", 0))
    one.listen()
    one.setblocking(False)
    listener = Listener(hello, Response, 100)
    listener.listen_on([one], shared_loads(1), 0)
    asking = asyncio.create_task(ask(one.getsockname()[1]))
    await asyncio.sleep(0.12)
    assert 1 <= len(said) <= 4
    Full.full = False
    _, writer = await asking
    await left(writer)
    listener.stop_listening()
    listener.close()
    await settled()


async def test_stopping_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "YIELD_SECONDS", 0.02)
    async with sharing() as (listener, loads, port):
        _, first = await ask(port)
        loads[1] = 0
        with socket.socket() as client:
            client.connect(("127.0.0.1", port))
            await asyncio.sleep(0.005)
            listener.stop_listening()
            await asyncio.sleep(0.05)
        assert loads[0] == ABSENT
        await left(first)
