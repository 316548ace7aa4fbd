"""Which provider and model answer for the model id that a client asks for.

An id is looked up in this order, the first that is found wins:

1. a key of `[routes]` that is the id itself
2. an id of Latimer's own for the picker, `claude-via-provider/model`: that model with the fallbacks it has in a route
3. `provider/model` of any configured provider, with no fallback
4. a glob that names the id's tier (`claude-opus-4*`), the one with the most letters first
5. the tier (`opus`, `sonnet`, `haiku`, `fable`) whose word stands in the id
6. any other glob, the one with the most letters first
7. `default`
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property

from msgspec import Struct

from latimer.errors import invalid
from latimer.policy.config import Config, Provider
from latimer.policy.presets import Overlay
from latimer.policy.profiles import resolve
from latimer.profile import Profile

TIERS = ("opus", "sonnet", "haiku", "fable")

_PICKER_ID = re.compile(rf"claude-(?:({'|'.join(TIERS)})-)?via-(.+)", re.DOTALL)
_WINDOW_SUFFIX = re.compile(r"\[\d+[km]\]$", re.IGNORECASE)
_WILDCARD = re.compile(r"\[[^]]*\]|[*?]")
_NOTHING: Mapping[str, Overlay] = {}


class Route(Struct, frozen=True, dict=True):
    """One upstream model and its rules."""

    provider: Provider
    model: str
    profile: Profile

    @cached_property
    def name(self) -> str:
        """`provider/model`, as users write it and as `latimer-route` shows it."""
        return f"{self.provider.name}/{self.model}"


def routes_for(config: Config, model_id: str, learned: Mapping[str, Overlay] = _NOTHING) -> list[Route]:
    """The chain that answers for a model id: the route to try first, then its fallbacks. Never empty.

    `learned` holds, by a route's name, the rules that its upstream's own words led to. Raises Rejection when no
    route fits.
    """
    asked = _WINDOW_SUFFIX.sub("", model_id.strip())
    chain = _chain(config, asked)
    if chain is None:
        known = ", ".join([*config.routes, *(f"{name}/MODEL" for name in config.providers)])
        # Not a 404: Claude Code hides the text of one behind "There's an issue with the selected model".
        raise invalid(
            f"no route for the model {model_id!r}. Known: {known}. "
            f'Add {asked!r} or "default" to [routes] of the configuration ({config.source})'
        )
    return [_route(config, name, learned) for name in chain]


def route_names(config: Config) -> list[str]:
    """Every `provider/model` of the routes, each once, in the order of the file."""
    return list(dict.fromkeys(name for chain in config.routes.values() for name in chain))


def tier_route(config: Config, tier: str, learned: Mapping[str, Overlay] = _NOTHING) -> Route | None:
    """The first route of a tier's chain; None when it has none."""
    chain = _chain(config, tier)
    return _route(config, chain[0], learned) if chain else None


def picker_id(route_name: str) -> str:
    """The id of a route that Claude Code's `/model` takes: it must hold `claude` or `anthropic`."""
    return f"claude-via-{route_name}"


def tier_id(config: Config, tier: str) -> str:
    """The id that stands for a tier's chain and shows which model it is; '' when the tier has no route."""
    chain = _chain(config, tier)
    if chain is None:
        return ""
    plain = picker_id(chain[0])
    return plain if _chain(config, plain) == chain else f"claude-{tier}-via-{chain[0]}"


def _chain(config: Config, asked: str) -> tuple[str, ...] | None:
    if asked in config.routes:
        return config.routes[asked]
    own = _PICKER_ID.fullmatch(asked)
    if own and own[1]:
        return _chain(config, own[1])
    name = own[2] if own else asked
    provider, _, model = name.partition("/")
    if model and provider in config.providers:
        beginning = (chain for chain in config.routes.values() if own and chain[0] == name)
        return next(beginning, (name,))
    return _by_pattern(config, asked)


def _by_pattern(config: Config, asked: str) -> tuple[str, ...] | None:
    lowered = asked.lower()
    tier = next((tier for tier in TIERS if tier in lowered), "")
    globs = sorted((key for key in config.routes if _WILDCARD.search(key)), key=_letters, reverse=True)
    fitting = [key for key in globs if fnmatchcase(lowered, key.lower())]
    of_tier = [key for key in fitting if tier and tier in key.lower()]
    for key in (*of_tier, tier, *fitting, "default"):
        if key in config.routes:
            return config.routes[key]
    return None


def _letters(glob: str) -> int:
    return len(_WILDCARD.sub("", glob))


def _route(config: Config, name: str, learned: Mapping[str, Overlay]) -> Route:
    provider_name, _, model = name.partition("/")
    provider = config.providers[provider_name]
    return Route(provider, model, resolve(provider, model, learned.get(name)))
