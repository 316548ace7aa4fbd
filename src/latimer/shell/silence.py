"""A limit on an upstream's silence, watched by one timer for a whole answer.

A timeout around every read would cost more than reading: it arms and disarms a timer for each token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Silence:
    """Ends the `watched` block with TimeoutError when nothing was `heard` for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._deadline: asyncio.Timeout | None = None
        self._settling = False

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """The block that is ended."""
        timer = self._loop.call_later(self._seconds, self._tick)
        try:
            async with asyncio.timeout(None) as self._deadline:
                yield
        finally:
            self._deadline = None
            timer.cancel()

    def heard(self) -> None:
        """Something came."""
        self._last = self._loop.time()

    def settle(self, seconds: float) -> None:
        """From now on the block may take `seconds` more, whatever comes. Later calls change nothing."""
        if not self._settling and self._deadline is not None:
            self._settling = True
            self._deadline.reschedule(self._loop.time() + seconds)

    def _tick(self) -> None:
        if self._deadline is None or self._settling:
            return
        rest = self._last + self._seconds - self._loop.time()
        if rest <= 0:
            self._deadline.reschedule(self._loop.time())
        else:
            self._loop.call_later(rest, self._tick)
