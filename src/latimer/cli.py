"""The command line. Each command imports what it needs, so that `--help` and `env` start fast.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
"""

# Imports inside the commands are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import platformdirs
import typer

from latimer import __version__
from latimer.errors import ConfigError, LatimerError

if TYPE_CHECKING:
    from latimer.policy.config import Config, Flags

app = typer.Typer(
    name="latimer",
    help="Run Claude Code on any model: the Anthropic Messages API in front of any OpenAI-compatible provider.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="The configuration file.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")


class Shell(StrEnum):
    """Whose syntax `env` writes."""

    sh = "sh"
    fish = "fish"
    powershell = "powershell"
    json = "json"


def _option(name: str, text: str, **rest: Any) -> Any:
    """An option with its environment variable, LATIMER_<NAME>."""
    return typer.Option(name, help=text, envvar=f"LATIMER_{name.strip('-').replace('-', '_').upper()}", **rest)


ConfigPath = Annotated[Path | None, _option("--config", "Configuration file.", metavar="FILE")]
Upstream = Annotated[str, _option("--upstream", "Base URL of an OpenAI-compatible API.", metavar="URL")]
Model = Annotated[str, _option("--model", "The model that answers for every id.", metavar="NAME")]
DialectName = Annotated[str, _option("--dialect", "What --upstream speaks: auto or chat.", metavar="NAME")]
ApiKeyEnv = Annotated[str, _option("--api-key-env", "Variable that holds the key of --upstream.", metavar="VAR")]
Host = Annotated[str, _option("--host", "Address to listen on.  [default: 127.0.0.1]", metavar="ADDRESS")]
Port = Annotated[int | None, _option("--port", "Port, 0 for any free one.  [default: 4002]", metavar="N")]
TokenEnv = Annotated[str, _option("--token-env", "Variable that holds the token clients must show.", metavar="VAR")]
Window = Annotated[int | None, _option("--context-window", "Tokens that the model can see.", metavar="N", min=1)]
LogLevel = Annotated[str, _option("--log-level", "debug, info, warning or error.", metavar="LEVEL")]
LogFile = Annotated[Path | None, _option("--log-file", "Where the log goes.", metavar="FILE")]
AsJson = Annotated[bool, _option("--json", "Write JSON.")]


def main() -> None:
    """The `latimer` program: runs a command and exits."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A code page of the system's choice can not hold every model's words.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        app()
    except ConfigError as error:
        _fail(str(error), 2)
    except LatimerError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        # What reads the output has gone; a second failure when Python flushes it at exit would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"latimer {__version__}")
        raise typer.Exit


@app.command()
def serve(
    config: ConfigPath = None,
    upstream: Upstream = "",
    model: Model = "",
    dialect: DialectName = "",
    api_key_env: ApiKeyEnv = "",
    host: Host = "",
    port: Port = None,
    token_env: TokenEnv = "",
    context_window: Window = None,
    log_level: LogLevel = "info",
    log_file: LogFile = None,
) -> None:
    """Run the proxy in the foreground. When it is ready, one line on standard output says where it listens."""
    from latimer.policy.config import Flags

    flags = Flags(upstream, model, dialect, api_key_env, host, port, token_env, context_window)
    settings = _load(config, flags, seed=True)
    _log_to(log_file, log_level)
    _in_loop(_serve, settings)


@app.command()
def run(
    claude_arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CLAUDE ARGS...]", show_default=False)
    ] = None,
    config: ConfigPath = None,
    upstream: Upstream = "",
    model: Model = "",
    dialect: DialectName = "",
    api_key_env: ApiKeyEnv = "",
    context_window: Window = None,
    claude: Annotated[str, _option("--claude", "The Claude Code program.", metavar="PATH")] = "",
    log_level: LogLevel = "info",
    log_file: LogFile = None,
) -> None:
    """Run Claude Code against a private proxy that ends with it. Everything after -- goes to Claude Code."""
    from latimer.launch import find_claude
    from latimer.policy.config import Flags

    flags = Flags(upstream, model, dialect, api_key_env, context_window=context_window)
    settings = _load(config, flags)
    program = str(find_claude(claude))
    # Claude Code draws on the whole terminal, so nothing else may write there.
    _log_to(log_file or Path(os.devnull), log_level)
    _in_loop(_run, settings, [program, *(claude_arguments or [])])


@app.command()
def demo(
    question: Annotated[str, typer.Argument(help="What to ask.", show_default=False)] = "",
    gguf: Annotated[Path | None, _option("--gguf", "Another model, as a GGUF file.", metavar="FILE")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask Claude Code on a small model inside this machine: no key, no account."""
    from latimer.demo import PROMPT, run_demo

    raise typer.Exit(run_demo(question or PROMPT, gguf=gguf, as_json=as_json))


@app.command()
def env(
    config: ConfigPath = None,
    upstream: Upstream = "",
    model: Model = "",
    host: Host = "",
    port: Port = None,
    token_env: TokenEnv = "",
    context_window: Window = None,
    shell: Annotated[Shell, _option("--shell", "Whose syntax to write.")] = Shell.sh,
) -> None:
    """Print the environment that Claude Code needs for `latimer serve` with this configuration."""
    from latimer import launch
    from latimer.policy.config import Flags
    from latimer.shell.secrets import resolve

    flags = Flags(upstream, model, host=host, port=port, token_env=token_env, context_window=context_window)
    settings = _load(config, flags, seed=True)
    token = resolve(settings.server.token, os.environ)
    variables = launch.claude_variables(_address(settings), token, settings, *_limits(settings))
    removed = [name for name in launch.conflicting(os.environ) if name not in variables]
    typer.echo(_for_shell(shell, variables, removed))


@app.command()
def models(config: ConfigPath = None, upstream: Upstream = "", model: Model = "", as_json: AsJson = False) -> None:
    """Show which model answers for which id."""
    from latimer.policy.catalog import picker_models
    from latimer.policy.config import Flags

    settings = _load(config, Flags(upstream, model), seed=True)
    if as_json:
        typer.echo(json.dumps({"routes": settings.routes, "models": picker_models(settings)}, indent=2))
        return
    width = max(len(key) for key in settings.routes)
    for key, chain in settings.routes.items():
        typer.echo(f"{key:<{width}}  {', then '.join(chain)}")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from latimer.policy.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


# --- what the commands share ---


def _default_path() -> Path:
    return platformdirs.user_config_path("latimer", appauthor=False) / "config.toml"


def _load(path: Path | None, flags: Flags, seed: bool = False) -> Config:
    """The configuration of a file (the user's own unless named) under the flags. `seed`: the seed's variables count."""
    from latimer.policy import config

    if not flags.token_env and os.environ.get("LATIMER_TOKEN"):
        flags = config.over(flags, config.Flags(token_env="LATIMER_TOKEN"))  # noqa: S106
    if seed and path is None and not flags.upstream:
        flags = config.over(config.seed_flags(os.environ), flags)
    where = path or _default_path()
    text = _read(where, required=path is not None)
    if text is None and not flags.upstream:
        raise ConfigError(config.no_provider_text(str(where)))
    return config.parse(text or "", "command line" if text is None else str(where), flags)


def _read(path: Path, required: bool) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: there is no such file (--config, LATIMER_CONFIG)") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} could not be read: {why}") from None


def _log_to(path: Path | None, level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigError(f"--log-level: {level!r} is none of debug, info, warning, error")
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    try:
        handler = logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError(f"--log-file: {path} could not be opened: {error.strerror}") from None
    logging.basicConfig(level=number, format=layout, handlers=[handler])


def _in_loop(work: Callable[..., Any], *arguments: Any) -> None:
    """Run a command's coroutine and exit with the code it returns."""
    from latimer.launch import run_loop

    try:
        code = run_loop(work(*arguments))
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


async def _serve(settings: Config) -> int:
    """Listen until SIGINT (130) or SIGTERM (0)."""
    from latimer.launch import until_signal
    from latimer.shell.server import running

    with until_signal() as stopped:
        try:
            async with running(settings) as url:
                typer.echo(f"latimer: listening on {url}")
                sys.stdout.flush()
                return await stopped
        except OSError as error:
            raise _listen_error(settings, error) from None


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


async def _run(settings: Config, command: list[str]) -> int:
    """Start the proxy on a free port with a token of its own, and Claude Code against it."""
    import secrets

    from msgspec.structs import replace

    from latimer.launch import claude_environment, run_claude
    from latimer.policy.config import LITERAL
    from latimer.shell.server import running

    token = secrets.token_urlsafe(32)
    server = replace(settings.server, host="127.0.0.1", port=0, token=f"{LITERAL}{token}")
    private = replace(settings, server=server)
    async with running(private) as url:
        window, most = await _asked_limits(private)
        environment = claude_environment(url, token, private, window, most, os.environ)
        return await run_claude(command, environment)


def _limits(settings: Config) -> tuple[int, int]:
    """The smallest known context window and output limit of the tiers' models, each 0 when none is known."""
    from latimer.policy.routing import TIERS, tier_route

    rules = [route.profile.request for tier in TIERS if (route := tier_route(settings, tier))]
    return _least(rule.context_window for rule in rules), _least(rule.max_output for rule in rules)


async def _asked_limits(settings: Config) -> tuple[int, int]:
    """`_limits`, with the upstreams asked for windows that the configuration does not name."""
    import asyncio

    from latimer.policy.routing import TIERS, tier_route
    from latimer.shell.engine import context_window

    routes = {route.name: route for tier in TIERS if (route := tier_route(settings, tier))}
    unknown = [route for route in routes.values() if not route.profile.request.context_window]
    answers = await asyncio.gather(*(context_window(route.provider, route.model) for route in unknown))
    window, most = _limits(settings)
    window = _least([window, *answers])
    if not window and unknown:
        typer.echo(
            f"latimer: the context window of {unknown[0].name} is unknown, so Claude Code assumes 200k tokens; "
            "set it with --context-window N (LATIMER_CONTEXT_WINDOW)",
            err=True,
        )
    return window, most


def _least(numbers: Any) -> int:
    return min((number for number in numbers if number), default=0)


def _address(settings: Config) -> str:
    server = settings.server
    if server.port == 0:
        raise ConfigError("port 0 is a different one at each start; give `latimer env` the real one with --port N")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)  # noqa: S104
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _for_shell(shell: Shell, variables: dict[str, str], removed: list[str]) -> str:
    import shlex

    if shell is Shell.json:
        return json.dumps(variables, indent=2)
    if shell is Shell.powershell:
        lines = [f"Remove-Item Env:{name}" for name in removed]
        quoted = {name: value.replace("'", "''") for name, value in variables.items()}
        return "\n".join([*lines, *(f"$env:{name} = '{value}'" for name, value in quoted.items())])
    if shell is Shell.fish:
        lines = [f"set -e {name}" for name in removed]
        quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in variables.items()}
        return "\n".join([*lines, *(f"set -gx {name} '{value}'" for name, value in quoted.items())])
    lines = [f"unset {name}" for name in removed]
    return "\n".join([*lines, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items())])


def _fail(message: str, code: int) -> None:
    typer.echo(f"latimer: {message}", err=True)
    sys.exit(code)
