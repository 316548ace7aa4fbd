"""The command line. Each command imports what it needs, so that `--help` and `env` start fast.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
"""

# Imports inside the commands are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import platformdirs

from latimer import __version__
from latimer.errors import ConfigError, LatimerError

if TYPE_CHECKING:
    from latimer.policy.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

FILE = click.Path(path_type=Path)
LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)
DIALECTS = click.Choice(["auto", "chat", "responses", "messages"])
SHELLS = click.Choice(["sh", "fish", "powershell", "json"])


def _option(name: str, text: str, **rest: Any) -> Decorator[Any]:
    """An option with its environment variable, LATIMER_<NAME>."""
    variable = f"LATIMER_{name.strip('-').replace('-', '_').upper()}"
    return click.option(name, help=text, envvar=variable, show_envvar=True, **rest)


CONFIG = _option(
    "--config", "Configuration file; by default config.toml in the user's folder.", type=FILE, metavar="FILE"
)
UPSTREAM = _option("--upstream", "Base URL of an OpenAI-compatible API, as its provider prints it.", metavar="URL")
MODEL = _option("--model", "The model that every id goes to: one of --upstream, or provider/model.", metavar="NAME")
DIALECT = _option("--dialect", "What --upstream speaks: auto or chat.", type=DIALECTS, metavar="NAME")
API_KEY_ENV = _option("--api-key-env", "Variable that holds the key of --upstream.", metavar="VAR")
HOST = _option("--host", "Address to listen on; 127.0.0.1 unless said otherwise.", metavar="ADDRESS")
PORT = _option("--port", "Port; 4002 unless said otherwise, 0 for any free one.", type=int, metavar="N")
TOKEN_ENV = _option(
    "--token-env", "Variable that holds the token clients must show; LATIMER_TOKEN where it is set.", metavar="VAR"
)
WINDOW = _option(
    "--context-window", "Tokens that the models take, prompt and answer.", type=click.IntRange(min=1), metavar="N"
)
LOG_LEVEL = _option(
    "--log-level", "debug, info, warning or error.", type=LEVELS, default="info", show_default=True, metavar="LEVEL"
)
LOG_FILE = _option("--log-file", "Where the log goes; serve writes to standard error.", type=FILE, metavar="FILE")
AS_JSON = _option("--json", "Write JSON.", is_flag=True)
CLAUDE = _option(
    "--claude", "The Claude Code program; found by itself in the usual places.", default="", metavar="PATH"
)
GGUF = _option("--gguf", "Another model, as a GGUF file.", type=FILE, metavar="FILE")
SHELL = _option("--shell", "Whose syntax to write.", type=SHELLS, default="sh", show_default=True)


def _options(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Options in the order that --help shows them."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def main() -> None:
    """The `latimer` program: runs a command and exits."""
    gc.disable()  # while it starts, nearly nothing becomes garbage; the server enables it when it is ready
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A code page of the system's choice can not hold every model's words.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = app(prog_name="latimer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.ctx and error.ctx.info_name == "run":
            click.echo("Options of Claude Code go after --, as in: latimer run -- -p hello", err=True)
        code = error.exit_code
    except ConfigError as error:
        code = _failed(str(error), 2)
    except LatimerError as error:
        code = _failed(str(error), 1)
    except BrokenPipeError:
        # What reads the output has gone; a second failure when Python flushes it at exit would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (KeyboardInterrupt, click.Abort):
        code = 130
    sys.exit(code)


class _InOrder(click.Group):
    """Lists its commands as they are written here, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder)
@click.version_option(__version__, message="latimer %(version)s")
def app() -> None:
    """Run Claude Code on any model: the Anthropic Messages API in front of any OpenAI-compatible provider."""


@app.command(short_help="Run Claude Code against a private proxy that ends with it.")
@click.argument("claude_arguments", nargs=-1, metavar="[-- CLAUDE ARGS...]")
@_options(
    CONFIG,
    UPSTREAM,
    MODEL,
    DIALECT,
    API_KEY_ENV,
    WINDOW,
    CLAUDE,
    LOG_LEVEL,
    LOG_FILE,
)
def run(
    claude_arguments: tuple[str, ...],
    config: Path | None,
    claude: str,
    log_level: str,
    log_file: Path | None,
    **said: Any,
) -> int:
    """Run Claude Code against a private proxy that ends with it. Everything after -- goes to Claude Code.

    Example: latimer run --model provider/model -- -p "say hello"
    """
    from latimer.launch import find_claude

    settings = _load(config, said)
    program = str(find_claude(claude))
    # Claude Code draws on the whole terminal, so nothing else may write there.
    _log_to(log_file or Path(os.devnull), log_level)
    return _in_loop(_run, settings, [program, *_permission_arguments(settings, claude_arguments), *claude_arguments])


@app.command(short_help="Run the proxy in the foreground.")
@_options(CONFIG, UPSTREAM, MODEL, DIALECT, API_KEY_ENV, HOST, PORT, TOKEN_ENV, WINDOW, LOG_LEVEL, LOG_FILE)
def serve(config: Path | None, log_level: str, log_file: Path | None, **said: Any) -> int:
    """Run the proxy in the foreground. When it is ready, one line on standard output says where it listens."""
    settings = _load(config, said, seed=True)
    _log_to(log_file, log_level)
    return _in_loop(_serve, settings)


@app.command(short_help="Ask Claude Code on a small model inside this machine.")
@click.argument("question", default="")
@_options(GGUF, AS_JSON)
def demo(question: str, gguf: Path | None, json: bool) -> int:
    """Ask Claude Code on a small model inside this machine: no key, no account."""
    from latimer.demo import PROMPT, run_demo

    return run_demo(question or PROMPT, gguf=gguf, as_json=json)


@app.command(short_help="Print the environment that Claude Code needs.")
@_options(
    CONFIG,
    UPSTREAM,
    MODEL,
    HOST,
    PORT,
    TOKEN_ENV,
    WINDOW,
    SHELL,
)
def env(config: Path | None, shell: str, **said: Any) -> None:
    """Print the environment that Claude Code needs for `latimer serve` with the same options.

    In a POSIX shell: eval "$(latimer env)".
    """
    from latimer import launch
    from latimer.shell.secrets import resolve

    settings = _load(config, said, seed=True)
    token = resolve(settings.server.token, os.environ)
    variables = launch.claude_variables(_address(settings), token, settings, *_limits(settings))
    removed = [name for name in launch.conflicting(os.environ) if name not in variables]
    click.echo(_for_shell(shell, variables, removed))


@app.command(short_help="Show which model answers for which id.")
@_options(CONFIG, UPSTREAM, MODEL, AS_JSON)
def models(config: Path | None, json: bool, **said: Any) -> None:
    """Show which model answers for which id."""
    from latimer.policy.catalog import picker_models

    settings = _load(config, said, seed=True)
    if json:
        click.echo(_json({"routes": settings.routes, "models": picker_models(settings)}))
        return
    width = max(len(key) for key in settings.routes)
    for key, chain in settings.routes.items():
        click.echo(f"{key:<{width}}  {', then '.join(chain)}")


@app.group("config")
def config_group() -> None:
    """The configuration file."""


@config_group.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from latimer.policy.config import json_schema

    click.echo(_json(json_schema()))


# --- what the commands share ---


def _default_path() -> Path:
    return platformdirs.user_config_path("latimer", appauthor=False) / "config.toml"


def _load(path: Path | None, said: dict[str, Any], seed: bool = False) -> Config:
    """The configuration of a file (the user's own unless named) under the flags. `seed`: the seed's variables count."""
    from latimer.policy import config

    flags = config.Flags(**{name: value for name, value in said.items() if value is not None})
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
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    try:
        handler = logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError(f"--log-file: {path} could not be opened: {error.strerror}") from None
    logging.basicConfig(level=level.upper(), format=layout, handlers=[handler])


def _in_loop(work: Callable[..., Coroutine[Any, Any, int]], *arguments: Any) -> int:
    from latimer.launch import run_loop

    return run_loop(work(*arguments))


async def _serve(settings: Config) -> int:
    """Listen until SIGINT (130) or SIGTERM (0)."""
    from latimer.launch import until_signal
    from latimer.shell.server import running

    with until_signal() as stopped:
        try:
            async with running(settings) as url:
                click.echo(f"latimer: listening on {url}")
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


def _permission_arguments(settings: Config, arguments: tuple[str, ...]) -> tuple[str, ...]:
    from latimer.launch import AUTO_MODE_IS_OFF, permission_arguments

    more = permission_arguments(settings, arguments) if sys.stdin.isatty() else ()
    if more:
        click.echo(f"latimer: {AUTO_MODE_IS_OFF}", err=True)
    return more


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
        return _json(variables)
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


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _failed(message: str, code: int) -> int:
    click.echo(f"latimer: {message}", err=True)
    return code
