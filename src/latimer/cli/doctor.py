"""The command that finds what is wrong."""

# Imports inside the command keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
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
    LOG_FILE,
    MODEL,
    PORT,
    STATE_DIR,
    TOKEN_ENV,
    UPSTREAM,
    WINDOW,
    as_json,
    default_path,
    in_loop,
    load,
    option,
    options,
    state_directory,
)
from .terminal import colour, progress

NO_NETWORK = option("--no-network", "Ask no provider anything.", is_flag=True)
TRY = click.option(
    "--try/--no-try",
    help="Also send each tier's model a real request, of about 300 tokens, through all of Latimer.",
    envvar="LATIMER_TRY",
    show_envvar=True,
    default=False,
)
NOT_TRIED = "No real request was sent; `latimer doctor --try` does, for about 300 tokens a model."

_STYLES: dict[str, dict[str, Any]] = {
    "head": {"bold": True},
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "note": {"fg": "cyan"},
    "ok": {"fg": "green"},
    "cure": {"fg": "green"},
}


@click.command(short_help="Find what is wrong.")
@options(
    CONFIG,
    UPSTREAM,
    MODEL,
    DIALECT,
    API_KEY_ENV,
    HOST,
    PORT,
    TOKEN_ENV,
    WINDOW,
    CLAUDE,
    STATE_DIR,
    LOG_FILE,
    NO_NETWORK,
    TRY,
    AS_JSON,
)
def doctor(
    config: Path | None,
    claude: str,
    state_dir: Path | None,
    log_file: Path | None,
    no_network: bool,
    json: bool,
    **said: Any,
) -> int:
    """Find what is wrong: configuration, keys, files, network, models, server, Claude Code's settings, this machine.

    Each finding says what to do about it; docs/doctor.md has a table of all. The exit code is 1 when something does not
    work. Without --no-network, every provider is asked for its list of models, with its key. With --try, a real
    request costs some tokens.
    """
    from latimer.policy.diagnosis import writing
    from latimer.policy.diagnosis.facts import ConfigFacts
    from latimer.policy.diagnosis.rules import is_well
    from latimer.shell.doctor import Scope, examine

    logging.getLogger("latimer").addHandler(logging.NullHandler())  # what is logged is among the findings
    trial = said.pop("try")
    path = str((config or default_path()).absolute())
    try:
        facts = ConfigFacts(path, load(config, said, seed=True))
    except ConfigError as error:
        facts = ConfigFacts(path, error=str(error))
    scope = Scope(claude, str(log_file or ""), not no_network, trial)
    with progress("looking"):
        found = in_loop(examine, facts, state_directory(state_dir), scope)
    hints = () if trial or no_network or facts.config is None else (NOT_TRIED,)
    click.echo(
        as_json(writing.report(found)) if json else writing.text(found, _paint, hints),
        color=False if json else colour(),
    )
    return int(not is_well(found))


def _paint(text: str, kind: str) -> str:
    return click.style(text, **_STYLES[kind])
