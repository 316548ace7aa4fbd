"""Where a provider's APIs are: URLs as users paste them, and the addresses of presets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct, structs

from latimer.errors import ConfigError
from latimer.policy.presets import DEFAULT, Address, Preset, preset_for_url, presets
from latimer.policy.tables import nearest

UserDialect = Literal["auto", "chat", "responses", "messages"]
"""What a user says of a provider's API; `auto` leaves it to the profile."""

PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_ENDPOINT = re.compile(r"/(chat/completions|responses|messages)$")
_NOWHERE = Address("")


class Place(Struct, frozen=True):
    """Where a provider is found, and what is known of it."""

    address: Address
    preset: Preset | None
    dialect: UserDialect
    """`auto`, unless the user said it or pasted the endpoint of another API than Chat Completions."""

    @property
    def is_own(self) -> bool:
        """Whether its hosts are the preset's, so that its users' usual key may go there."""
        return self.preset is not None and all(map(self.preset.claims, self.address.urls))


def place(name: str, table: Mapping[str, Any], path: str) -> Place:
    """Where the provider of a configuration's table is.

    The preset is the one that is named, else the one of the provider's name, else the one of its base URL's host. The
    table's URLs come before the preset's, whose other APIs are used on its own hosts only. A preset's host alone gets
    the path that its base URL has. Raises ConfigError.
    """
    said = {
        key: clean_url(table[key], f"{path}.{key}")
        for key in ("base_url", "messages_url", "responses_url")
        if table.get(key)
    }
    preset = _preset(name, table.get("preset", ""), next(iter(said.values()), ""), path)
    if preset and "base_url" in said:
        said["base_url"] = _with_path(said["base_url"], preset)
    written = said.get("base_url", "")
    address = _address(preset, table.get("address", ""), written, path)
    dialect: UserDialect = table.get("dialect", "auto")
    if dialect == "auto":
        dialect = _pasted(table.get("base_url", ""), written, address) if written else _only(said, address)
    if _is_messages_root(written, address):
        said.pop("base_url")  # the address has another one for the other APIs
    merged = structs.replace(address, **said)
    if not merged.base_url:
        merged = structs.replace(merged, base_url=merged.responses_url or merged.messages_url)
    if not merged.base_url:
        form = preset.url_form if preset else ""
        raise ConfigError(f'{path} needs the address you were given: base_url = "{form}"')
    return Place(merged, preset, dialect)


def clean_url(url: str, path: str) -> str:
    """An http(s) URL without the slash and the endpoint's path at its end. Raises ConfigError, naming `path`."""
    trimmed = _ENDPOINT.sub("", url.strip().rstrip("/")).rstrip("/")
    try:
        parts = urlsplit(trimmed)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{path}: expected a URL such as https://api.example.com/v1")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{path}: a URL must not hold a user or password; use api_key or headers")
    if parts.query or parts.fragment:
        raise ConfigError(f"{path}: the base URL must have no query and no fragment")
    return trimmed


def port_of(parts: SplitResult) -> int:
    """The port of a URL, which its scheme implies where it names none. Raises ValueError for one that is no port."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def name_of(url: str) -> str:
    """A short name for a provider: its preset's, else the main word of its host, else 'upstream'."""
    preset = preset_for_url(url)
    if preset:
        return preset.name
    host = (urlsplit(url).hostname or "").lower()
    words = [word for word in host.split(".")[:-1] if len(word) > 3 and PROVIDER_NAME.fullmatch(word)]
    return words[-1] if words and not re.fullmatch(r"[\d.:]+", host) else "upstream"


def _preset(name: str, wanted: str, url: str, path: str) -> Preset | None:
    known = presets()
    if wanted and wanted not in known:
        raise ConfigError(f"{path}.preset: there is no preset {wanted!r}{nearest(wanted, known, 'presets')}")
    if wanted or name in known:
        return known[wanted or name]
    if not url:
        raise ConfigError(f"{path} needs a base_url: there is no preset {name!r}{nearest(name, known, 'presets')}")
    return preset_for_url(url)


def _with_path(url: str, preset: Preset) -> str:
    """The URL; the provider's own host with the path of its base URL, if it stands alone."""
    near = preset.at(url)
    if urlsplit(url).path or not preset.claims(url) or (near and url in near.urls):
        return url
    return url + urlsplit(near.base_url if near else preset.base_url or preset.url_form).path


def _address(preset: Preset | None, wanted: str, written: str, path: str) -> Address:
    """The preset's address of that name, else the one that the base URL belongs to."""
    if wanted:
        known = preset.addresses if preset else {}
        if wanted not in known:
            raise ConfigError(f"{path}.address: there is no address {wanted!r}{nearest(wanted, known, 'addresses')}")
        if written:
            raise ConfigError(f"{path}: address and base_url say the same thing; write only one of them")
        return known[wanted].filled()
    if preset is None:
        return _NOWHERE
    own = preset.addresses[DEFAULT]
    if not written:
        return own.filled()
    near = preset.at(written)
    return near.filled() if near else own.moved(written)


def _only(said: Mapping[str, str], address: Address) -> UserDialect:
    """The one API that a provider without a base URL has."""
    if address.base_url or len(said) != 1:
        return "auto"
    return "messages" if "messages_url" in said else "responses"


def _pasted(text: str, written: str, address: Address) -> UserDialect:
    """What the URL itself says of the dialect: its endpoint, or that it is a known root of the Messages API."""
    ending = _ENDPOINT.search(text.strip().rstrip("/"))
    if ending and ending[1] == "responses":
        return "responses"
    known = _is_messages_root(written, address)
    return "messages" if known or (ending and ending[1] == "messages") else "auto"


def _is_messages_root(url: str, address: Address) -> bool:
    return url != address.base_url and url.removesuffix("/v1") == address.messages_url != ""
