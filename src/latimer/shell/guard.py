"""What stands between requests and providers: keys in a session's order, circuit breakers, and slots."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from latimer.errors import Failure
from latimer.policy.breaker import OF_A_KEY, Block, Breakers, Lane, Pass
from latimer.policy.config import Config, Provider
from latimer.policy.fallback import in_short
from latimer.policy.health import Health, ProviderHealth
from latimer.policy.keys import in_order, label
from latimer.policy.routing import Route
from latimer.shell.metrics import Metrics
from latimer.shell.slots import Slots

log = logging.getLogger(__name__)


class Guard:
    """Knows which routes are ready. What the guard `after` which it comes knew still holds."""

    def __init__(self, config: Config, metrics: Metrics, after: Guard | None = None) -> None:
        self._config = config
        self.metrics = metrics
        self._by_key = {
            name: {one.api_key: one for one in provider.by_key()}
            for name, provider in config.providers.items()
            if provider.more_keys
        }
        self.breakers: Breakers = Breakers(config.fallback, after.breakers if after else None)
        self.answered: Counter[str] = after.answered if after else Counter()
        self.failed: Counter[str] = after.failed if after else Counter()
        self.slots: Slots = Slots(config.providers.values(), after.slots if after else None)

    def targets(self, routes: Sequence[Route], session: str) -> Sequence[Route]:
        """The routes, each once for every key that it has, in the order in which a session should try them."""
        if not self._by_key:
            return routes
        return [one for route in routes for one in self._each_key(route, session)]

    def block(self, target: Route) -> Block | None:
        """Why a target should not be asked now."""
        return self.breakers.blocked(Lane.of(target), asyncio.get_running_loop().time())

    def ready(self, target: Route) -> bool:
        """Whether a target would be asked at once."""
        return self.slots.free(target.provider) and self.block(target) is None

    def begin(self, target: Route, *, others: bool = False) -> Trial:
        """A request goes to a target. `others`: whether another route is ready, should this one fail."""
        out = self.breakers.begin(Lane.of(target), asyncio.get_running_loop().time())
        return Trial(self, target, out, others and "refusal" in self._config.fallback.on)

    def health(self) -> Health:
        """How the providers do."""
        return Health(tuple(self._health(provider) for provider in self._config.providers.values()))

    def _each_key(self, route: Route, session: str) -> list[Route]:
        keys = self._by_key.get(route.provider.name)
        if keys is None:
            return [route]
        return [replace(route, provider=keys[key]) for key in in_order(list(keys), session)]

    def _health(self, provider: Provider) -> ProviderHealth:
        labels = {one.api_key: label(one.api_key) for one in provider.by_key() if one.api_key}
        return ProviderHealth(
            name=provider.name,
            keys=tuple(labels.values()),
            in_flight=self.slots.in_flight(provider.name),
            queued=self.slots.queued(provider.name),
            max_concurrent=provider.max_concurrent,
            max_queued=provider.max_queued,
            answered=self.answered[provider.name],
            failed=self.failed[provider.name],
            circuits=self.breakers.health(provider.name, labels, asyncio.get_running_loop().time()),
        )


class Trial:
    """One request to one target, for as long as it takes. What it tells of the target is said once."""

    def __init__(self, guard: Guard, target: Route, out: Pass, catches_refusal: bool) -> None:
        self.catches_refusal = catches_refusal
        """Whether an answer that is nothing but a refusal is a failure."""
        self._guard = guard
        self._target = target
        self._out = out
        self._told = False

    def heard(self) -> None:
        """The answer has begun."""
        self._guard.breakers.heard(self._out)

    def exhausted(self, seconds: float) -> None:
        """The answer's headers say that nothing more is allowed for so long."""
        log.info("%s: its allowance is used up for %.0f s", self._target.name, seconds)
        self._guard.breakers.exhausted(Lane.of(self._target), seconds, asyncio.get_running_loop().time())

    def answered(self) -> None:
        """The answer came to its end."""
        self._told = True
        self._guard.answered[self._target.provider.name] += 1
        self._guard.breakers.succeeded(self._out)

    def failed(self, failure: Failure) -> None:
        """There was no answer, or it broke off."""
        self._told = True
        guard, target = self._guard, self._target
        guard.failed[target.provider.name] += 1
        others = guard.slots.in_flight(target.provider.name)
        if not guard.breakers.failed(self._out, failure, asyncio.get_running_loop().time(), others):
            return
        guard.metrics.circuits_opened[target.name] += 1
        block = guard.block(target)
        if block is not None:
            of_key = target.provider.api_key and block.cause in OF_A_KEY
            which = f" with {label(target.provider.api_key)}" if of_key else ""
            log.warning("%s%s: %s; others come first for %.0f s", target.name, which, in_short(failure), block.seconds)

    def end(self) -> None:
        """Nothing more comes. Where nothing was told, nothing is known."""
        if not self._told:
            self._guard.breakers.released(self._out)
