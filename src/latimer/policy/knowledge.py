"""What is known of upstreams beyond the configuration: findings, how they lie on each other, and when they end.

    refusal, probe or engine -> Finding (some fields of a Profile, and why) -> Knowledge -> overlay for `resolve`

A finding holds Latimer's own words and rules only: nothing of a request, and nothing that an upstream said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from latimer.policy.config import Config, Provider
from latimer.policy.presets import Overlay
from latimer.policy.tables import merge
from latimer.profile import Profile

Source = Literal["refusal", "probe", "engine"]

_DAY = 24 * 60 * 60
LIFETIMES: Mapping[Source, int] = {"refusal": 30 * _DAY, "probe": 30 * _DAY, "engine": _DAY}
"""Seconds that a finding holds. Providers lift restrictions, so even a refusal is tried again after a month. What an
engine tells is as old as its last start, and is asked anew by every process: it is never kept in the file."""
MOST_ROUTES = 256
"""Clients make model ids up; beyond this number, the routes that learned least recently are let go."""
MOST_FINDINGS = 32
"""Findings of one route."""
FORMAT = 1
"""The version of the JSON that `encode` writes."""

_DEFAULTS: Overlay = msgspec.to_builtins(Profile(), order="deterministic")


class RouteKey(Struct, frozen=True, order=True):
    """One model of one upstream. The URL stands in it because a provider's name may come to mean another upstream."""

    provider: str
    base_url: str
    model: str

    @property
    def name(self) -> str:
        """`provider/model`, as users write it."""
        return f"{self.provider}/{self.model}"


def key_of(provider: Provider, model: str) -> RouteKey:
    """The key of a provider's model."""
    return RouteKey(provider.name, provider.base_url, model)


class Finding(Struct, frozen=True):
    """One thing learned of a route. `why` is shown to users; `learned_at` is in seconds since 1970."""

    overlay: Overlay
    why: str
    source: Source
    learned_at: int

    @property
    def expires_at(self) -> int:
        """When it ends, in seconds since 1970."""
        return self.learned_at + LIFETIMES[self.source]

    @property
    def fields(self) -> list[str]:
        """What it sets, as `section.field`, sorted."""
        return sorted(f"{section}.{name}" for section, rules in self.overlay.items() for name in rules)


Findings = tuple[Finding, ...]
_NOTHING: Mapping[RouteKey, Findings] = {}


class Knowledge(Struct, frozen=True):
    """The findings of each route, oldest first."""

    routes: Mapping[RouteKey, Findings] = _NOTHING

    def overlay(self, key: RouteKey) -> Overlay:
        """The rules that a route's findings make together; where two set one field, the later one counts."""
        return merge(*(finding.overlay for finding in self.routes.get(key, ())))

    def having(self, key: RouteKey, finding: Finding) -> Knowledge:
        """With one more finding, without what it contradicts or says again."""
        older = (_without(known, finding.overlay) for known in self.routes.get(key, ()))
        findings = (*(known for known in older if known.overlay), finding)
        others = {known: found for known, found in self.routes.items() if known != key}
        return Knowledge(_newest({**others, key: findings[-MOST_FINDINGS:]}))

    def alive(self, now: float) -> Knowledge:
        """Without what has expired; the same object where nothing has."""
        if all(finding.expires_at > now for found in self.routes.values() for finding in found):
            return self
        return self._filtered(lambda _, finding: finding.expires_at > now)

    def forgetting(self, name: str = "") -> Knowledge:
        """Without what is known of a route (`provider/model`) or of a provider's routes; of all with ''."""
        return self._filtered(lambda key, _: bool(name) and name not in (key.name, key.provider))

    def over(self, below: Knowledge) -> Knowledge:
        """The findings of both; these lie on top."""
        together = below
        for key, found in self.routes.items():
            for finding in found:
                together = together.having(key, finding)
        return together

    def _filtered(self, keep: Callable[[RouteKey, Finding], bool]) -> Knowledge:
        kept = {key: tuple(one for one in found if keep(key, one)) for key, found in self.routes.items()}
        return Knowledge({key: found for key, found in kept.items() if found})


def difference(before: Profile, after: Profile) -> Overlay:
    """The fields of `after` that are not those of `before`: laid over `before`, they make `after`.

    An overlay cannot take a key out of a table, so `after` must have every key that `before` has in `efforts` and
    `extra_body`.
    """
    old, new = (msgspec.to_builtins(profile, order="deterministic") for profile in (before, after))
    changed = {
        section: {name: value for name, value in rules.items() if value != old[section][name]}
        for section, rules in new.items()
    }
    return {section: rules for section, rules in changed.items() if rules}


def overlays(config: Config, knowledge: Knowledge) -> dict[str, Overlay]:
    """By a route's name, what is known of it: of the upstreams that this configuration means."""
    return {
        key.name: knowledge.overlay(key)
        for key in knowledge.routes
        if key.provider in config.providers and config.providers[key.provider].base_url == key.base_url
    }


# --- as JSON ---


class _Entry(Struct):
    provider: str
    base_url: str
    model: str
    findings: list[Finding] = field(default_factory=list)


class _File(Struct):
    version: int
    routes: list[_Entry] = field(default_factory=list)


def encode(knowledge: Knowledge) -> bytes:
    """As JSON, for people to read too."""
    entries = [
        _Entry(key.provider, key.base_url, key.model, list(found)) for key, found in sorted(knowledge.routes.items())
    ]
    return msgspec.json.format(msgspec.json.encode(_File(FORMAT, entries)), indent=2) + b"\n"


def decode(text: bytes) -> Knowledge:
    """What `encode` wrote. Rules that this version does not have are left out.

    Raises ValueError for anything else, also for the format of a later version.
    """
    try:
        file = msgspec.json.decode(text, type=_File)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    if file.version != FORMAT:
        raise ValueError(f"format {file.version}, where this version of Latimer reads {FORMAT}")
    found = {
        RouteKey(entry.provider, entry.base_url, entry.model): tuple(filter(_fits, entry.findings))
        for entry in file.routes
    }
    return Knowledge(_newest({key: findings for key, findings in found.items() if findings}))


def _fits(finding: Finding) -> bool:
    try:
        msgspec.convert(merge(_DEFAULTS, finding.overlay), Profile)
    except msgspec.ValidationError:
        return False
    return bool(finding.overlay)


# --- one finding over another ---


def _without(older: Finding, newer: Overlay) -> Finding:
    """What is left of a finding under a newer one."""
    kept = {
        section: {name: value for name, value in rules.items() if not _replaced(value, newer.get(section, {}), name)}
        for section, rules in older.overlay.items()
    }
    return replace(older, overlay={section: rules for section, rules in kept.items() if rules})


def _replaced(value: Any, newer: Mapping[str, Any], name: str) -> bool:
    """Whether the newer rules take a value's place. A list that only grew leaves it, and so its reason, standing."""
    if name not in newer:
        return False
    grew = isinstance(value, list) and isinstance(newer[name], list) and len(value) < len(newer[name])
    return not (grew and all(item in newer[name] for item in value))


def _newest(routes: Mapping[RouteKey, Findings]) -> Mapping[RouteKey, Findings]:
    if len(routes) <= MOST_ROUTES:
        return routes
    by_age: Iterable[RouteKey] = sorted(routes, key=lambda key: routes[key][-1].learned_at)
    kept = set(list(by_age)[-MOST_ROUTES:])
    return {key: found for key, found in routes.items() if key in kept}
