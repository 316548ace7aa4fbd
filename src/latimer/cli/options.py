"""What the commands share: options, the configuration they name, the log, and how results are written."""

# Imports inside functions keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import platformdirs

from latimer.errors import ConfigError

from .completion import complete_route

if TYPE_CHECKING:
    from latimer.policy.config import Config
    from latimer.policy.presets import Overlay
    from latimer.shell.reload import Source

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")
Decorator = Callable[[Command], Command]

FILE = click.Path(path_type=Path)
LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)
DIALECTS = click.Choice(["auto", "chat", "responses", "messages"])
SHELLS = click.Choice(["sh", "fish", "powershell", "json"])


def option(name: str, text: str, **rest: Any) -> Decorator[Any]:
    """An option with its environment variable, LATIMER_<NAME>."""
    variable = f"LATIMER_{name.strip('-').replace('-', '_').upper()}"
    return click.option(name, help=text, envvar=variable, show_envvar=True, **rest)


CONFIG = option(
    "--config", "Configuration file; by default config.toml in the user's folder.", type=FILE, metavar="FILE"
)
UPSTREAM = option("--upstream", "Base URL of an OpenAI-compatible API, as its provider prints it.", metavar="URL")
MODEL = option(
    "--model",
    "The model that every id goes to: one of --upstream, or provider/model.",
    metavar="NAME",
    shell_complete=complete_route,
)
DIALECT = option(
    "--dialect", "What --upstream speaks: auto, chat, responses or messages.", type=DIALECTS, metavar="NAME"
)
API_KEY_ENV = option("--api-key-env", "Variable that holds the key of --upstream.", metavar="VAR")
HOST = option("--host", "Address to listen on; 127.0.0.1 unless said otherwise.", metavar="ADDRESS")
PORT = option("--port", "Port; 4002 unless said otherwise, 0 for any free one.", type=int, metavar="N")
TOKEN_ENV = option(
    "--token-env", "Variable that holds the token clients must show; LATIMER_TOKEN where it is set.", metavar="VAR"
)
WINDOW = option(
    "--context-window", "Tokens that the models take, prompt and answer.", type=click.IntRange(min=1), metavar="N"
)
LOG_LEVEL = option(
    "--log-level", "debug, info, warning or error.", type=LEVELS, default="info", show_default=True, metavar="LEVEL"
)
LOG_FILE = option("--log-file", "Where the log goes; serve writes to standard error.", type=FILE, metavar="FILE")
PROMPT_LOG = option(
    "--prompt-log",
    "Write all prompts and answers to a file that only you can read.",
    metavar="FILE",
    # A background process may stand in another folder.
    callback=lambda _context, _option, name: str(Path(name).expanduser().absolute()) if name else name,
)
AS_JSON = option("--json", "Write JSON.", is_flag=True)
CLAUDE = option("--claude", "The Claude Code program; found by itself in the usual places.", default="", metavar="PATH")
WITHHOLD_KEYS = option(
    "--withhold-keys", "Keep the variables that hold the configuration's keys from Claude Code.", is_flag=True
)
GGUF = option("--gguf", "Another model, as a GGUF file.", type=FILE, metavar="FILE")
STATE_DIR = option(
    "--state-dir", "Where what is learned is kept; by default the user's state folder.", type=FILE, metavar="FOLDER"
)
WORKERS = option(
    "--workers",
    "Processes that share the port, one for each core to use.",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
)
SHELL = option("--shell", "Whose syntax to write.", type=SHELLS, default="sh", show_default=True)


def options(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Options in the order that --help shows them."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def default_path() -> Path:
    return platformdirs.user_config_path("latimer", appauthor=False) / "config.toml"


def state_directory(named: Path | None) -> Path:
    from latimer.shell.state import default_directory

    return named or default_directory()


def learned(settings: Config, state_dir: Path | None) -> dict[str, Overlay]:
    """By a route's name, what is kept of it."""
    from latimer.policy.knowledge import overlays
    from latimer.shell.state import Store

    return overlays(settings, Store(state_directory(state_dir)).read())


def load(path: Path | None, said: dict[str, Any], seed: bool = False) -> Config:
    """The configuration of a file (the user's own unless named) under the flags. `seed`: the seed's variables count."""
    return source(path, said, seed).load()


def source(path: Path | None, said: dict[str, Any], seed: bool = False) -> Source:
    """Where `load` gets it from, for those who load it more than once."""
    from latimer.policy import config
    from latimer.shell.reload import Source

    flags = config.Flags(**{name: value for name, value in said.items() if value is not None})
    if not flags.token_env and os.environ.get("LATIMER_TOKEN"):
        flags = config.over(flags, config.Flags(token_env="LATIMER_TOKEN"))  # noqa: S106
    if seed and path is None and not flags.upstream:
        flags = config.over(config.seed_flags(os.environ), flags)
    where = path or default_path()

    def read() -> str | None:
        return read_text(where, required=path is not None)

    def parse(text: str | None) -> Config:
        if text is None and not flags.upstream:
            raise ConfigError(config.no_provider_text(str(where)))
        return config.parse(text or "", "command line" if text is None else str(where), flags)

    return Source(where.absolute(), read, parse)


def read_text(path: Path, required: bool) -> str | None:
    """A configuration file's text; None when there is none and none is required. Raises ConfigError."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: there is no such file (--config, LATIMER_CONFIG)") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} could not be read: {why}") from None


def log_to(path: Path | None, level: str) -> None:
    from latimer.shell.discretion import Discreet

    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    try:
        handler = _log_handler(path)
    except OSError as error:
        raise ConfigError(f"--log-file: {path} could not be opened: {error.strerror}") from None
    handler.addFilter(Discreet())
    logging.basicConfig(level=level.upper(), format=layout, handlers=[handler])


def _log_handler(path: Path | None) -> logging.Handler:
    if path is None:
        return logging.StreamHandler(sys.stderr)
    if str(path) == os.devnull:
        return logging.NullHandler()
    from latimer.shell.log_file import LogFile

    return LogFile(path)


def tell_of_prompt_log(settings: Config) -> None:
    """On standard error, where the log does not go there."""
    if name := settings.server.prompt_log:
        click.echo(f"latimer: all prompts and answers are written to {name} (--prompt-log)", err=True)


def in_loop(work: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
    from latimer.launch import run_loop

    return run_loop(work(*arguments))


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table whose columns are as wide as their longest cell; the head is bold on a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells in (head, *rows):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        yield click.style(line, bold=True) if cells is head else line
