"""The command that forgets what was learned of upstreams."""

# Imports inside the command keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from latimer.errors import LatimerError

from .completion import complete_route
from .options import AS_JSON, STATE_DIR, as_json, option, options, state_directory

if TYPE_CHECKING:
    from latimer.policy.knowledge import Knowledge

ALL = option("--all", "Forget everything.", is_flag=True)


@click.command(short_help="Forget what was learned of an upstream.")
@click.argument("name", default="", metavar="[ROUTE|PROVIDER]", shell_complete=complete_route)
@options(ALL, STATE_DIR, AS_JSON)
def forget(name: str, all: bool, state_dir: Path | None, json: bool) -> None:
    """Forget what was learned of an upstream: of a route (provider/model), of all routes of a provider, or of all.

    A Latimer that runs notices within seconds. `latimer doctor` shows what is known.
    """
    import time

    from latimer.policy.diagnosis.configuration import described
    from latimer.policy.knowledge import Knowledge
    from latimer.shell.state import Store

    store = Store(state_directory(state_dir))
    if bool(name) == all:
        raise click.UsageError(f"name a route or a provider, or use --all. {_known(store.read())}")
    before = Knowledge()

    def edit(kept: Knowledge) -> Knowledge:
        nonlocal before
        before = kept
        return kept.forgetting(name)

    try:
        after = store.change(edit) if store.path.exists() else before
    except OSError as error:
        raise LatimerError(f"{store.path} could not be written: {error.strerror}") from None
    gone = {key: found for key, found in before.routes.items() if key not in after.routes}
    if name and not gone:
        raise LatimerError(f"nothing was learned of {name!r}. {_known(before)}")
    if json:
        click.echo(as_json({"forgotten": [{"route": key.name, "base_url": key.base_url} for key in gone]}))
        return
    for key, found in gone.items():
        click.echo(f"{key.name} at {key.base_url}")
        for finding in found:
            click.echo(f"  {described(finding, time.time())}")
    click.echo(f"forgotten: {sum(map(len, gone.values()))}")


def _known(kept: Knowledge) -> str:
    names = ", ".join(sorted({key.name for key in kept.routes}))
    return f"Something was learned of {names}" if names else "Nothing is known of any"
