"""The command line. Each command imports what it needs, so that `--help` and `env` start fast.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys

import click

from latimer import __version__
from latimer.errors import ConfigError, LatimerError

from .catalog import config_group, models
from .completion import completion
from .connect import connect, disconnect, token
from .doctor import doctor
from .forget import forget
from .init import init
from .instance import logs, start, status, stop
from .probe import probe
from .providers import providers
from .run import run
from .service import service
from .serving import demo, env, serve
from .terminal import colour


def main() -> None:
    """The `latimer` program: runs a command and exits."""
    _in_utf8()
    gc.disable()  # while it starts, nearly nothing becomes garbage; the server enables it when it is ready
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A code page of the system's choice can not hold every model's words.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = app(prog_name="latimer", standalone_mode=False, color=colour())
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


def _in_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where the locale is another: names in arguments, files and variables are UTF-8.

    Python does so by itself in the locales C and POSIX, unless it is told not to.
    """
    if sys.platform != "win32" and sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from latimer.policy.claude_code import TESTED_VERSIONS  # noqa: PLC0415  # keeps `--help` fast

        click.echo(f"latimer {__version__}\ntested with Claude Code {' and '.join(TESTED_VERSIONS)}")
        ctx.exit()


class _InOrder(click.Group):
    """Lists its commands as they are written here, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def app() -> None:
    """Run Claude Code on any model: the Anthropic Messages API in front of any provider."""


for _command in (
    run,
    serve,
    start,
    stop,
    status,
    logs,
    demo,
    init,
    probe,
    connect,
    disconnect,
    service,
    env,
    token,
    models,
    providers,
    doctor,
    forget,
    config_group,
    completion,
):
    app.add_command(_command)


def _failed(message: str, code: int) -> int:
    click.echo(f"latimer: {message}", err=True)
    return code
