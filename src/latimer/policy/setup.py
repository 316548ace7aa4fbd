"""Writing a provider and its routes into the text of a configuration, whose comments and other keys stay."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import tomlkit
from msgspec import Struct

from latimer.errors import ConfigError
from latimer.policy.addresses import PROVIDER_NAME, name_of
from latimer.policy.presets import Preset, presets

HEAD = "# Latimer's configuration; `latimer config schema` describes it. Keys never stand here, only where they are."
KEY_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\|[A-Za-z_][A-Za-z0-9_]*)*")


class Choice(Struct, frozen=True):
    """What was chosen: a provider, where it is, where its key is, and which of its models answer for what.

    `base_url` and `address` are '' where the preset's own stand; `api_key` is a reference, '' for none. `routes` maps
    `default` and tiers to models of this provider.
    """

    provider: str
    base_url: str = ""
    address: str = ""
    api_key: str = ""
    routes: Mapping[str, str] = {}


def named(provider: str, base_url: str) -> str:
    """The name that a provider has in the file. Raises ConfigError."""
    name = provider or name_of(base_url)
    if not PROVIDER_NAME.fullmatch(name):
        raise ConfigError(f"--provider {name!r}: a name is made of letters, digits, '.', '_' and '-'")
    return name


def usual_variable(preset: Preset | None, address: str, environ: Mapping[str, str]) -> str:
    """The variable that holds the preset's key: the first that is set, else the first; '' where there is none."""
    if preset is None:
        return ""
    known = preset.addresses[address or next(iter(preset.addresses))].api_key_env
    return next((name for name in known if environ.get(name)), known[0] if known else "")


def known_presets() -> list[Preset]:
    """Those to choose from, by name."""
    return list(presets().values())


def edited(text: str, choice: Choice) -> str:
    """The configuration `text` with the choice in it, and nothing else changed. Raises ConfigError."""
    wanted = _parsed(text)
    _apply(wanted, choice, dict)
    # Beside dotted keys (`providers.a.base_url = …`) a table of its own would go astray; an inline one does not.
    for new_table in (tomlkit.table, tomlkit.inline_table):
        document = tomlkit.parse(text)
        if not text.strip():
            document.add(tomlkit.comment(HEAD.removeprefix("# ")))
            document.add(tomlkit.nl())
        _apply(document, choice, new_table)
        after = tomlkit.dumps(document)
        if _means(after, wanted):
            return after if text.endswith("\n\n") else after.rstrip("\n") + "\n"
    raise ConfigError(f"this file has a form that cannot be edited here; write [providers.{choice.provider}] by hand")


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not valid TOML: {error}") from None


def _means(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _apply(document: MutableMapping[str, Any], choice: Choice, new_table: Callable[[], Any]) -> None:
    providers = _table(document, "providers", _super_table(new_table))
    is_new = choice.provider not in providers
    table = _table(providers, choice.provider, new_table)
    said = {"base_url": choice.base_url, "address": choice.address, "api_key": choice.api_key}
    for key, value in said.items():
        if value:
            table[key] = value
        else:
            table.pop(key, None)  # it belonged to the provider's former place or key
    if is_new and isinstance(table, tomlkit.items.Table) and "routes" in document:
        table.add(tomlkit.nl())  # the routes stand right behind
    if choice.routes:
        routes = _table(document, "routes", new_table)
        for key, model in choice.routes.items():
            routes[key] = f"{choice.provider}/{model}"


def _super_table(new_table: Callable[[], Any]) -> Callable[[], Any]:
    """One that has no header of its own."""
    return (lambda: tomlkit.table(is_super_table=True)) if new_table is tomlkit.table else new_table


def _table(parent: MutableMapping[str, Any], name: str, new_table: Callable[[], Any]) -> MutableMapping[str, Any]:
    if name not in parent:
        parent[name] = new_table()
    found = parent[name]
    if not isinstance(found, MutableMapping):
        raise ConfigError(f"{name}: expected a table")
    return found


def difference(before: str, after: str, path: str) -> str:
    """A unified diff; '' when nothing changes."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="")
    return "\n".join(lines)


def model_names(listed: object) -> list[str]:
    """The models in an answer to `GET /models`, sorted; [] when it is something else."""
    entries = listed.get("data") if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        return []
    names = {entry.get("id") for entry in entries if isinstance(entry, dict)}
    return sorted(name for name in names if isinstance(name, str) and name)


def picked(said: str, names: list[str]) -> str:
    """The item that a number, a name or a part of just one name stands for; '' when there is none."""
    if said.isdigit() and 1 <= int(said) <= len(names):
        return names[int(said) - 1]
    if said in names:
        return said
    fitting = [name for name in names if said and said.lower() in name.lower()]
    return fitting[0] if len(fitting) == 1 else ""
