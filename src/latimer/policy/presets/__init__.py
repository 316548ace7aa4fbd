"""Presets: what is known of a provider, as data files beside this module, one per provider.

A file holds `base_url`, `hosts` (where the preset applies without being named), `api_key_env` (the variable its users
keep their key in), the sections of `latimer.profile.Profile`, and `[[models]]` with a `match` glob and the same
sections. Its `source` comment says where the facts come from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, structs

from latimer.profile import Profile

Overlay = Mapping[str, Any]
"""Some fields of a Profile: section -> field -> value."""

SECTIONS = tuple(field.name for field in structs.fields(Profile))
"""The sections of a Profile: request, reasoning, tools, messages, media, cache."""


class ModelRules(Struct, frozen=True):
    """Rules for the models whose name fits a glob; case does not matter."""

    match: str
    rules: Overlay


class Preset(Struct, frozen=True):
    """One provider's facts."""

    name: str
    base_url: str
    hosts: frozenset[str]
    """Hosts, with a port where only that port means this provider."""
    api_key_env: str
    rules: Overlay
    models: tuple[ModelRules, ...]


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by its name. Read once."""
    found = {
        entry.name.removesuffix(".toml"): entry for entry in files(__name__).iterdir() if entry.name.endswith(".toml")
    }
    return {name: _preset(name, tomllib.loads(found[name].read_text("utf-8"))) for name in sorted(found)}


def preset_for_url(base_url: str) -> Preset | None:
    """The preset whose host `base_url` points to."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    keys = {host, f"{host}:{parts.port}"}
    return next((preset for preset in presets().values() if keys & preset.hosts), None)


def sections(table: Mapping[str, Any]) -> Overlay:
    """The Profile sections of a provider's or model's table."""
    return {name: table[name] for name in SECTIONS if name in table}


def model_rules(tables: list[dict[str, Any]]) -> tuple[ModelRules, ...]:
    """`[[models]]` as ModelRules, in the order of the file."""
    return tuple(ModelRules(table["match"], sections(table)) for table in tables)


def _preset(name: str, table: dict[str, Any]) -> Preset:
    return Preset(
        name,
        table["base_url"],
        frozenset(table.get("hosts", ())),
        table.get("api_key_env", ""),
        sections(table),
        model_rules(table.get("models", [])),
    )
