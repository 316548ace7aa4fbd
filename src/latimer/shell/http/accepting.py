"""Taking connections from listening sockets that several processes share.

Left to the kernel, whichever process wakes first drains the queue: of 64 streams that begin at once one process got 48
to 63 of two. Here a process takes one at a time, and one that has more than another first gives that one a millisecond.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import socket
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

YIELD_SECONDS = 0.001
"""How long a process leaves a connection to those that have fewer."""
PAUSE_SECONDS = 1.0
"""How long none is taken when the system has no more file descriptors."""
ABSENT = 0xFFFFFFFF
"""The load of a process that takes no connections."""


def shared_loads(processes: int) -> memoryview:
    """The open connections of each process, in memory shared with those that are forked later. All are absent."""
    loads = memoryview(mmap.mmap(-1, 4 * processes)).cast("I")
    for slot in range(processes):
        loads[slot] = ABSENT
    return loads


class Acceptor:
    """One process's end of the sockets. `factory` makes the protocol of a connection.

    The sockets must not block. `loads` are from `shared_loads`; this process writes the one at `slot` only.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], loads: memoryview, slot: int, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        self._sockets = sockets
        self._loads = loads
        self._slot = slot
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[None]] = set()
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}
        self._stopped = False

    def start(self) -> None:
        """Take connections from now on."""
        self._loads[self._slot] = 0
        for one in self._sockets:
            self._loop.add_reader(one, self._ready, one)

    def stop(self) -> None:
        """Take no more, and close this process's copies of the sockets."""
        if self._stopped:
            return
        self._stopped = True
        self._loads[self._slot] = ABSENT
        for timer in self._timers.values():
            timer.cancel()
        for one in self._sockets:
            self._loop.remove_reader(one)
            one.close()

    def open(self, connections: int) -> None:
        """Tell how many connections are open by now."""
        if not self._stopped:
            self._loads[self._slot] = connections

    def _ready(self, one: socket.socket) -> None:
        if self._loads[self._slot] > min(self._loads):
            self._wait(one, YIELD_SECONDS)
        else:
            self._take(one)

    def _wait(self, one: socket.socket, seconds: float) -> None:
        self._loop.remove_reader(one)
        self._timers[one] = self._loop.call_later(seconds, self._again, one)

    def _again(self, one: socket.socket) -> None:
        del self._timers[one]
        self._loop.add_reader(one, self._ready, one)
        self._take(one)

    def _take(self, one: socket.socket) -> None:
        try:
            connection, _ = one.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process has it, or the client gave up
        except OSError as error:
            log.error("a connection could not be taken: %s", error.strerror)
            self._wait(one, PAUSE_SECONDS)
            return
        connection.setblocking(False)
        self._loads[self._slot] += 1
        task = self._loop.create_task(self._adopt(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:
            connection.close()  # the client is gone already
            self.open(self._loads[self._slot] - 1)
