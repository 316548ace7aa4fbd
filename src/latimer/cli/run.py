"""`latimer run`: Claude Code against a private proxy inside this process."""

# Imports inside the command keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    API_KEY_ENV,
    CLAUDE,
    CONFIG,
    DIALECT,
    LOG_FILE,
    LOG_LEVEL,
    MODEL,
    PROMPT_LOG,
    STATE_DIR,
    UPSTREAM,
    WINDOW,
    in_loop,
    learned,
    log_to,
    options,
    source,
    state_directory,
    tell_of_prompt_log,
)
from .terminal import progress

if TYPE_CHECKING:
    from latimer.policy.claude_code import Limits
    from latimer.policy.config import Config
    from latimer.policy.presets import Overlay
    from latimer.shell.reload import Source

_NOTHING: Mapping[str, Overlay] = {}


@click.command(short_help="Run Claude Code against a private proxy that ends with it.")
@click.argument("claude_arguments", nargs=-1, metavar="[-- CLAUDE ARGS...]")
@options(
    CONFIG,
    UPSTREAM,
    MODEL,
    DIALECT,
    API_KEY_ENV,
    WINDOW,
    CLAUDE,
    STATE_DIR,
    LOG_LEVEL,
    LOG_FILE,
    PROMPT_LOG,
)
def run(
    claude_arguments: tuple[str, ...],
    config: Path | None,
    claude: str,
    state_dir: Path | None,
    log_level: str,
    log_file: Path | None,
    **said: Any,
) -> int:
    """Run Claude Code against a private proxy that ends with it. Everything after -- goes to Claude Code.

    Example: latimer run --model provider/model -- -p "say hello"
    """
    from latimer.launch import AUTO_MODE_IS_OFF, find_claude, needs_manual_mode

    told = source(config, said)
    settings = told.load()
    program = str(find_claude(claude))
    manual = sys.stdin.isatty() and needs_manual_mode(settings, claude_arguments)
    if manual:
        click.echo(f"latimer: {AUTO_MODE_IS_OFF}", err=True)
    tell_of_prompt_log(settings)
    # Claude Code draws on the whole terminal, so nothing else may write there.
    log_to(log_file or Path(os.devnull), log_level)
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    session = _Session(settings, program, claude_arguments, manual, bool(said.get("model")))
    code = in_loop(session.run, told, state_directory(state_dir))
    if errors.last:
        where = f"see {log_file}" if log_file else "see them all with --log-file FILE (LATIMER_LOG_FILE)"
        number = f"{errors.count} internal error{'s' if errors.count > 1 else ''}"
        click.echo(f"latimer: {number} while it ran, the last: {errors.last}; {where}", err=True)
    return code


class _Errors(logging.Handler):
    """Counts what went wrong inside the proxy, to be told once the screen is free again."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.last = record.getMessage().splitlines()[0]


class _Session:
    """One Claude Code with its proxy. `pinned`: `--model` says which model the session begins with."""

    def __init__(self, settings: Config, program: str, arguments: tuple[str, ...], manual: bool, pinned: bool) -> None:
        self._settings = settings
        self._program = program
        self._arguments = arguments
        self._manual = manual
        self._pinned = pinned

    async def run(self, given: Source, state: Path) -> int:
        """Start the proxy on a free port with a token of its own, and Claude Code against it."""
        import secrets

        from msgspec.structs import replace

        from latimer.launch import claude_environment, run_claude, settings_arguments
        from latimer.policy.config import LITERAL
        from latimer.policy.routing import tier_id
        from latimer.shell.service import running

        token = secrets.token_urlsafe(32)

        def kept_private(settings: Config) -> Config:
            server = replace(settings.server, host="127.0.0.1", port=0, token=f"{LITERAL}{token}")
            return replace(settings, server=server)

        private = kept_private(self._settings)
        async with running(private, state, source=given.through(kept_private)) as url:
            sizes = await asked_limits(private, learned(private, state))
            each = self._tells_each(sizes)
            environment = claude_environment(url, token, private, sizes, os.environ, each)
            if self._pinned:
                # It counts more than the model that a former session left in settings.json.
                environment["ANTHROPIC_MODEL"] = tier_id(private, "opus")
            told = settings_arguments(self._arguments, sizes, each, self._manual)
            return await run_claude([self._program, *told, *self._arguments], environment)

    def _tells_each(self, sizes: Limits) -> bool:
        """Whether this Claude Code can be told a window for each model, and needs to be."""
        from latimer.launch import version_of
        from latimer.policy.claude_code import says, takes_each_window

        needed = sizes.differ and not says(self._arguments, "--settings")
        return needed and takes_each_window(version_of(self._program))


async def asked_limits(settings: Config, known: Mapping[str, Overlay] = _NOTHING) -> Limits:
    """`limits` of the configuration, with the upstreams asked for windows that are not known."""
    from latimer.policy.claude_code import limits
    from latimer.policy.routing import TIERS, tier_route
    from latimer.shell.models import ask_each

    routes = {route.name: route for tier in TIERS if (route := tier_route(settings, tier, known))}
    unknown = [route for route in routes.values() if not route.profile.request.context_window]
    with progress(f"asking for the context window of {', '.join(route.name for route in unknown)}"):
        told = await ask_each(unknown)
    answers = {route.name: (told.context_window, told.max_output) for route, told in zip(unknown, told, strict=True)}
    found = limits(settings, known, answers)
    if not found.context_window and unknown:
        click.echo(
            f"latimer: the context window of {unknown[0].name} is unknown, so Claude Code assumes 200k tokens; "
            "set it with --context-window N (LATIMER_CONTEXT_WINDOW)",
            err=True,
        )
    return found
