"""The commands that tell what there is: models, config schema."""

# Imports inside the commands are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import AS_JSON, CONFIG, MODEL, STATE_DIR, UPSTREAM, as_json, learned, load, options, table

if TYPE_CHECKING:
    from latimer.profile import Profile

_UNKNOWN = "-"
_HEAD = ["MODEL", "ASKED IN", "WINDOW", "ANSWER", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE"]


@click.command(short_help="Show which model answers for which id.")
@options(CONFIG, UPSTREAM, MODEL, STATE_DIR, AS_JSON)
def models(config: Path | None, state_dir: Path | None, json: bool, **said: Any) -> None:
    """Show which model answers for which id, and what is known of each model."""
    from latimer.policy.catalog import picker_models
    from latimer.policy.routing import route_names, routes_for

    settings = load(config, said, seed=True)
    known = learned(settings, state_dir)
    profiles = {name: routes_for(settings, name, known)[0].profile for name in route_names(settings)}
    if json:
        facts = {name: _as_data(profile) for name, profile in profiles.items()}
        click.echo(as_json({"routes": settings.routes, "models": picker_models(settings, known), "facts": facts}))
        return
    width = max(len(key) for key in settings.routes)
    for key, chain in settings.routes.items():
        click.echo(f"{key:<{width}}  {', then '.join(chain)}")
    rows = [[name, *_cells(profile)] for name, profile in profiles.items()]
    if any(cell not in (_UNKNOWN, "chat") for _, *cells in rows for cell in cells):
        click.echo("")
        for line in table(_HEAD, rows):
            click.echo(line)
        click.echo("\nTokens, and list prices in US dollars per million tokens; + means that long prompts cost more.")


def _as_data(profile: Profile) -> dict[str, Any]:
    """What is known of a model, as programs read it; null is unknown."""
    import msgspec

    return {
        "dialect": profile.endpoint.dialect,
        "context_window": profile.request.context_window or None,
        "max_output": profile.request.max_output or None,
        "images": profile.sees,
        "prices": msgspec.to_builtins(profile.prices),
    }


def _cells(profile: Profile) -> list[str]:
    """The same as a row of the table."""
    rules, prices = profile.request, profile.prices
    tokens = (f"{count:,}" if count else _UNKNOWN for count in (rules.context_window, rules.max_output))
    dollars = (prices.input, prices.output, prices.cache_read, prices.cache_write)
    more = "+" if prices.tiers else ""
    told = (_UNKNOWN if price is None else f"{price:g}{more}" for price in dollars)
    return [profile.endpoint.dialect, *tokens, *told]


@click.group("config")
def config_group() -> None:
    """The configuration file."""


@config_group.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from latimer.policy.config import json_schema

    click.echo(as_json(json_schema()))
