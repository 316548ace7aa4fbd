"""The command that finds what is wrong."""

# Imports inside the command keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latimer.errors import ConfigError

from .options import (
    API_KEY_ENV,
    AS_JSON,
    CLAUDE,
    CONFIG,
    DIALECT,
    HOST,
    MODEL,
    PORT,
    STATE_DIR,
    TOKEN_ENV,
    UPSTREAM,
    WINDOW,
    as_json,
    in_loop,
    load,
    option,
    options,
    state_directory,
)

NO_NETWORK = option("--no-network", "Ask no provider anything.", is_flag=True)


@click.command(short_help="Find what is wrong.")
@options(
    CONFIG, UPSTREAM, MODEL, DIALECT, API_KEY_ENV, HOST, PORT, TOKEN_ENV, WINDOW, CLAUDE, STATE_DIR, NO_NETWORK, AS_JSON
)
def doctor(config: Path | None, claude: str, state_dir: Path | None, no_network: bool, json: bool, **said: Any) -> int:
    """Find what is wrong: the configuration, keys, providers, models, what was learned, the port, Claude Code.

    Each finding says what to do about it. The exit code is 1 when something is wrong. Without --no-network, every
    provider is asked for its list of models, with its key.
    """
    from latimer.policy import diagnosis
    from latimer.shell.doctor import examine

    try:
        settings = load(config, said, seed=True)
        found = in_loop(examine, settings, state_directory(state_dir), claude, not no_network)
    except ConfigError as error:
        found = [diagnosis.of_broken_configuration(str(error))]
    click.echo(as_json(diagnosis.report(found)) if json else diagnosis.text(found))
    return int(any(each.level == "wrong" for each in found))
