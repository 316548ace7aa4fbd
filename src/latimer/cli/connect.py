"""`latimer connect`, `latimer disconnect`: Latimer in Claude Code's own settings. `latimer token`, which they need."""

# Imports inside the commands keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latimer.errors import ConfigError

from .options import (
    AS_JSON,
    CONFIG,
    HOST,
    MODEL,
    PORT,
    STATE_DIR,
    TOKEN_ENV,
    UPSTREAM,
    WINDOW,
    as_json,
    in_loop,
    learned,
    load,
    option,
    options,
    state_directory,
)
from .run import asked_limits
from .serving import address

if TYPE_CHECKING:
    from latimer.policy.config import Config
    from latimer.shell.connection import Plan

SCOPE = option(
    "--scope",
    "Whose settings: user (all projects), project (shared, in this folder), local (yours, in this folder).",
    type=click.Choice(["user", "project", "local"]),
    default="user",
    show_default=True,
    metavar="SCOPE",
)
YES = option("--yes", "Write without asking.", is_flag=True)
DRY_RUN = option("--dry-run", "Only show what would change.", is_flag=True)


@click.command(short_help="Point Claude Code's own settings at Latimer, for editors and scripts.")
@options(SCOPE, CONFIG, UPSTREAM, MODEL, HOST, PORT, TOKEN_ENV, WINDOW, STATE_DIR, DRY_RUN, YES, AS_JSON)
def connect(
    scope: str,
    config: Path | None,
    state_dir: Path | None,
    dry_run: bool,
    yes: bool,
    json: bool,
    **said: Any,
) -> int:
    """Point Claude Code's settings.json at `latimer serve` with the same options: for the VS Code extension, the
    desktop app and scripts, which `latimer run` does not start.

    It shows what will change and asks, keeps a copy of the file beside it, and `latimer disconnect` undoes it.
    """
    from latimer.policy.connection import wanted
    from latimer.shell.connection import Connections, settings_path

    settings = load(config, said, seed=True)
    url = address(settings)
    helper = _helper(settings, config, said.get("token_env")) if settings.server.token else ""
    sizes = in_loop(asked_limits, settings, learned(settings, state_dir))
    connections = Connections(state_directory(state_dir))
    path = settings_path(scope, Path.cwd(), os.environ)
    plan = connections.connecting(path, partial(wanted, url=url, helper=helper, config=settings, sizes=sizes))
    if not _agreed(plan, dry_run, yes):
        return _tell(plan, json, ["Nothing was written."], written=False)
    backup = connections.connect(plan) if plan.changes else None
    done = f"Wrote {path}" if plan.changes else f"{path} points at Latimer already; nothing was changed"
    kept = f"; what was there is in {backup}" if backup else ""
    more = [*_advice(settings, url, scope), f"Undo it with `latimer disconnect{_scoped(scope)}`."]
    return _tell(plan, json, [f"{done}{kept}.", *more], written=plan.changes, backup=backup)


@click.command(short_help="Take Latimer out of Claude Code's settings again.")
@options(SCOPE, STATE_DIR, DRY_RUN, YES, AS_JSON)
def disconnect(scope: str, state_dir: Path | None, dry_run: bool, yes: bool, json: bool) -> int:
    """Take out of Claude Code's settings.json what `latimer connect` wrote, and put back what stood there.

    A file that nobody has changed since is as it was, to the byte. What somebody has changed since, stays.
    """
    from latimer.shell.connection import Connections, settings_path

    connections = Connections(state_directory(state_dir))
    path = settings_path(scope, Path.cwd(), os.environ)
    plan = connections.disconnecting(path)
    if plan.undo is None:
        if plan.record is None and str(path) in connections.records():
            connections.disconnect(plan)
        return _tell(plan, json, [f"{path} is not connected to Latimer; there is nothing to undo."], written=False)
    if not _agreed(plan, dry_run, yes):
        return _tell(plan, json, ["Nothing was written."], written=False)
    connections.disconnect(plan)
    state = "is as it was" if plan.undo.exact else "has what was changed since, without Latimer"
    lines = [f"{path} {'is gone, as before' if plan.after is None else state}."]
    if plan.undo.kept:
        names = ", ".join(".".join(each) for each in plan.undo.kept)
        lines.append(f"Somebody has changed these since, so they stay: {names}.")
    if not plan.undo.exact and plan.record and plan.record.backup:
        lines.append(f"The file of then is in {plan.record.backup}.")
    return _tell(plan, json, lines, written=plan.changes)


@click.command(short_help="Print the token that clients must show.")
@options(CONFIG, TOKEN_ENV)
def token(config: Path | None, **said: Any) -> None:
    """Print the token that clients must show, so that Claude Code's apiKeyHelper can ask for it."""
    from latimer.shell.secrets import resolve

    named = said.get("token_env") or ("LATIMER_TOKEN" if os.environ.get("LATIMER_TOKEN") else "")
    reference = f"env:{named}" if named else load(config, said).server.token
    if not reference:
        raise ConfigError("Latimer asks for no token: there is none under [server], and LATIMER_TOKEN is not set")
    click.echo(resolve(reference, os.environ))


def _helper(settings: Config, config: Path | None, token_env: str | None) -> str:
    """A command line that prints the token, so that it does not have to stand in the file."""
    import shlex
    import subprocess

    command = [sys.executable, "-m", "latimer", "token"]
    if config:
        command += ["--config", str(config.absolute())]
    reference = settings.server.token
    if token_env or reference == "env:LATIMER_TOKEN":
        command += ["--token-env", reference.removeprefix("env:")]
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)


def _agreed(plan: Plan, dry_run: bool, yes: bool) -> bool:
    """Show what will change, and ask where somebody is there. Raises UsageError where nobody is and nothing says so."""
    from latimer.policy.connection import difference

    shown = difference(plan.before or b"", plan.after or b"", str(plan.path))
    if shown:
        for line in shown.splitlines():
            click.secho(line, fg={"+": "green", "-": "red", "@": "cyan"}.get(line[:1]), err=True)
    if dry_run:
        return False
    if yes or not plan.changes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("nobody is there to be asked: --yes writes this, --dry-run only shows it")
    return click.confirm(f"Write {plan.path}?", default=True, err=True)


def _advice(settings: Config, url: str, scope: str) -> list[str]:
    """What else is needed for it to work."""
    from latimer.policy.claude_code import Limits, conflicting, variables
    from latimer.shell.instance import who_listens

    lines = []
    if who_listens(settings.server.host, settings.server.port) is None:
        lines.append(f"No Latimer answers at {url} yet: `latimer start` or `latimer service install` starts it.")
    reference = settings.server.token
    if reference.startswith("env:"):
        name = reference.removeprefix("env:")
        lines.append(f"Claude Code asks Latimer for the token, so {name} must be set where Claude Code is started.")
    ours = variables(url, "", settings, Limits())
    past = [
        name for name in conflicting(os.environ) if name not in ours and name not in ("ANTHROPIC_API_KEY", "CLAUDECODE")
    ]
    if past:
        lines.append(f"These variables of this shell lead past Latimer; unset them: {', '.join(past)}.")
    if scope == "project":
        lines.append(
            f"The file is shared by all who work on this project, and names {url}: --scope local is yours alone."
        )
    return lines


def _scoped(scope: str) -> str:
    return "" if scope == "user" else f" --scope {scope}"


def _tell(plan: Plan, json: bool, lines: Sequence[str], *, written: bool, backup: Path | None = None) -> int:
    if json:
        changes = plan.record.changes if plan.record else ()
        result = {
            "file": str(plan.path),
            "written": written,
            "backup": str(backup) if backup else None,
            "members": [list(change.path) for change in changes],
        }
        click.echo(as_json(result))
    else:
        click.echo("\n".join(lines))
    return 0
