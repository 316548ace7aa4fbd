"""`latimer providers`: the presets, or one of them in full."""

# Imports inside the command are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from latimer.errors import ConfigError

from .completion import complete_preset
from .options import AS_JSON, as_json, options, table

if TYPE_CHECKING:
    from latimer.policy.presets import Address, Preset

_WIDTH = 100
_HEAD = ["NAME", "PROVIDER", "DIALECTS", "KEY", "OTHER ADDRESSES"]


@click.command(short_help="Show the providers that Latimer knows.")
@click.argument("name", required=False, shell_complete=complete_preset)
@options(AS_JSON)
def providers(name: str | None, json: bool) -> None:
    """Show the providers that Latimer knows, or one of them in full.

    A provider of another name works too: it only needs a base_url.
    """
    from latimer.policy.presets import presets
    from latimer.policy.tables import nearest

    known = presets()
    if name is not None and name.lower() not in known:
        raise ConfigError(f"there is no preset {name!r}{nearest(name, known, 'presets')}")
    if json:
        shown: Any = as_data(known[name.lower()]) if name else [as_data(preset) for preset in known.values()]
        click.echo(as_json(shown))
    elif name:
        click.echo("\n".join(_in_full(known[name.lower()])))
    else:
        for line in table(_HEAD, [_row(preset) for preset in known.values()]):
            click.echo(line)
        click.echo("\n* used unless you say otherwise, for some models at least. In full: latimer providers NAME")


def as_data(preset: Preset) -> dict[str, Any]:
    """A preset as programs read it."""
    return {
        "name": preset.name,
        "title": preset.title,
        "docs": preset.docs,
        "preferred": preferred(preset),
        "key_header": preset.key_header,
        "addresses": {
            key: {
                "base_url": address.base_url or preset.url_form,
                "dialects": list(address.dialects),
                "endpoints": dict(endpoints(preset, address)),
                "api_key_env": list(address.api_key_env),
            }
            for key, address in preset.addresses.items()
        },
        "notes": list(preset.notes),
        "rules": preset.rules,
        "models": [{"match": each.match, **each.rules} for each in preset.models],
    }


def preferred(preset: Preset) -> list[str]:
    """The dialects that the preset's models are asked in unless the user says otherwise, the general one first."""
    first = preset.rules.get("endpoint", {}).get("dialect", "chat")
    others = (each.rules.get("endpoint", {}).get("dialect", first) for each in preset.models)
    return list(dict.fromkeys([first, *others]))


def endpoints(preset: Preset, address: Address) -> Iterator[tuple[str, str]]:
    """Each dialect of an address with the URL that is asked."""
    from latimer.policy.config import Provider

    filled = address.filled() if address.base_url else address.moved(preset.url_form)
    place = Provider(preset.name, filled.base_url, messages_url=filled.messages_url, responses_url=filled.responses_url)
    yield from ((dialect, place.url(dialect)) for dialect in address.dialects)


def example(preset: Preset, address: str = "default") -> str:
    """The configuration that the preset needs, as TOML."""
    lines = [f"[providers.{preset.name}]"]
    if preset.url_form:
        lines.append(f'base_url = "{preset.url_form}"')
    if address != "default":
        lines.append(f'address = "{address}"')
    if keys := preset.addresses[address].api_key_env:
        lines.append(f'api_key = "env:{keys[0]}"')
    return "\n".join([*lines, "", "[routes]", f'default = "{preset.name}/MODEL"'])


def _row(preset: Preset) -> list[str]:
    own = preset.addresses["default"]
    used = preferred(preset)
    dialects = " ".join(f"{dialect}*" if dialect in used else dialect for dialect in own.dialects)
    others = ", ".join(list(preset.addresses)[1:])
    return [preset.name, preset.title, dialects, next(iter(own.api_key_env), "-"), others or "-"]


def _in_full(preset: Preset) -> Iterator[str]:
    yield click.style(f"{preset.title} ({preset.name})", bold=True)
    yield preset.docs
    for name, address in preset.addresses.items():
        yield ""
        yield f"{name}: {'key in ' + ' or '.join(address.api_key_env) if address.api_key_env else 'no key'}"
        yield from (f"  {dialect:<9}  {url}" for dialect, url in endpoints(preset, address))
    yield ""
    first, *others = preferred(preset)
    yield f"Asked in: {first}{', for some models ' + ' or '.join(others) if others else ''}"
    if preset.key_header != "authorization":
        yield f"The key goes in the header {preset.key_header}."
    for note in preset.notes:
        yield ""
        yield textwrap.fill(note, _WIDTH, break_long_words=False, break_on_hyphens=False)
    yield ""
    yield textwrap.indent(example(preset), "  ")
