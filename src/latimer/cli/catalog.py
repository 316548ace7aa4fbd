"""The commands that tell what there is: models, config schema."""

# Imports inside the commands are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import AS_JSON, CONFIG, MODEL, UPSTREAM, as_json, load, options


@click.command(short_help="Show which model answers for which id.")
@options(CONFIG, UPSTREAM, MODEL, AS_JSON)
def models(config: Path | None, json: bool, **said: Any) -> None:
    """Show which model answers for which id."""
    from latimer.policy.catalog import picker_models

    settings = load(config, said, seed=True)
    if json:
        click.echo(as_json({"routes": settings.routes, "models": picker_models(settings)}))
        return
    width = max(len(key) for key in settings.routes)
    for key, chain in settings.routes.items():
        click.echo(f"{key:<{width}}  {', then '.join(chain)}")


@click.group("config")
def config_group() -> None:
    """The configuration file."""


@config_group.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from latimer.policy.config import json_schema

    click.echo(as_json(json_schema()))
