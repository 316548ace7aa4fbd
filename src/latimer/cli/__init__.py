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
from .doctor import doctor
from .forget import forget
from .init import init
from .probe import probe
from .providers import providers
from .serving import demo, env, run, serve


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
    """Run Claude Code on any model: the Anthropic Messages API in front of any provider."""


for _command in (run, serve, demo, init, probe, env, models, providers, doctor, forget, config_group):
    app.add_command(_command)


def _failed(message: str, code: int) -> int:
    click.echo(f"latimer: {message}", err=True)
    return code
