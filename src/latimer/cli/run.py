"""`latimer run`: Claude Code against a private proxy inside this process."""

# Imports inside the command keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latimer.errors import ConfigError, Rejection

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
    WITHHOLD_KEYS,
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
    WITHHOLD_KEYS,
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

    withhold_keys = said.pop("withhold_keys")
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
    inherited = _without_keys(settings, os.environ) if withhold_keys else os.environ
    session = _Session(settings, program, claude_arguments, inherited, manual, bool(said.get("model")))
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

    def __init__(
        self,
        settings: Config,
        program: str,
        arguments: tuple[str, ...],
        inherited: Mapping[str, str],
        manual: bool,
        pinned: bool,
    ) -> None:
        self._settings = settings
        self._program = program
        self._arguments = arguments
        self._inherited = inherited
        self._manual = manual
        self._pinned = pinned

    async def run(self, given: Source, state: Path) -> int:
        """Start the proxy on a free port with a token of its own, and Claude Code against it."""
        import asyncio
        import secrets

        from latimer.launch import claude_environment, run_claude, settings_arguments
        from latimer.policy.config import private
        from latimer.policy.routing import tier_id
        from latimer.shell.service import running

        token = secrets.token_urlsafe(32)

        kept_private = partial(private, token=token)
        settings = kept_private(self._settings)
        async with running(settings, state, source=given.through(kept_private)) as url:
            sizes = await asked_limits(settings, learned(settings, state))
            each = await asyncio.to_thread(self._tells_each, sizes)  # it may wait for Claude Code to say its version
            environment = claude_environment(url, token, settings, sizes, self._inherited, each)
            if self._pinned:
                # It counts more than the model that a former session left in settings.json.
                environment["ANTHROPIC_MODEL"] = tier_id(settings, "opus")
            told = settings_arguments(self._arguments, sizes, each, self._manual)
            return await run_claude([self._program, *told, *self._arguments], environment)

    def _tells_each(self, sizes: Limits) -> bool:
        """Whether this Claude Code can be told a window for each model, and needs to be."""
        from latimer.launch import version_of
        from latimer.policy.claude_code import says, takes_each_window

        if not sizes.differ or says(self._arguments, "--settings"):
            return False
        with suppress(ConfigError):  # what is wrong with it is told when it is started
            return takes_each_window(version_of(self._program))
        return False


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
        if why := await _why_silent(settings, unknown[0].provider.name):
            click.echo(f"latimer: {why}", err=True)
        click.echo(
            f"latimer: the context window of {unknown[0].name} is unknown, so Claude Code assumes 200k tokens; "
            "set it with --context-window N (LATIMER_CONTEXT_WINDOW)",
            err=True,
        )
    return found


def _without_keys(settings: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that the configuration takes secrets from."""
    from latimer.policy.units import named_variables

    names = {name for group in named_variables(settings) for name in group}
    return {name: value for name, value in environ.items() if name not in names}


async def _why_silent(settings: Config, provider: str) -> str:
    """Why a provider told nothing, where that will fail the first request, too: '' when it only lists no models.

    Claude Code tries a dead address again for three minutes before it shows what is wrong with it.
    """
    import asyncio

    from latimer.shell.models import ASK_SECONDS
    from latimer.shell.setup import list_models

    try:
        async with asyncio.timeout(ASK_SECONDS):
            await list_models(settings, provider)
    except (Rejection, ConfigError) as error:
        return str(error)
    except TimeoutError:
        return f"{provider}: no answer within {ASK_SECONDS:g} s from {settings.providers[provider].base_url}"
    return ""
