"""A limit on an upstream's silence, watched by one timer for a whole answer.

A timeout around every read would cost more than reading: it arms and disarms a timer for each token.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType


class Silence:
    """Ends the `watched` block with TimeoutError when it has been listening for `seconds` and nothing came.

    With `first_seconds` it ends as well when nothing of the answer was `begun` within them, whatever came: servers keep
    connections open with comments. `why` then says what it was.
    """

    __slots__ = (
        "_deadline",
        "_first_by",
        "_first_seconds",
        "_loop",
        "_seconds",
        "_settling",
        "_since",
        "_timer",
        "why",
    )

    def __init__(self, seconds: float, first_seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._first_seconds = first_seconds
        self._first_by = math.inf
        self.why = ""
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._deadline: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settling = False

    def watched(self) -> Silence:
        """The block that is ended."""
        return self

    async def __aenter__(self) -> None:
        self._since = self._loop.time()
        self._first_by = self._since + self._first_seconds
        self._timer = self._loop.call_later(min(self._seconds, self._first_seconds), self._tick)
        self._deadline = asyncio.timeout(None)
        await self._deadline.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline, self._deadline = self._deadline, None
        if self._timer is not None:
            self._timer.cancel()
        if deadline is not None:
            await deadline.__aexit__(kind, error, trace)

    def listen(self) -> None:
        """From now on the upstream is waited for."""
        self._since = self._loop.time()

    def heard(self) -> None:
        """Something came. Until `listen` is called again, the time is not the upstream's: the client may be slow."""
        self._since = math.inf

    def begun(self) -> None:
        """The answer has begun; from now on only silence counts."""
        self._first_by = math.inf

    def settle(self, seconds: float) -> None:
        """From now on the block may take `seconds` more, whatever comes. Later calls change nothing."""
        if not self._settling and self._deadline is not None:
            self._settling = True
            self._deadline.reschedule(self._loop.time() + seconds)

    def _tick(self) -> None:
        if self._deadline is None or self._settling:
            return
        now = self._loop.time()
        rest = min(self._since + self._seconds - now, self._first_by - now, self._seconds)
        if rest <= 0:
            began_late = self._first_by <= now
            self.why = (
                f"nothing of the answer came for {self._first_seconds:g} s (first_token_timeout_seconds)"
                if began_late
                else f"nothing came for {self._seconds:g} s"
            )
            self._deadline.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(rest, self._tick)
