"""The commands that serve: run, serve, demo, env."""

# Imports inside the commands are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latimer.errors import ConfigError, LatimerError

from .options import (
    API_KEY_ENV,
    AS_JSON,
    CLAUDE,
    CONFIG,
    DIALECT,
    GGUF,
    HOST,
    LOG_FILE,
    LOG_LEVEL,
    MODEL,
    PORT,
    SHELL,
    STATE_DIR,
    TOKEN_ENV,
    UPSTREAM,
    WINDOW,
    WORKERS,
    as_json,
    in_loop,
    learned,
    load,
    log_to,
    options,
    state_directory,
)

if TYPE_CHECKING:
    from latimer.policy.config import Config
    from latimer.policy.presets import Overlay

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
    from latimer.launch import find_claude

    settings = load(config, said)
    program = str(find_claude(claude))
    # Claude Code draws on the whole terminal, so nothing else may write there.
    log_to(log_file or Path(os.devnull), log_level)
    command = [program, *_permission_arguments(settings, claude_arguments), *claude_arguments]
    return in_loop(_run, settings, command, state_directory(state_dir))


@click.command(short_help="Run the proxy in the foreground.")
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
    WORKERS,
    STATE_DIR,
    LOG_LEVEL,
    LOG_FILE,
)
def serve(
    config: Path | None, workers: int, state_dir: Path | None, log_level: str, log_file: Path | None, **said: Any
) -> int:
    """Run the proxy in the foreground. When it is ready, one line on standard output says where it listens."""
    from latimer.launch import raise_file_limit

    settings = load(config, said, seed=True)
    log_to(log_file, log_level)
    raise_file_limit()
    if workers > 1:
        return _serve_with(workers, settings, state_directory(state_dir))
    return in_loop(_serve, settings, state_directory(state_dir))


@click.command(short_help="Ask Claude Code on a small model inside this machine.")
@click.argument("question", default="")
@options(GGUF, AS_JSON)
def demo(question: str, gguf: Path | None, json: bool) -> int:
    """Ask Claude Code on a small model inside this machine: no key, no account."""
    from latimer.demo import PROMPT, run_demo

    return run_demo(question or PROMPT, gguf=gguf, as_json=json)


@click.command(short_help="Print the environment that Claude Code needs.")
@options(
    CONFIG,
    UPSTREAM,
    MODEL,
    HOST,
    PORT,
    TOKEN_ENV,
    WINDOW,
    STATE_DIR,
    SHELL,
)
def env(config: Path | None, state_dir: Path | None, shell: str, **said: Any) -> None:
    """Print the environment that Claude Code needs for `latimer serve` with the same options.

    In a POSIX shell: eval "$(latimer env)".
    """
    from latimer import launch
    from latimer.shell.secrets import resolve

    settings = load(config, said, seed=True)
    token = resolve(settings.server.token, os.environ)
    limits = _limits(settings, learned(settings, state_dir))
    variables = launch.claude_variables(_address(settings), token, settings, *limits)
    removed = [name for name in launch.conflicting(os.environ) if name not in variables]
    click.echo(_for_shell(shell, variables, removed))


async def _serve(settings: Config, state: Path) -> int:
    """Listen until SIGINT (130) or SIGTERM (0)."""
    from latimer.launch import until_signal
    from latimer.shell.server import running

    with until_signal() as stopped:
        try:
            async with running(settings, state) as url:
                _announce(url)
                return await stopped
        except OSError as error:
            raise _listen_error(settings, error) from None


def _serve_with(workers: int, settings: Config, state: Path) -> int:
    """`_serve` in several processes."""
    if not hasattr(os, "fork"):
        raise ConfigError("--workers: this system cannot fork processes, so Latimer runs in one; leave it out")
    from latimer.shell.workers import bind, supervise

    try:
        sockets = bind(settings.server.host, settings.server.port)
    except OSError as error:
        raise _listen_error(settings, error) from None
    return supervise(settings, state, workers, sockets, _announce)


def _announce(url: str) -> None:
    click.echo(f"latimer: listening on {url}")
    sys.stdout.flush()


def _listen_error(settings: Config, error: OSError) -> LatimerError:
    server = settings.server
    where = f"port {server.port} on {server.host}"
    choose = "choose another with --port N (LATIMER_PORT, or port under [server]); --port 0 takes any free one"
    if error.errno == errno.EADDRINUSE:
        return LatimerError(f"{where} is in use; {choose}")
    if error.errno == errno.EACCES:
        return LatimerError(f"{where} needs rights that this user does not have; {choose}")
    if error.errno == errno.EADDRNOTAVAIL:
        return LatimerError(
            f"this machine has no address {server.host}; change --host (LATIMER_HOST, or host under [server])"
        )
    return LatimerError(f"{where}: {error.strerror or error}")


async def _run(settings: Config, command: list[str], state: Path) -> int:
    """Start the proxy on a free port with a token of its own, and Claude Code against it."""
    import secrets

    from msgspec.structs import replace

    from latimer.launch import claude_environment, run_claude
    from latimer.policy.config import LITERAL
    from latimer.shell.server import running

    token = secrets.token_urlsafe(32)
    server = replace(settings.server, host="127.0.0.1", port=0, token=f"{LITERAL}{token}")
    private = replace(settings, server=server)
    async with running(private, state) as url:
        window, most = await _asked_limits(private, learned(private, state))
        environment = claude_environment(url, token, private, window, most, os.environ)
        return await run_claude(command, environment)


def _permission_arguments(settings: Config, arguments: tuple[str, ...]) -> tuple[str, ...]:
    from latimer.launch import AUTO_MODE_IS_OFF, permission_arguments

    more = permission_arguments(settings, arguments) if sys.stdin.isatty() else ()
    if more:
        click.echo(f"latimer: {AUTO_MODE_IS_OFF}", err=True)
    return more


def _limits(settings: Config, known: Mapping[str, Overlay]) -> tuple[int, int]:
    """The smallest known context window and output limit of the tiers' models, each 0 when none is known."""
    from latimer.policy.routing import TIERS, tier_route

    rules = [route.profile.request for tier in TIERS if (route := tier_route(settings, tier, known))]
    return _least(rule.context_window for rule in rules), _least(rule.max_output for rule in rules)


async def _asked_limits(settings: Config, known: Mapping[str, Overlay] = _NOTHING) -> tuple[int, int]:
    """`_limits`, with the upstreams asked for windows that are not known."""
    from latimer.policy.routing import TIERS, tier_route
    from latimer.shell.models import ask_each

    routes = {route.name: route for tier in TIERS if (route := tier_route(settings, tier, known))}
    unknown = [route for route in routes.values() if not route.profile.request.context_window]
    told = await ask_each(unknown)
    window, most = _limits(settings, known)
    window = _least([window, *(answer.context_window for answer in told)])
    most = _least([most, *(answer.max_output for answer in told)])
    if not window and unknown:
        click.echo(
            f"latimer: the context window of {unknown[0].name} is unknown, so Claude Code assumes 200k tokens; "
            "set it with --context-window N (LATIMER_CONTEXT_WINDOW)",
            err=True,
        )
    return window, most


def _least(numbers: Iterable[int]) -> int:
    return min((number for number in numbers if number), default=0)


def _address(settings: Config) -> str:
    server = settings.server
    if server.port == 0:
        raise ConfigError("port 0 is a different one at each start; give `latimer env` the real one with --port N")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)  # noqa: S104
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _for_shell(shell: str, variables: dict[str, str], removed: list[str]) -> str:
    import shlex

    if shell == "json":
        return as_json(variables)
    if shell == "powershell":
        lines = [f"Remove-Item Env:{name}" for name in removed]
        quoted = {name: value.replace("'", "''") for name, value in variables.items()}
        return "\n".join([*lines, *(f"$env:{name} = '{value}'" for name, value in quoted.items())])
    if shell == "fish":
        lines = [f"set -e {name}" for name in removed]
        quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in variables.items()}
        return "\n".join([*lines, *(f"set -gx {name} '{value}'" for name, value in quoted.items())])
    lines = [f"unset {name}" for name in removed]
    return "\n".join([*lines, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items())])
