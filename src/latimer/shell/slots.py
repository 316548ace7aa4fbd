"""How many requests a provider is asked at once, and the queue before it. The numbers hold for this process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from msgspec import Struct

from latimer.errors import Failure, LatimerError
from latimer.policy.config import Provider
from latimer.policy.fair_queue import FairQueue

FIRST_GUESS_SECONDS = 5.0
"""How long a request takes, before one has ended."""
LONGEST_SECONDS = 60.0
"""No client is told to stay away for longer: Claude Code would give up."""


class Busy(LatimerError):
    """A provider's queue is full, or the wait in it took too long. The provider was not asked."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Line:
    """A provider with a limit. `pace` is the mean of how long a request takes, in seconds."""

    def __init__(self, provider: Provider) -> None:
        self.limits = provider.max_concurrent, provider.max_queued
        self.queue: FairQueue[asyncio.Future[None]] = FairQueue(*self.limits)
        self.pace = FIRST_GUESS_SECONDS


def _line(provider: Provider, before: _Line | None) -> _Line:
    """The one from before a reload, if its limits are the same; else requests that are out do not count in it."""
    limits = provider.max_concurrent, provider.max_queued
    return before if before and before.limits == limits else _Line(provider)


class Slot(Struct, frozen=True):
    """Leave to ask a provider, since a moment of the loop's clock. `line` is there if the provider has a limit."""

    provider: str
    since: float
    line: _Line | None


class Slots:
    """Leaves to ask providers. A provider without a limit is only counted. Those `after` which it comes still hold."""

    def __init__(self, providers: Iterable[Provider], after: Slots | None = None) -> None:
        known: dict[str, _Line] = after.lines if after else {}
        self.lines: dict[str, _Line] = {
            one.name: _line(one, known.get(one.name)) for one in providers if one.max_concurrent
        }
        self.flying: dict[str, int] = after.flying if after else {}

    def free(self, provider: Provider) -> bool:
        """Whether a request would not wait."""
        line = self.lines.get(provider.name)
        return line is None or line.queue.free

    def in_flight(self, provider: str) -> int:
        """Requests that are out."""
        return self.flying.get(provider, 0)

    def queued(self, provider: str) -> int:
        """Requests that wait."""
        line = self.lines.get(provider)
        return line.queue.waiting if line else 0

    async def take(self, provider: Provider, session: str, until: float) -> Slot:
        """Leave to ask, which has to be given back. Waits for its turn, at most until a moment of the loop's clock.

        Raises `Busy`.
        """
        line = self.lines.get(provider.name)
        loop = asyncio.get_running_loop()
        if line is not None:
            turn: asyncio.Future[None] = loop.create_future()
            match line.queue.enter(session, turn):
                case "full":
                    raise _full(provider, line)
                case "waits":
                    await self._wait(provider, line, session, turn, until)
                case "in":
                    pass
        self.flying[provider.name] = self.flying.get(provider.name, 0) + 1
        return Slot(provider.name, loop.time(), line)

    def give_back(self, slot: Slot) -> None:
        """The provider's answer has ended."""
        self.flying[slot.provider] -= 1
        line = slot.line
        if line is not None:
            line.pace += (asyncio.get_running_loop().time() - slot.since - line.pace) / 8
            _call_next(line.queue)

    async def _wait(
        self, provider: Provider, line: _Line, session: str, turn: asyncio.Future[None], until: float
    ) -> None:
        try:
            async with asyncio.timeout_at(None if math.isinf(until) else until):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                _call_next(line.queue)  # its turn came as it gave up
            else:
                line.queue.leave(session, turn)
            if isinstance(error, TimeoutError):
                raise _full(provider, line) from None
            raise


def _call_next(queue: FairQueue[asyncio.Future[None]]) -> None:
    """Whoever is next has the place, unless it has gone and only not yet left the queue."""
    while (turn := queue.give_back()) is not None:
        if not turn.done():
            turn.set_result(None)
            return


def _full(provider: Provider, line: _Line) -> Busy:
    queue = line.queue
    wait = min(LONGEST_SECONDS, max(1.0, line.pace * (queue.waiting + 1) / provider.max_concurrent))
    waiting = f"{queue.waiting} of at most {provider.max_queued} requests wait"
    return Busy(
        Failure(
            "overloaded_error",
            f"{provider.name}: Latimer asks it {provider.max_concurrent} requests at once, and {waiting}. Try again in"
            f" {math.ceil(wait)} s, run fewer agents, or raise max_concurrent or max_queued under"
            f" [providers.{provider.name}].",
            retry_after=wait,
        )
    )
