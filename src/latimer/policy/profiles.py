"""Which rules hold for one model of one provider."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from latimer.policy.config import Provider
from latimer.policy.models import facts, overlay
from latimer.policy.presets import ModelRules, Overlay, presets
from latimer.policy.tables import merge
from latimer.profile import Profile

_DEFAULTS: Overlay = msgspec.to_builtins(Profile())
_CHAT: Overlay = {"endpoint": {"dialect": "chat"}}


def resolve(provider: Provider, model: str, learned: Overlay | None = None) -> Profile:
    """defaults < preset < data of the model < the preset's model globs < learned < the user's rules < the user's globs.

    The preset's globs are written by hand, so they lie over the data; its other rules are less exact than both.
    `learned` is what the upstream told, or refused, or was found to have. The user's `dialect` is one of his rules.
    Tables are merged key by key; lists replace each other. Of several globs that fit, the later one in the file wins.
    """
    dialect = {} if provider.dialect == "auto" else {"endpoint": {"dialect": provider.dialect}}
    known = _before_learning(provider, model)
    layers = (known, learned or {}, provider.rules, dialect, *_fitting(provider.models, model))
    return msgspec.convert(merge(*layers), Profile)


def _before_learning(provider: Provider, model: str) -> Overlay:
    preset = presets().get(provider.preset)
    if preset is None:
        return _DEFAULTS
    merged = merge(_DEFAULTS, preset.rules, overlay(facts(preset.name, model)), *_fitting(preset.models, model))
    offered = {"chat": True, "responses": provider.responses_url != "", "messages": provider.messages_url != ""}
    # A preset may apply to another host than the provider's own, of whose other APIs nothing is known.
    return merged if offered[merged["endpoint"]["dialect"]] else merge(merged, _CHAT)


def _fitting(models: tuple[ModelRules, ...], model: str) -> list[Overlay]:
    name = model.lower()
    return [entry.rules for entry in models if fnmatchcase(name, entry.match.lower())]
