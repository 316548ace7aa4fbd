"""The routes of a running gateway, with what is known of their upstreams by now; each is resolved once."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import get_args

from msgspec.structs import replace

from latimer.policy.config import Config
from latimer.policy.knowledge import Finding, Knowledge, RouteKey, difference, key_of, overlays
from latimer.policy.lessons import lesson
from latimer.policy.presets import Overlay
from latimer.policy.profiles import resolve
from latimer.policy.routing import Route, routes_for
from latimer.policy.tables import merge
from latimer.profile import Dialect, Profile
from latimer.report import Loss
from latimer.shell.files import NO_FILE
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamError

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the file is asked whether another process has changed it: `latimer forget` is heard within that time."""
MOST_MODELS = 256
"""Model ids whose chain is remembered; clients make them up."""
_DIALECTS: frozenset[Dialect] = frozenset(get_args(Dialect))


class Routes:
    """Which upstreams answer for a model id, and the place where whatever learns of an upstream tells it.

    Without a store, what is learned holds for as long as this process lives; `after` are the routes of the
    configuration before. `chain` may be called in any thread, the rest in the loop's.
    """

    def __init__(self, config: Config, store: Store | None = None, after: Routes | None = None) -> None:
        self._config = config
        self._store = store
        self._kept = store.read() if store else Knowledge()
        """What stands in the file."""
        self.own: Knowledge = after.own if after else Knowledge()
        """What stands in none: what engines tell, and what could not be written."""
        self._pending: tuple[tuple[RouteKey, Finding], ...] = ()
        """What is being written."""
        self._stamp = store.stamp() if store else NO_FILE
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._lock = threading.RLock()
        self._writes: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        """Findings are written in the order in which they came: the later one counts."""
        self.learned: Mapping[str, Overlay] = {}
        """By a route's name, the rules that were learned of it."""
        self._chains: dict[str, list[Route]] = {}
        self._renew()

    def chain(self, model_id: str) -> list[Route]:
        """The route to try first, then its fallbacks. Raises `Rejection` when there is none."""
        if time.monotonic() >= self._look_at:
            self._look()
        chains = self._chains  # another thread may begin a new one, which must not get what was known before
        chain = chains.get(model_id)
        if chain is None:
            chain = routes_for(self._config, model_id, self.learned)
            if len(chains) >= MOST_MODELS:
                chains.clear()
            chains[model_id] = chain
        return chain

    def most_tools(self, model_id: str) -> int:
        """How many tools every route of the chain takes. Raises `Rejection`."""
        return min(route.profile.tools.max_count or sys.maxsize for route in self.chain(model_id))

    def learn(self, route: Route, error: UpstreamError) -> tuple[Route, Loss] | None:
        """The route with what a refusal teaches, and what it says in the report; None when it teaches nothing."""
        taught = _lesson(error, route.profile)
        if taught is None:
            return None
        # Other requests may have learned meanwhile, the same or more.
        known = resolve(route.provider, route.model, self.learned.get(route.name))
        found = self._teaching(route, error, known)
        if found is None:
            changed, why = known, taught[1]
        else:
            finding, changed = found
            self.note(route, finding)
            why = finding.why
            log.info("%s: learned from a %d: %s", route.name, error.status, why)
        if changed == route.profile:
            return None  # the user's own words say otherwise, and they count more
        return replace(route, profile=changed), Loss(error.error.param or "request", "approximated", why)

    def _teaching(self, route: Route, error: UpstreamError, known: Profile) -> tuple[Finding, Profile] | None:
        """What the refusal adds to what is known, and the profile then; None if the user's words leave nothing of it.

        Where they leave the API as it is, there may be a lesson for that one.
        """
        learned = self.learned.get(route.name, {})
        for before in (known, replace(known, endpoint=replace(known.endpoint, missing=_DIALECTS))):
            taught = _lesson(error, before)
            overlay = difference(before, taught[0]) if taught else {}
            changed = resolve(route.provider, route.model, merge(learned, overlay))
            if taught and changed != known:
                return Finding(overlay, taught[1], "refusal", int(time.time())), changed
        return None

    def note(self, route: Route, finding: Finding) -> None:
        """Add what was found of a route's upstream. It counts from the next request on, and is kept unless it is an
        engine's."""
        key = key_of(route.provider, route.model)
        with self._lock:
            if self._store is None or finding.source == "engine":
                self.own = self.own.having(key, finding)
            else:
                self._pending = (*self._pending, (key, finding))
                task = asyncio.create_task(self._keep(self._store, key, finding))
                self._writes.add(task)
                task.add_done_callback(self._writes.discard)
            self._renew()

    async def close(self) -> None:
        """Wait until what was learned is written."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def _keep(self, store: Store, key: RouteKey, finding: Finding) -> None:
        try:
            async with self._writing:
                await asyncio.to_thread(store.change, lambda kept: kept.having(key, finding))
            written = True
        except OSError as error:
            log.warning("what was learned is not kept: %s: %s", store.path, error.strerror)
            written = False
        with self._lock:
            self._pending = tuple(pair for pair in self._pending if pair[1] is not finding)
            if written:
                self._kept = self._kept.having(key, finding)
            else:
                self.own = self.own.having(key, finding)
            self._renew()

    def _look(self) -> None:
        """Take over what other processes learned or forgot, and drop what has expired."""
        with self._lock:
            self._look_at = time.monotonic() + LOOK_SECONDS
            now = time.time()
            own, kept = self.own.alive(now), self._kept.alive(now)
            if self._store is not None and (stamp := self._store.stamp()) != self._stamp:
                self._stamp = stamp
                kept = self._store.read()
            if (own, kept) != (self.own, self._kept):
                self.own, self._kept = own, kept
                self._renew()

    def _renew(self) -> None:
        known = self.own.over(self._kept)
        for key, finding in self._pending:
            known = known.having(key, finding)
        self.learned = overlays(self._config, known)
        self._chains = {}


def _lesson(error: UpstreamError, profile: Profile) -> tuple[Profile, str] | None:
    return lesson(error.status, error.error.message, error.error.param, error.sent, profile)
