"""How 64 connections are shared between two processes, by the ways of docs/decisions/0011-workers.md.

Run with `python -m bench.workers`.
"""

import asyncio
import os
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from latimer.shell.http.accepting import Acceptor, shared_loads

CONNECTIONS = 64
ROUNDS = 10
GAPS = (0.0, 0.002, 0.01)
"""Seconds between two connections."""
BUSY_SECONDS = 0.0005
"""What a request costs when it comes in."""


class Numbered(asyncio.Protocol):
    """Says who took the connection, after some work."""

    def __init__(self, slot: int, loads: memoryview) -> None:
        self._slot = slot
        self._loads = loads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, _: bytes) -> None:
        end = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < end:
            pass
        self.transport.write(bytes([self._slot]))

    def connection_lost(self, _: Exception | None) -> None:
        if self._loads[self._slot]:
            self._loads[self._slot] -= 1


async def serve(way: str, sockets: list[socket.socket], loads: memoryview, slot: int) -> None:
    """One process, until it is killed."""
    loop = asyncio.get_running_loop()
    mine = sockets[slot % len(sockets)]
    if way == "in turn":
        Acceptor([mine], loads, slot, lambda: Numbered(slot, loads)).start()
    else:
        await loop.create_server(lambda: Numbered(slot, loads), sock=mine)
    await asyncio.Event().wait()


def listening(count: int) -> list[socket.socket]:
    """`count` sockets on one port."""
    sockets: list[socket.socket] = []
    for _ in range(count):
        one = socket.socket()
        if count > 1:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(sockets[0].getsockname() if sockets else ("127.0.0.1", 0))
        one.listen(1024)
        one.setblocking(False)
        sockets.append(one)
    return sockets


@contextmanager
def two(way: str) -> Iterator[tuple[str, int]]:
    """Two processes that share a port; yields the address."""
    sockets = listening(2 if way == "SO_REUSEPORT" else 1)
    loads = shared_loads(2)
    pids = []
    for slot in range(2):
        pid = os.fork()
        if pid == 0:
            uvloop.run(serve(way, sockets, loads, slot))
        pids.append(pid)
    time.sleep(0.3)
    try:
        yield sockets[0].getsockname()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for one in sockets:
            one.close()


async def larger_share(address: tuple[str, int], gap: float) -> int:
    """Of the connections, those of the process that has more."""

    async def ask() -> tuple[int, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"x")
        return (await reader.readexactly(1))[0], writer

    asking = []
    for _ in range(CONNECTIONS):
        asking.append(asyncio.create_task(ask()))
        if gap:
            await asyncio.sleep(gap)
    answers = await asyncio.gather(*asking)
    for _, writer in answers:
        writer.close()
    await asyncio.sleep(0.05)
    ones = sum(slot for slot, _ in answers)
    return max(ones, CONNECTIONS - ones)


def lost() -> int:
    """Of queued connections, those that are reset when one of two SO_REUSEPORT sockets closes."""
    first, second = listening(2)
    clients = [socket.create_connection(first.getsockname()) for _ in range(CONNECTIONS)]
    first.close()
    reset = 0
    for client in clients:
        client.settimeout(0.02)
        try:
            client.recv(1)
        except TimeoutError:
            pass
        except ConnectionResetError:
            reset += 1
        client.close()
    second.close()
    return reset


def main() -> None:
    """Print the larger share of 64, its median and its maximum."""
    for way in ("one socket, left to the kernel", "SO_REUSEPORT", "in turn"):
        with two(way) as address:
            for gap in GAPS:
                found = [asyncio.run(larger_share(address, gap)) for _ in range(ROUNDS)]
                print(f"{way}, {gap * 1000:.0f} ms apart: median {statistics.median(found):.0f}, most {max(found)}")
    print(f"SO_REUSEPORT, queued connections reset when one of two closes: {lost()} of {CONNECTIONS}")


if __name__ == "__main__":
    main()
