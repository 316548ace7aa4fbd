"""`latimer service`: `latimer serve` as a service of the operating system."""

# Imports inside the commands keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import AS_JSON, CONFIG, STATE_DIR, as_json, default_path, load, option, options, state_directory

if TYPE_CHECKING:
    from latimer.shell.system_service import System

PRINT = option("--print", "Print the file instead of writing it.", is_flag=True)
PLATFORM = option(
    "--platform",
    "Whose file: systemd, launchd or windows; this system's unless said otherwise.",
    type=click.Choice(["systemd", "launchd", "windows"]),
    metavar="NAME",
)


@click.group("service")
def service() -> None:
    """`latimer serve` as a service of the operating system, from when you log in."""


@service.command("install", short_help="Run Latimer from now on, and whenever you log in.")
@options(CONFIG, STATE_DIR, PLATFORM, PRINT)
def install(config: Path | None, state_dir: Path | None, platform: str | None, **flags: Any) -> int:
    """Run `latimer serve` from now on, and whenever you log in: a user unit of systemd, a LaunchAgent of macOS, a task
    of Windows. It needs a configuration file, and no rights of an administrator.

    Keys in variables of your shell are not seen by a service: it says which are missing and where they belong.
    """
    settings = load(config, {})
    system = _system(config, state_dir, platform)
    if flags["print"]:
        click.echo(system.text(), nl=False)
        return 0
    for line in system.install(settings):
        click.echo(line)
    return 0


@service.command("uninstall", short_help="Stop the service and remove it.")
@options(CONFIG, STATE_DIR)
def uninstall(config: Path | None, state_dir: Path | None) -> int:
    """Stop the service and remove what `latimer service install` wrote."""
    for line in _system(config, state_dir, None).uninstall():
        click.echo(line)
    return 0


@service.command("status", short_help="Show whether the service is installed and runs.")
@options(CONFIG, STATE_DIR, AS_JSON)
def status(config: Path | None, state_dir: Path | None, json: bool) -> int:
    """Show whether the service is installed and runs. The exit code is 1 when it does not run."""
    state = _system(config, state_dir, None).state()
    if json:
        click.echo(as_json({"installed": state.installed, "runs": state.runs, "file": str(state.path)}))
    else:
        click.echo(f"{'installed' if state.installed else 'not installed'}: {state.path}")
        click.echo(f"runs: {'yes' if state.runs else 'no'}{f' ({state.said})' if state.said else ''}")
    return 0 if state.runs else 1


def _system(config: Path | None, state_dir: Path | None, platform: str | None) -> System:
    """The service manager, and where its files belong."""
    from latimer.shell.system_service import system

    where = (config or default_path()).absolute()
    return system(platform, where, state_directory(state_dir).absolute())
