"""Circuit breakers: what has failed is left alone for a while, then one request finds out whether it works again.

    closed --failures in a row, or a refusal that names a time--> open --time is over--> half-open
    half-open --lets exactly one request through--> closed, or open for twice as long

In a row means: with no answer between them, whenever that was asked for. Answers that break off while many others
come are in a row only when they are a good part of these.

A request passes up to four circuits: its provider's (no connection), its key's (refused, no balance), its model's
(server errors, overload, no answer in time) and that of its key and model together (rate limits). Times are seconds of
a clock that never goes back, and come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from latimer.dialects.errors.failures import CLIENT_WAIT
from latimer.errors import Failure
from latimer.policy.fallback import SAID, Cause, FallbackRules, cause_of
from latimer.policy.health import CircuitHealth, CircuitState
from latimer.policy.routing import Route

LONGEST_NAMED_WAIT = 3600.0
"""Seconds: a provider that asks for more is asked again after this. An account may have been topped up."""
MOST_CIRCUITS = 1024
"""Circuits that are remembered; clients make up the names of models."""

Scope = Literal["provider", "key", "model", "lane"]
_SCOPES: dict[Cause, Scope] = {
    "connection": "provider",
    "authentication": "key",
    "billing": "key",
    "server_error": "model",
    "overloaded": "model",
    "timeout": "model",
    "rate_limit": "lane",
    "permission": "lane",
    "model": "lane",
}
_SHOWN_WELL: dict[Scope, tuple[Scope, ...]] = {
    "provider": (),
    "key": ("provider",),
    "model": ("provider",),
    "lane": ("provider", "key"),
}
"""A server that refuses was reached, and one that counts a key's requests knows the key."""
_LASTING: frozenset[Cause] = frozenset({"authentication", "billing", "permission", "model"})
"""Causes that one failure proves, and that somebody has to mend."""
OF_A_KEY: frozenset[Cause] = _LASTING | {"rate_limit"}
"""Causes where another key of the same provider may do better."""
MANY = 4
"""One in so many answers has to break off before that tells something of the others."""


class Lane(Struct, frozen=True):
    """What a request passes: a provider, the reference of its key ('' for none), and the provider's name of a model."""

    provider: str
    key: str
    model: str

    @classmethod
    def of(cls, target: Route) -> Lane:
        """That of a route with one of its keys."""
        return cls(target.provider.name, target.provider.api_key, target.model)


_Key = tuple[str, str, str]


class Block(Struct, frozen=True):
    """Why a lane should not be asked now, and for how many seconds. A `firm` one was told so by the provider itself."""

    cause: Cause
    seconds: float
    firm: bool


class _Circuit(Struct):
    """`until` is None while it is closed. `named`: the provider said how long. `probing`: the one request is out."""

    cause: Cause = "server_error"
    failures: int = 0
    failed_at: float = 0.0
    until: float | None = None
    cooldown: float = 0.0
    named: bool = False
    probing: bool = False
    broke_off: bool = False
    """Whether its newest failure was of an answer that had begun: that others begin says nothing of it."""

    def state(self, now: float) -> CircuitState:
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half-open"

    def passes(self, now: float) -> bool:
        """Whether a request may go: always while closed, one at a time while half-open."""
        state = self.state(now)
        return state == "closed" or (state == "half-open" and not self.probing)


class Pass:
    """A request that is out. It has to be ended exactly once, by `Breakers.succeeded`, `failed` or `released`."""

    def __init__(self, lane: Lane, began: float, probes: list[_Circuit]) -> None:
        self.lane = lane
        self.began = began
        self.probes = probes
        self.heard = False
        """Whether its answer has begun."""


class Breakers:
    """The circuits of all providers. One that has nothing to tell is not kept: a healthy lane costs a look-up."""

    def __init__(self, rules: FallbackRules, after: Breakers | None = None) -> None:
        self._rules = rules
        self.circuits: dict[_Key, _Circuit] = after.circuits if after else {}
        """Those of the breakers `after` which these come, too: a new configuration cures no provider."""

    def blocked(self, lane: Lane, now: float) -> Block | None:
        """Why the lane should not be asked now: a firm block, or the one that lasts longest; None if it may be."""
        if not self.circuits:
            return None
        blocks = [
            Block(circuit.cause, max(0.0, (circuit.until or now) - now), _is_firm(circuit, now))
            for circuit in self._of(lane)
            if not circuit.passes(now)
        ]
        return max(blocks, key=lambda block: (block.firm, block.seconds), default=None)

    def begin(self, lane: Lane, now: float) -> Pass:
        """A request goes out. Where a circuit is half-open and nobody is finding out, this one does."""
        probes = [c for c in self._of(lane) if c.state(now) == "half-open" and not c.probing] if self.circuits else []
        for circuit in probes:
            circuit.probing = True
        return Pass(lane, now, probes)

    def heard(self, out: Pass) -> None:
        """An answer has begun: the circuits that the request was to try are closed. Its end is still to come."""
        out.heard = True
        if out.probes:
            self._close(out, self._keys(out.lane))
            self._give_back(out)
        elif self.circuits:
            self._forget_counts(out.lane, begun=True)

    def succeeded(self, out: Pass) -> None:
        """The request was answered, or refused for what it is: nothing is wrong with its lane."""
        if self.circuits:
            self._close(out, self._keys(out.lane))
            self._forget_counts(out.lane)
            self._give_back(out)

    def failed(self, out: Pass, failure: Failure, now: float, others: int = 0) -> bool:
        """The request failed; returns whether this opened a circuit that was closed. `others`: how many requests its
        provider is at.
        """
        cause = cause_of(failure)
        scope = _SCOPES.get(cause) if cause else None
        if cause is None or scope is None:
            self.succeeded(out)
            return False
        keys = self._keys(out.lane)
        circuit = self._circuit(keys[scope])
        was_closed = circuit.until is None
        circuit.failures += 1
        circuit.broke_off = out.heard
        enough = max(self._rules.open_after, others // MANY if out.heard else 0)
        if not was_closed or failure.retry_after is not None or cause in OF_A_KEY or circuit.failures >= enough:
            self._open(circuit, cause, failure.retry_after, now, probed=any(circuit is each for each in out.probes))
        circuit.cause, circuit.failed_at = cause, now
        self._close(out, {known: keys[known] for known in _SHOWN_WELL[scope]})
        self._give_back(out)
        return was_closed and circuit.until is not None

    def released(self, out: Pass) -> None:
        """The request ended without telling anything, such as when its client went away."""
        self._give_back(out)

    def exhausted(self, lane: Lane, seconds: float, now: float) -> None:
        """An answer's headers say that the allowance of its key and model is used up for so long."""
        circuit = self._circuit(self._keys(lane)["lane"])
        circuit.cause, circuit.failed_at, circuit.cooldown = "rate_limit", now, self._rules.cooldown_seconds
        until = now + min(seconds, LONGEST_NAMED_WAIT)
        if circuit.until is None or until > circuit.until:
            circuit.until, circuit.named = until, False

    def health(self, provider: str, shown: dict[str, str], now: float) -> tuple[CircuitHealth, ...]:
        """The circuits of a provider that have something to tell. `shown` has each key's label by its reference."""
        return tuple(
            CircuitHealth(
                key=shown.get(key, ""),
                model=model,
                state=circuit.state(now),
                reason=SAID[circuit.cause],
                seconds_left=max(0.0, (circuit.until or now) - now),
                failures=circuit.failures,
            )
            for (name, key, model), circuit in self.circuits.items()
            if name == provider
        )

    def _open(self, circuit: _Circuit, cause: Cause, wait: float | None, now: float, *, probed: bool) -> None:
        """Open it, or keep it open."""
        if (cause in _LASTING) != (circuit.cause in _LASTING):
            circuit.until = None  # what had to be mended is, or what passes has: its time says nothing any more
        rules = self._rules
        if circuit.until is None:
            circuit.cooldown = rules.max_cooldown_seconds if cause in _LASTING else rules.cooldown_seconds
        elif probed:
            circuit.cooldown = min(rules.max_cooldown_seconds, circuit.cooldown * 2)
        until = now + (circuit.cooldown if wait is None else min(wait, LONGEST_NAMED_WAIT))
        if wait is not None or circuit.until is None or until > circuit.until:  # the provider's newest word counts
            circuit.until, circuit.named = until, wait is not None

    def _close(self, out: Pass, keys: dict[Scope, _Key]) -> None:
        """What failed after the request had begun stays as it is: its answer says nothing of that."""
        for key in keys.values():
            circuit = self.circuits.get(key)
            if circuit is not None and circuit.failed_at <= out.began:
                del self.circuits[key]

    def _forget_counts(self, lane: Lane, *, begun: bool = False) -> None:
        """An answer came between failures, so those before it do not count: of an answer that has only `begun`, those
        of answers that did not begin. An open circuit is left to who is to try it.
        """
        for key in self._keys(lane).values():
            circuit = self.circuits.get(key)
            if circuit is not None and circuit.until is None and not (begun and circuit.broke_off):
                del self.circuits[key]

    def _give_back(self, out: Pass) -> None:
        for circuit in out.probes:
            circuit.probing = False
        out.probes = []

    def _of(self, lane: Lane) -> Iterable[_Circuit]:
        return [circuit for key in self._keys(lane).values() if (circuit := self.circuits.get(key))]

    def _circuit(self, key: _Key) -> _Circuit:
        circuit = self.circuits.get(key)
        if circuit is None:
            if len(self.circuits) >= MOST_CIRCUITS:
                del self.circuits[next(iter(self.circuits))]
            circuit = self.circuits[key] = _Circuit()
        return circuit

    @staticmethod
    def _keys(lane: Lane) -> dict[Scope, _Key]:
        key = lane.key or "-"
        return {
            "provider": (lane.provider, "", ""),
            "key": (lane.provider, key, ""),
            "model": (lane.provider, "", lane.model),
            "lane": (lane.provider, key, lane.model),
        }


def _is_firm(circuit: _Circuit, now: float) -> bool:
    """Whether asking now is known to be in vain, and the client can sit it out."""
    left = (circuit.until or now) - now
    return circuit.named and circuit.cause == "rate_limit" and 0 < left <= CLIENT_WAIT
