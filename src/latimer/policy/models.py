"""What is known of models: windows, limits, prices, abilities.

`facts` reads models.json beside this module, which tools/refresh_models.py makes; `latimer.policy.model_lists` reads
what a server says of its own models. `overlay` turns either into fields of a Profile; docs/models.md has the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from latimer.events import Usage
from latimer.policy.presets import Overlay
from latimer.profile import Price, PriceRules

_MILLION = 1_000_000
_UNPRICED = PriceRules()
_WINDOW = re.compile(r"\[(\d+)([km])\]$", re.IGNORECASE)
_GLOB = re.compile(r"[*?[]")
_UNDATED = re.compile(r"-(?:latest|20\d\d(-?)[01]\d\1[0-3]\d|2\d[01]\d[0-3]\d)$")
"""A suffix that names no other model: `-latest`, or the whole date of a release. Four digits are no date: they may
tell generations with different windows apart."""


class ModelFacts(Struct, frozen=True, omit_defaults=True):
    """One model as one provider serves it. What is unknown is 0 or None."""

    context_window: int = 0
    """Tokens of prompt and answer together; where a provider limits the prompt alone, that smaller number."""
    max_output: int = 0
    """Tokens of answer; 0 also where only the window limits it."""
    prices: PriceRules = _UNPRICED
    images: bool | None = None
    pdf: bool | None = None
    reasoning: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None


class _File(Struct):
    presets: dict[str, dict[str, ModelFacts]]


def facts(preset: str, model: str) -> ModelFacts | None:
    """What the data file says of a model of the provider that a preset describes, None when nothing.

    The id itself is looked up, then the id without a vendor's prefix, a variant (`:free`), an `@…`, a whole date or
    `-latest`; case does not matter, nor `[1m]`. A variant may cost something else, so it has no prices of its base's.
    """
    table = _table(preset) if preset else {}
    for name, is_variant in _names(model) if table else ():
        found = table.get(name)
        if found is not None:
            return replace(found, prices=_UNPRICED) if is_variant else found
    return None


def overlay(known: ModelFacts | None) -> Overlay:
    """The fields of a Profile that facts decide."""
    if known is None:
        return {}
    request = {"context_window": known.context_window, "max_output": known.max_output}
    sections = {
        "request": {name: tokens for name, tokens in request.items() if tokens},
        "media": {} if known.images is None else {"images": known.images},
        "prices": {name: price for name, price in msgspec.to_builtins(known.prices).items() if price not in (None, ())},
    }
    return {name: rules for name, rules in sections.items() if rules}


def stated_window(model: str) -> int:
    """The tokens that `[1m]` or `[200k]` at the end of an id stands for, 0 without one."""
    stated = _WINDOW.search(model.strip())
    return int(stated[1]) * (_MILLION if stated[2] in "mM" else 1000) if stated else 0


def with_stated_windows(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a configuration file with `provider/model[1m]` in routes split into the model and a rule for it.

    The user's own rules for that model come later, so they count more.
    """
    providers = dict(tables.get("providers", {}))

    def plain(target: str) -> str:
        name, _, model = target.strip().partition("/")
        window = stated_window(model)
        if not window or name not in providers:
            return target
        model = _WINDOW.sub("", model)
        rule = {"match": _GLOB.sub(r"[\g<0>]", model), "request": {"context_window": window}}
        providers[name] = {**providers[name], "models": [rule, *providers[name].get("models", [])]}
        return f"{name}/{model}"

    routes = {
        key: plain(value) if isinstance(value, str) else [plain(target) for target in value]
        for key, value in tables.get("routes", {}).items()
    }
    return {**tables, "providers": providers, "routes": routes}


def cost(usage: Usage, prices: PriceRules) -> float | None:
    """US dollars at list prices, None when the price of input or output is unknown.

    Where caching has no price of its own, cached tokens cost what other input costs. In a tier, the whole exchange
    costs the tier's prices.
    """
    reached = [tier for tier in prices.tiers if usage.input_tokens > tier.above]
    price: Price = max(reached, key=lambda tier: tier.above) if reached else prices
    if price.input is None or price.output is None:
        return None
    plain = max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
    parts = (
        (plain, price.input),
        (usage.cache_read_tokens, price.input if price.cache_read is None else price.cache_read),
        (usage.cache_write_tokens, price.input if price.cache_write is None else price.cache_write),
        (usage.output_tokens, price.output),
    )
    return sum(tokens * dollars for tokens, dollars in parts) / _MILLION


def facts_in(models: Mapping[str, ModelFacts], model: str) -> ModelFacts | None:
    """A model's own entry of `read_models`; a server with one model may know it by another name, or by none."""
    return models.get(model) or (next(iter(models.values())) if len(models) == 1 else None)


def both(one: ModelFacts | None, other: ModelFacts | None) -> ModelFacts | None:
    """What two answers of one server say together: the smaller window, and else what the first of them tells."""
    if one is None or other is None:
        return other if one is None else one
    windows = [window for window in (one.context_window, other.context_window) if window]
    told = {name: value for name, value in asdict(one).items() if value is False or value not in (None, 0, _UNPRICED)}
    return replace(other, **told | {"context_window": min(windows, default=0)})


@cache
def _table(preset: str) -> Mapping[str, ModelFacts]:
    return {model.lower(): known for model, known in _file().presets.get(preset, {}).items()}


@cache
def _file() -> _File:
    """Read when first asked, in about half a millisecond."""
    return msgspec.json.decode(files(__package__).joinpath("models.json").read_bytes(), type=_File)


def _names(model: str) -> Iterator[tuple[str, bool]]:
    """The names a model may stand under, the most exact first, and whether it is a variant of that one."""
    whole = _WINDOW.sub("", model.strip().lower())
    base = whole.partition(":")[0]
    unversioned = base.partition("@")[0]
    for name in (whole, base, unversioned, _UNDATED.sub("", unversioned)):
        is_variant = whole not in (base, name)
        yield name, is_variant
        yield name.rpartition("/")[2], is_variant
