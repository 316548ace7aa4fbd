"""The chain of a request: which routes are tried for it, how often, and what is learned on the way.

    round: each route once, by each of its keys, first those that are ready -> pause -> the next round

The rules are those of `latimer.policy.fallback`, `retry` and `breaker`; docs/reliability.md tells users of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Sequence

from msgspec.structs import replace

from latimer.errors import Failure, Rejection
from latimer.policy.breaker import OF_A_KEY, Lane
from latimer.policy.config import Config
from latimer.policy.fallback import Cause, Tried, cause_of, most_useful, worth_a_second_try
from latimer.policy.keys import label
from latimer.policy.retry import wait_before_retry
from latimer.policy.routing import Route
from latimer.report import Loss
from latimer.shell.attempt import Attempts
from latimer.shell.client_stream import Client
from latimer.shell.guard import Guard
from latimer.shell.hop import Hop
from latimer.shell.metrics import Metrics
from latimer.shell.routes import Routes
from latimer.shell.slots import Busy
from latimer.shell.upstream import UpstreamError

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""How long after its beginning a request is tried again; after silences of minutes the client is to hear of it."""


class Chain:
    """Has requests answered by the first of their routes that can."""

    def __init__(self, config: Config, routes: Routes, attempts: Attempts, guard: Guard, metrics: Metrics) -> None:
        self._retry = config.retry
        self._on = config.fallback.on
        self._routes = routes
        self._attempts = attempts
        self._guard = guard
        self._metrics = metrics

    async def answer(self, hop: Hop, client: Client) -> None:
        """Have the request answered. Raises `Rejection` if nothing of an answer has reached the client."""
        routes = self._routes.chain(hop.request.body.model)
        story = Story(routes[0].name, self._guard.targets(routes, hop.request.asker))
        now = asyncio.get_running_loop().time
        until = min(hop.until, now() + PATIENCE_SECONDS)
        for number in range(1, self._retry.tries + 1):
            if await self._round(hop, client, story):
                return
            failure = most_useful(list(story.tried.values()))
            pause = self._pause(number, failure)
            late = pause is not None and now() + pause > until
            if pause is None or late or not story.left(self._retry.tries) or story.busy == story.tried.keys():
                break
            log.info("%s: try %d failed with %s, next in %.1f s", story.first, number, failure.type, pause)
            await asyncio.sleep(pause)
        raise Rejection(failure)

    def _pause(self, tries: int, failure: Failure) -> float | None:
        """Seconds until the next try after so many, None where there is none."""
        return wait_before_retry(tries, failure, self._retry, random.random())  # noqa: S311  # jitter

    async def _round(self, hop: Hop, client: Client, story: Story) -> bool:
        """Try every target that is left; whether the client has its answer. Raises `Rejection`."""
        left = story.left(self._retry.tries)
        rejected: Rejection | None = None
        while left:
            target = self._next(left)
            left = [one for one in left if one is not target]
            try:
                failure = await self._try(hop, target, client, story, left)
            except Rejection as rejection:
                if target.name == story.first and not story.tried:
                    raise
                # That this route cannot serve the request says nothing of why another one failed.
                log.info("%s: cannot serve it: %s", target.name, rejection.failure.type)
                rejected = rejection
                left = story.without(target.name, left)
                continue
            if failure is None:
                if target.name != story.first:
                    self._metrics.fallbacks[target.name] += 1
                    log.info("%s: answered instead of %s", target.name, story.first)
                return True
            log.warning("%s: gave up with %s", story.shown(target), failure.type)
            left = self._after(failure, target, left, story)
        if rejected is not None and not story.tried:
            raise rejected
        return False

    def _next(self, left: Sequence[Route]) -> Route:
        """Who is asked next: the first that is ready. Where nobody is, it is asked all the same, a busy one first.

        A route that rests for a cause for which the chain would not go on is not passed over: the user is to see it.
        """
        if len(left) == 1:
            return left[0]
        for name in dict.fromkeys(one.name for one in left):
            keys = [one for one in left if one.name == name]
            if ready := next((one for one in keys if self._guard.ready(one)), None):
                return ready
            blocks = [self._guard.block(one) for one in keys]
            if all(block is not None and block.cause not in self._on for block in blocks):
                return keys[0]
        return min(left, key=lambda one: self._guard.block(one) is not None)

    def _after(self, failure: Failure, target: Route, left: list[Route], story: Story) -> list[Route]:
        """What is left to be tried in this round. Raises `Rejection` for a request that is wrong anywhere."""
        cause = story.note(target, failure)
        if cause is None:
            raise Rejection(failure)
        if cause in OF_A_KEY and any(one.name == target.name for one in left):
            return left  # its next key
        if self._on.isdisjoint(story.causes):
            return []
        return [one for one in left if one.name != target.name]

    async def _try(
        self, hop: Hop, target: Route, client: Client, story: Story, left: Sequence[Route]
    ) -> Failure | None:
        """Ask a target, after a passing trouble twice; None when the client has its answer. Raises `Rejection`."""
        block = self._guard.block(target)
        if block is not None and block.firm:
            again = math.ceil(block.seconds)
            text = f"{target.name}: its provider has said when it can be asked again. That is in {again} s."
            return Failure("rate_limit_error", text, retry_after=block.seconds)
        others = any(one.name != target.name and self._guard.ready(one) for one in left)
        story.busy.discard(Lane.of(target))
        while True:
            try:
                failure = await self._once(hop, target, client, story, others=others)
            except Busy as busy:
                story.busy.add(Lane.of(target))
                return busy.failure
            tries = story.tries[Lane.of(target)]
            goes_on = failure is not None and others and cause_of(failure) in self._on
            if failure is None or not goes_on or not worth_a_second_try(failure, tries):
                return failure
            pause = self._pause(tries, failure)
            if pause is None:
                return failure
            log.info("%s: failed with %s, once more in %.1f s", target.name, failure.type, pause)
            await asyncio.sleep(pause)

    async def _once(self, hop: Hop, target: Route, client: Client, story: Story, *, others: bool) -> Failure | None:
        """Ask a target, and once more where its refusal is a lesson. Raises `Rejection` and `Busy`."""
        tries = story.tries[Lane.of(target)] = story.tries.get(Lane.of(target), 0) + 1
        if tries > 1:
            self._metrics.retries[target.name] += 1
        target, taught = story.as_taught(target)
        while True:
            trial = self._guard.begin(target, others=others)
            try:
                return await self._attempts.make(hop, target, client, taught, trial)
            except UpstreamError as error:
                lesson_learned = None if taught else self._routes.learn(target, error)
                if lesson_learned is None:
                    return error.failure
                story.lessons[target.name] = lesson_learned
                target, taught = story.as_taught(target)
            finally:
                trial.end()


class Story:
    """What has become of a request so far."""

    def __init__(self, first: str, targets: Sequence[Route]) -> None:
        self.first = first
        """The name of the route that should answer."""
        self.targets = list(targets)
        """Those that may still answer."""
        self.tried: dict[Lane, Tried] = {}
        """How the last try of each ended."""
        self.busy: set[Lane] = set()
        """Those that were not asked, for their queue is full."""
        self.causes: set[Cause] = set()
        self.tries: dict[Lane, int] = {}
        self.lessons: dict[str, tuple[Route, Loss]] = {}
        """By the names of routes, how each is asked since a refusal, and what the client is told of it."""
        self._all = targets

    def left(self, tries: int) -> list[Route]:
        """The targets that may answer and were not asked so many times yet."""
        return [one for one in self.targets if self.tries.get(Lane.of(one), 0) < tries]

    def shown(self, target: Route) -> str:
        """The target's name, with its key where its route has several."""
        several = sum(one.name == target.name for one in self._all) > 1
        return f"{target.name} with {label(target.provider.api_key)}" if several else target.name

    def note(self, target: Route, failure: Failure) -> Cause | None:
        """A target did not answer; returns why. One that will not answer later either is left out from now on."""
        self.tried[Lane.of(target)] = Tried(self.shown(target), failure)
        cause = cause_of(failure)
        if cause is not None:
            self.causes.add(cause)
        if not failure.transient:
            self.targets = [one for one in self.targets if Lane.of(one) != Lane.of(target)]
        return cause

    def without(self, name: str, left: list[Route]) -> list[Route]:
        """What is left without a route that cannot serve the request, now and later."""
        self.targets = [one for one in self.targets if one.name != name]
        return [one for one in left if one.name != name]

    def as_taught(self, target: Route) -> tuple[Route, list[Loss]]:
        """The target as it is asked by now, whatever its key, and what the client is told of that."""
        if target.name not in self.lessons:
            return target, []
        taught, loss = self.lessons[target.name]
        return replace(target, profile=taught.profile), [loss]
