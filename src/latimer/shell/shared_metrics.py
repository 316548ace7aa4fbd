"""The counters of several workers, in memory that they share: whichever is asked answers for all.

Each worker writes its own counters once a second, never while it answers. What a worker has written outlives it, and
the one that takes its place counts on from there: a sum never falls.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import msgpack
from msgspec.structs import replace

from latimer.shell.metrics import Metrics, Snapshot

log = logging.getLogger(__name__)

KEEP_SECONDS = 1.0
"""How often a worker writes: what others tell of it is at most so old."""
PAGE_BYTES = 1 << 20
"""Most bytes of one snapshot. Memory that nobody writes to costs nothing."""
_HEAD = struct.Struct("<II")
"""Before each snapshot: its length and its CRC-32."""
_SLOT_BYTES = mmap.PAGESIZE + 2 * PAGE_BYTES
"""A byte that says which of two pages counts, and the pages."""
_TRIES = 100


class SharedMetrics:
    """A slot of shared memory for each worker. It is made before the workers are forked.

    A slot has two pages. The one that does not count is written, then made the one that counts, so that a worker that
    is killed while it writes leaves the other.
    """

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, workers * _SLOT_BYTES)
        self._workers = workers

    def read(self, slot: int) -> Snapshot:
        """What a worker wrote last."""
        text = self._read(slot)
        return msgpack.decode(text, type=Snapshot) if text else Snapshot()

    def write(self, slot: int, snapshot: Snapshot) -> None:
        """Keep what a worker has counted. Only that worker may call it, and its parent once it is dead."""
        text = msgpack.encode(snapshot)
        if text == self._read(slot):
            return
        if len(text) > PAGE_BYTES - _HEAD.size:
            log.error("this worker has too many counters to share; /metrics of other workers tells of old ones")
            return
        turn = slot * _SLOT_BYTES
        other = 1 - self._memory[turn]
        start = self._page(slot, other)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, start, len(text), zlib.crc32(text))
        self._memory[turn] = other

    def ended(self, slot: int) -> None:
        """A worker is dead: nothing is open there any more."""
        self.write(slot, replace(self.read(slot), open=0))

    def total(self, slot: int, own: Metrics) -> Metrics:
        """The sum over all workers, with the present counters of the one at `slot`.

        Those are written first: the next sum, whoever makes it, must not be smaller.
        """
        self.write(slot, own.snapshot())
        total = Metrics()
        for each in range(self._workers):
            total.add(self.read(each))
        return total

    @contextmanager
    def kept(self, slot: int, own: Metrics) -> Iterator[None]:
        """Count on from what stands in the slot, and write there what is counted. Needs a running loop."""
        own.add(self.read(slot))
        task = asyncio.get_running_loop().create_task(self._keep(slot, own))
        try:
            yield
        finally:
            task.cancel()
            self.write(slot, own.snapshot())

    async def _keep(self, slot: int, own: Metrics) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            self.write(slot, own.snapshot())

    def _read(self, slot: int) -> bytes:
        for _ in range(_TRIES):
            start = self._page(slot, self._memory[slot * _SLOT_BYTES])
            length, check = _HEAD.unpack_from(self._memory, start)
            text = self._memory[start + _HEAD.size : start + _HEAD.size + min(length, PAGE_BYTES)]
            if zlib.crc32(text) == check:  # else it was written twice while it was read
                return text
        raise RuntimeError("a worker's counters could not be read")

    def _page(self, slot: int, which: int) -> int:
        return slot * _SLOT_BYTES + mmap.PAGESIZE + which * PAGE_BYTES
