"""Laws of chains, whatever fails in whatever order, with a clock that jumps instead of a network.

1. A request is answered if a route of its chain works, unless its provider has just said when it can be asked again.
2. Such a provider is not asked before that time, if it is less than a minute away.
3. A request that is not answered is told of every route, and of the failure that ends soonest.
4. When everything works again and all times are over, the session is back at its first route and its own key.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from latimer.errors import Failure, Rejection
from latimer.policy.breaker import OF_A_KEY
from latimer.policy.config import parse
from latimer.policy.fallback import Cause, cause_of
from latimer.policy.routing import Route
from latimer.report import Loss
from latimer.shell.attempt import Attempts
from latimer.shell.chain import Chain
from latimer.shell.client_stream import Client, WholeClient
from latimer.shell.guard import Guard, Trial
from latimer.shell.hop import Call, Hop
from latimer.shell.metrics import Metrics
from latimer.shell.routes import Routes

FAILURES = [
    Failure("api_error", "x", cause="unreachable"),
    Failure("api_error", "x"),
    Failure("overloaded_error", "x"),
    Failure("overloaded_error", "x", retry_after=7.0),
    Failure("timeout_error", "x"),
    Failure("rate_limit_error", "x"),
    Failure("rate_limit_error", "x", retry_after=5.0),
    Failure("rate_limit_error", "x", retry_after=3000.0, should_retry=False),
    Failure("authentication_error", "x", should_retry=False),
    Failure("billing_error", "x", should_retry=False),
    Failure("permission_error", "x", should_retry=False),
    Failure("conflict_error", "x", should_retry=False),
]
LONG_ENOUGH = 4000.0
"""Seconds: longer than any time that is kept."""
ALL: list[Cause] = ["connection", "rate_limit", "server_error", "overloaded", "timeout", "billing", "authentication"]
ALL += ["permission", "model"]

Place = tuple[str, str]
"""A provider and a key."""


@dataclass
class World:
    """The providers, as they are now; '' is the key of one without keys."""

    troubles: dict[Place, Failure | None] = field(default_factory=dict)
    asked: list[Place] = field(default_factory=list)
    closed_until: dict[Place, float] = field(default_factory=dict)
    """When a provider said that it can be asked again."""
    now: float = 1000.0

    async def make(self, _hop: Hop, route: Route, _client: Client, _taught: list[Loss], trial: Trial) -> Failure | None:
        """What stands for `Attempts.make`."""
        place = route.provider.name, route.provider.api_key
        self.asked.append(place)
        assert self.now >= self.closed_until.get(place, 0.0), f"{place} had said when"
        trouble = self.troubles.get(place)
        if trouble is None:
            trial.heard()
            trial.answered()
            return None
        if trouble.type == "rate_limit_error" and trouble.retry_after and trouble.retry_after <= 60:
            self.closed_until[place] = self.now + trouble.retry_after
        trial.failed(trouble)
        return trouble

    async def sleep(self, seconds: float) -> None:
        """What stands for `asyncio.sleep`."""
        self.now += seconds


PROVIDERS: dict[str, list[str]] = {"p0": ["env:A", "env:B"], "p1": [""], "p2": ["env:C"]}
PLACES: list[Place] = [(name, key) for name, keys in PROVIDERS.items() for key in keys]


def chain_of(world: World, tries: int) -> Chain:
    lines = ["[fallback]", f"on = {json.dumps(ALL)}", "[retry]", f"tries = {tries}"]
    for name, keys in PROVIDERS.items():
        lines += [f"[providers.{name}]", 'base_url = "http://127.0.0.1:9/v1"']
        lines += [f"api_key = {json.dumps(keys)}"] if keys != [""] else []
    routes = json.dumps([f"{name}/m" for name in PROVIDERS])
    config = parse("\n".join([*lines, "[routes]", f"default = {routes}"]), "test.toml")
    metrics = Metrics()
    return Chain(config, Routes(config), cast("Attempts", world), Guard(config, metrics), metrics)


def hop_of(session: str) -> Any:
    """As much of a request as a chain looks at."""

    class Body:
        model = "claude-sonnet-4-5"

    class Asking:
        body = Body()

    Asking.asker = session  # type: ignore[attr-defined]  # set here so that the name is this test's
    return Hop(cast("Call", None), cast("Any", Asking()), cast("Any", None), cast("Any", None), None)


async def told(chain: Chain, session: str) -> Failure | None:
    try:
        await chain.answer(hop_of(session), WholeClient())
    except Rejection as rejection:
        return rejection.failure
    return None


steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(PLACES), st.sampled_from(FAILURES)),
        st.sampled_from([0.0, 1.0, 6.0, 20.0, 700.0]),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(steps, st.integers(1, 3), st.sampled_from(["one", "two", "three"]))
def test_the_laws(those: list[tuple[dict[Place, Failure], float, int]], tries: int, session: str) -> None:
    async def play() -> None:
        world = World()
        loop = asyncio.get_running_loop()
        with patch.object(loop, "time", lambda: world.now), patch("asyncio.sleep", world.sleep):
            chain = chain_of(world, tries)
            await told(chain, session)
            own = world.asked[0]
            for troubles, seconds, times in those:
                world.troubles = as_they_come(troubles)
                for _ in range(times):
                    await one_request(world, chain, session)
                world.now += seconds
            world.troubles = {}
            world.now += LONG_ENOUGH
            world.asked.clear()
            assert await told(chain, session) is None
            assert world.asked == [own]

    asyncio.run(play())


def as_they_come(troubles: dict[Place, Failure]) -> dict[Place, Failure | None]:
    """What is wrong with a server is wrong whatever the key."""
    found: dict[Place, Failure | None] = dict(troubles)
    for (name, _), trouble in troubles.items():
        if cause_of(trouble) not in OF_A_KEY:
            found |= {place: trouble for place in PLACES if place[0] == name}
    return found


async def one_request(world: World, chain: Chain, session: str) -> None:
    free = [p for p in PLACES if p not in world.troubles and world.closed_until.get(p, 0.0) <= world.now]
    failure = await told(chain, session)
    if failure is None:
        return
    assert not free, f"{free} would have answered"
    for name in PROVIDERS:
        assert f"{name}/m" in failure.message
    assert failure.transient or not any(trouble and trouble.transient for trouble in world.troubles.values())
