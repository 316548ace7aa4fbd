"""`latimer completion`: what makes a shell complete Latimer's commands, options and names."""

# Imports inside the commands keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")


def complete_preset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of presets that begin so."""
    del ctx, param
    from latimer.policy.presets import presets

    return [name for name in presets() if name.startswith(incomplete)]


def complete_route(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Routes of the configuration that begin so; none where there is none that can be read."""
    del param
    from latimer.errors import LatimerError
    from latimer.policy.routing import route_names

    from .options import load

    named = ctx.params.get("config") or os.environ.get("LATIMER_CONFIG")
    try:
        settings = load(Path(named) if named else None, {}, seed=True)
    except LatimerError:
        return []
    return [name for name in route_names(settings) if name.startswith(incomplete)]


@click.command(short_help="Print what makes a shell complete Latimer's commands.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete Latimer's commands, options, providers and routes.

    For this session: eval "$(latimer completion bash)". For good: write it to
    ~/.local/share/bash-completion/completions/latimer, for zsh to a folder of $fpath as _latimer, for fish to
    ~/.config/fish/completions/latimer.fish.
    """
    from click.shell_completion import get_completion_class

    from . import app

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(app, {}, "latimer", "_LATIMER_COMPLETE").source())
