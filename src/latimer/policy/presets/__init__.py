"""Presets: what is known of a provider, as data files beside this module, one per provider.

A file holds the keys of `PresetFile`: addresses, keys, notes, the sections of `latimer.profile.Profile`, and
`[[models]]` with a `match` glob and the same sections. A comment `# source:` in every section says where its facts come
from; a `?` behind a source means that it is weak, or that others disagree.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field, structs

from latimer.profile import Dialect, Profile

Overlay = Mapping[str, Any]
"""Some fields of a Profile: section -> field -> value."""

KeyHeader = Literal["authorization", "api-key", "x-api-key"]
"""The header a key goes in; in `authorization` it is a bearer token."""

SECTIONS = tuple(each.name for each in structs.fields(Profile))
"""The sections of a Profile: endpoint, request, reasoning, tools, messages, media, cache, native."""

DEFAULT = "default"
"""The name of the address that a preset's top level holds."""
BASE = "{base_url}"


class Address(Struct, frozen=True, forbid_unknown_fields=True):
    """One place where a provider answers.

    A URL is what stands before `/chat/completions`, `/messages` or `/v1/messages`, and `/responses`; '' where the
    provider does not have that API. `{base_url}` in the latter two stands for the first.
    """

    base_url: str
    messages_url: str = ""
    responses_url: str = ""
    api_key_env: tuple[str, ...] = ()
    """The variables that users keep this address's key in; none: those of the preset."""

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """What it offers."""
        offered: dict[Dialect, bool] = {
            "chat": True,
            "responses": self.responses_url != "",
            "messages": self.messages_url != "",
        }
        return tuple(dialect for dialect, offers in offered.items() if offers)

    @property
    def urls(self) -> tuple[str, ...]:
        """Every URL, filled in."""
        filled = (url.replace(BASE, self.base_url) for url in (self.base_url, self.messages_url, self.responses_url))
        return tuple(url for url in filled if url)

    def filled(self) -> Address:
        """The same with the base URL filled in."""
        return structs.replace(
            self,
            messages_url=self.messages_url.replace(BASE, self.base_url),
            responses_url=self.responses_url.replace(BASE, self.base_url),
        )

    def moved(self, base_url: str) -> Address:
        """The address of another server of this kind: only URLs that follow the base URL go with it."""
        messages, responses = (url if BASE in url else "" for url in (self.messages_url, self.responses_url))
        return Address(base_url, messages, responses, self.api_key_env).filled()


class ModelRules(Struct, frozen=True):
    """Rules for the models whose name fits a glob; case does not matter."""

    match: str
    rules: Overlay


class ModelFile(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[models]]` of a preset's file."""

    match: str


class PresetFile(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A preset's file."""

    title: str
    base_url: str
    """'' where every user has an address of their own, which `url_form` then shows."""
    url_form: str = ""
    messages_url: str = ""
    responses_url: str = ""
    addresses: dict[str, Address] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    api_key_env: list[str] = field(default_factory=list)
    key_header: KeyHeader = "authorization"
    headers: dict[str, str] = field(default_factory=dict)
    docs: str = ""
    notes: list[str] = field(default_factory=list)
    models: list[ModelFile] = field(default_factory=list)


class Preset(Struct, frozen=True):
    """One provider's facts."""

    name: str
    title: str
    addresses: Mapping[str, Address]
    """By name; the first is `default`."""
    url_form: str
    """What a base URL looks like where the default address has none."""
    hosts: frozenset[str]
    """Hosts, or globs of them, where the preset applies without being named; with a port where only that port means
    this provider."""
    key_header: KeyHeader
    headers: Mapping[str, str]
    """Sent with every request."""
    docs: str
    """Where the provider describes its API."""
    notes: tuple[str, ...]
    """Sentences that its users should know."""
    rules: Overlay
    models: tuple[ModelRules, ...]

    @property
    def base_url(self) -> str:
        """The default address's, or ''."""
        return self.addresses[DEFAULT].base_url

    def at(self, url: str) -> Address | None:
        """The address that has this URL, else the first one on its host; None for a stranger's."""
        addresses = self.addresses.values()
        same = [each for each in addresses if url in each.urls]
        near = [each for each in addresses if _netloc(url) in map(_netloc, each.urls)]
        return next(iter([*same, *near]), None)

    def claims(self, url: str) -> bool:
        """Whether a URL's host is the provider's own."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        return any(fnmatchcase(host, known) or f"{host}:{parts.port}" == known for known in self.hosts)


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by its name. Read once."""
    found = {
        entry.name.removesuffix(".toml"): entry for entry in files(__name__).iterdir() if entry.name.endswith(".toml")
    }
    return {name: _preset(name, tomllib.loads(found[name].read_text("utf-8"))) for name in sorted(found)}


def preset_for_url(url: str) -> Preset | None:
    """The preset whose host a URL points to."""
    return next((preset for preset in presets().values() if preset.claims(url)), None)


def sections(table: Mapping[str, Any]) -> Overlay:
    """The Profile sections of a provider's or model's table."""
    return {name: table[name] for name in SECTIONS if name in table}


def model_rules(tables: list[dict[str, Any]]) -> tuple[ModelRules, ...]:
    """`[[models]]` as ModelRules, in the order of the file."""
    return tuple(ModelRules(table["match"], sections(table)) for table in tables)


def _preset(name: str, table: dict[str, Any]) -> Preset:
    file = msgspec.convert(table, PresetFile)
    variables = tuple(file.api_key_env)
    own = Address(file.base_url, file.messages_url, file.responses_url, variables)
    others = {
        key: structs.replace(address, api_key_env=address.api_key_env or variables)
        for key, address in file.addresses.items()
    }
    addresses = {DEFAULT: own, **others}
    named = {urlsplit(url).hostname for address in addresses.values() for url in address.urls}
    hosts = file.hosts or [host for host in named if host and host != "localhost"]
    return Preset(
        name=name,
        title=file.title,
        addresses=addresses,
        url_form=file.url_form,
        hosts=frozenset(hosts),
        key_header=file.key_header,
        headers=file.headers,
        docs=file.docs,
        notes=tuple(file.notes),
        rules=sections(table),
        models=model_rules(table.get("models", [])),
    )


def _netloc(url: str) -> str:
    return urlsplit(url).netloc.lower()
