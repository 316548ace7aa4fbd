"""The commands that serve: serve, demo, env."""

# Imports inside the commands are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latimer.errors import ConfigError, LatimerError

from .options import (
    API_KEY_ENV,
    AS_JSON,
    CONFIG,
    DIALECT,
    GGUF,
    HOST,
    LOG_FILE,
    LOG_LEVEL,
    MODEL,
    PORT,
    PROMPT_LOG,
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
    source,
    state_directory,
    tell_of_prompt_log,
)

if TYPE_CHECKING:
    from latimer.policy.config import Config
    from latimer.shell.instance import InstanceFiles
    from latimer.shell.worker import Job

SERVE = (
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
    PROMPT_LOG,
)
BACKGROUND = "LATIMER_BACKGROUND"
"""Set by `latimer start` for the process that it starts."""


@click.command(short_help="Run the proxy in the foreground.")
@options(*SERVE)
def serve(
    config: Path | None, workers: int, state_dir: Path | None, log_level: str, log_file: Path | None, **said: Any
) -> int:
    """Run the proxy in the foreground. When it is ready, one line on standard output says where it listens.

    SIGTERM and Ctrl-C stop it once open requests have ended, a second one at once. When its configuration file changes,
    and on SIGHUP, it reads it again.
    """
    import time

    from latimer.launch import raise_file_limit
    from latimer.shell.instance import Identity, claimed
    from latimer.shell.reload import Taken
    from latimer.shell.worker import Job

    told = source(config, said, seed=True)
    job = Job(told.load(), state_directory(state_dir), told, Identity.new(), Taken(1, time.time()))
    background = bool(os.environ.pop(BACKGROUND, ""))
    if log_file:
        tell_of_prompt_log(job.config)
    log_to(log_file, log_level)
    raise_file_limit()
    with claimed(job.state) as files:
        if background and files is None:
            raise LatimerError(f"another Latimer has begun to run meanwhile, or {job.state} cannot be written")
        ready = partial(_announce, job, files, log_file, background)
        if workers > 1:
            return _serve_with(workers, job, ready)
        return in_loop(_serve, job, ready)


@click.command(short_help="Ask Claude Code on a small model inside this machine.")
@click.argument("question", default="")
@options(GGUF, AS_JSON)
def demo(question: str, gguf: Path | None, json: bool) -> int:
    """Ask Claude Code on a small model inside this machine: no key, no account."""
    try:
        from latimer.demo import PROMPT, run_demo
    except ModuleNotFoundError as error:
        raise LatimerError(
            f"{error.name} is missing: the demo needs its extra. Run `python -m pip install 'latimer[demo]'`"
        ) from None

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
    from latimer.policy.claude_code import conflicting, limits
    from latimer.shell.secrets import resolve

    settings = load(config, said, seed=True)
    token = resolve(settings.server.token, os.environ)
    sizes = limits(settings, learned(settings, state_dir))
    variables = launch.claude_variables(address(settings), token, settings, sizes)
    removed = [name for name in conflicting(os.environ) if name not in variables]
    click.echo(_for_shell(shell, variables, removed))


async def _serve(job: Job, ready: Callable[[str], None]) -> int:
    """Listen until SIGINT (130) or SIGTERM (0)."""
    from latimer.shell.notify import STOPPING, notify
    from latimer.shell.service import running
    from latimer.shell.signals import heard

    with heard() as signals:
        try:
            async with running(job.config, job.state, identity=job.identity, source=job.source, signals=signals) as url:
                ready(url)
                code = await signals.stopped
                notify(STOPPING)
                return code
        except OSError as error:
            raise _listen_error(job, error) from None


def _serve_with(workers: int, job: Job, ready: Callable[[str], None]) -> int:
    """`_serve` in several processes."""
    if not hasattr(os, "fork"):
        raise ConfigError("--workers: this system cannot fork processes, so Latimer runs in one; leave it out")
    from latimer.shell.workers import bind, supervise

    try:
        sockets = bind(job.config.server.host, job.config.server.port)
    except OSError as error:
        raise _listen_error(job, error) from None
    return supervise(job, workers, sockets, ready)


def _announce(job: Job, files: InstanceFiles | None, log_file: Path | None, background: bool, url: str) -> None:
    """It is ready: tell the user, the service manager, and those who ask for the Latimer of this state directory."""
    from latimer.shell.instance import new_record
    from latimer.shell.notify import READY, notify

    log = logging.getLogger(__name__)
    if files is None:
        log.info("`latimer status` tells of another Latimer, which has %s", job.state)
    else:
        source_name = job.source.path if job.source.path.exists() else job.config.source
        try:
            files.write(new_record(job.identity, url, str(source_name), log_file, background))
        except OSError as error:
            log.warning("`latimer status` will not know of this one: %s: %s", files.path, error.strerror)
    click.echo(f"latimer: listening on {url}")
    sys.stdout.flush()
    notify(READY)
    if background:  # whoever waited for that line is gone
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


def _listen_error(job: Job, error: OSError) -> LatimerError:
    server = job.config.server
    where = f"port {server.port} on {server.host}"
    choose = "choose another with --port N (LATIMER_PORT, or port under [server]); --port 0 takes any free one"
    if error.errno == errno.EADDRINUSE:
        return LatimerError(f"{where} is in use by {_occupant(job)}; {choose}")
    if error.errno == errno.EACCES:
        return LatimerError(f"{where} needs rights that this user does not have; {choose}")
    if error.errno == errno.EADDRNOTAVAIL:
        return LatimerError(
            f"this machine has no address {server.host}; change --host (LATIMER_HOST, or host under [server])"
        )
    return LatimerError(f"{where}: {error.strerror or error}")


def _occupant(job: Job) -> str:
    """Who has the port, and what to do with it."""
    from latimer.shell.instance import InstanceFiles, who_listens

    server = job.config.server
    latimer = who_listens(server.host, server.port)
    if latimer is None:
        return f"another program (`lsof -i :{server.port}` names it)"
    record = InstanceFiles(job.state).read()
    ours = record is not None and record.identity.id == latimer.instance
    stop = "stop it with `latimer stop`" if ours else "stop it where it was started"
    return f"another Latimer ({latimer.version}): use that one (`latimer env`), {stop}"


def address(settings: Config) -> str:
    """The URL that clients on this machine reach a server of this configuration at. Raises ConfigError for port 0."""
    from latimer.shell.instance import host_in_url, reachable

    server = settings.server
    if server.port == 0:
        raise ConfigError("port 0 is a different one at each start; say which one it is with --port N (LATIMER_PORT)")
    return f"http://{host_in_url(reachable(server.host))}:{server.port}"


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
