"""Which rules hold for one model of one provider."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from latimer.policy.config import Provider
from latimer.policy.presets import ModelRules, Overlay, presets
from latimer.policy.tables import merge
from latimer.profile import Profile

_DEFAULTS: Overlay = msgspec.to_builtins(Profile())


def resolve(provider: Provider, model: str, learned: Profile | None = None) -> Profile:
    """defaults < preset < the preset's model globs < learned < the user's rules < the user's model globs.

    `learned` is an earlier answer of this function with what the upstream told or refused since. Tables are merged key
    by key; lists replace each other. Of several globs that fit, the later one in the file wins.
    """
    base = [msgspec.to_builtins(learned)] if learned else _before_learning(provider.preset, model)
    return msgspec.convert(merge(*base, provider.rules, *_fitting(provider.models, model)), Profile)


def _before_learning(preset_name: str, model: str) -> list[Overlay]:
    preset = presets().get(preset_name)
    return [_DEFAULTS, preset.rules, *_fitting(preset.models, model)] if preset else [_DEFAULTS]


def _fitting(models: tuple[ModelRules, ...], model: str) -> list[Overlay]:
    name = model.lower()
    return [entry.rules for entry in models if fnmatchcase(name, entry.match.lower())]
