"""The commands for a Latimer in the background: start, stop, status, logs."""

# Imports inside the commands keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from latimer.errors import ConfigError, LatimerError

from .options import AS_JSON, STATE_DIR, as_json, option, options, state_directory
from .serving import BACKGROUND, SERVE, serve

if TYPE_CHECKING:
    from latimer.shell.instance import Found
    from latimer.shell.status import Status

START_SECONDS = 90.0
"""How long a start may take: commands that give keys may take 30 s each."""
CONFIG_FAULT = 2
"""The exit code when the configuration is wrong."""
LEAVE_SECONDS = 8.0
"""How long a Latimer may take to end, beyond its `server.shutdown_seconds`."""
LOOK_SECONDS = 0.3
"""How often a log is looked at for more."""
_OWN = frozenset({"state_dir", "log_file"})
"""Options of `serve` that `start` gives it in any case."""
LINES = option("--lines", "How many lines to print.", type=click.IntRange(min=0), default=50, show_default=True)
FOLLOW = option("--follow", "Go on printing what is written, until Ctrl-C.", is_flag=True)


@click.command(short_help="Run the proxy in the background.")
@options(*SERVE, AS_JSON)
@click.pass_context
def start(context: click.Context, /, json: bool, state_dir: Path | None, log_file: Path | None, **said: Any) -> int:
    """Run the proxy in the background, and say where it listens once it does. It takes the options of `latimer serve`.

    Its log is latimer.log in the state folder, of at most twice 10 MB. `latimer status` shows how it does, `latimer
    stop` ends it. After a restart of the machine it does not run by itself.
    """
    from latimer.shell.instance import LOG, find

    del said  # they are passed on as they were written
    state = state_directory(state_dir).absolute()
    found = find(state)
    if found.alive:
        raise LatimerError(_runs_already(found, state))
    log = (log_file or state / LOG).absolute()
    arguments = [*_passed_on(context), "--state-dir", str(state), "--log-file", str(log)]
    _start(arguments, log)
    record = find(state).record
    if record is None:
        raise LatimerError(f"it has ended again; its log is {log}")
    if json:
        click.echo(as_json({"url": record.url, "pid": record.identity.pid, "log": str(log)}))
    else:
        click.echo(f"latimer: started at {record.url} (process {record.identity.pid}); its log is {log}")
    return 0


@click.command(short_help="Stop the Latimer of the state folder.")
@options(STATE_DIR, AS_JSON)
def stop(state_dir: Path | None, json: bool) -> None:
    """Stop the Latimer of the state folder, once its open requests have ended.

    Only a process that proves to be that Latimer is stopped. When none runs, there is nothing to do.
    """
    from latimer.shell.instance import InstanceFiles, find

    state = state_directory(state_dir)
    found = find(state)
    if found.record is None or found.status is None:
        if found.alive:
            raise LatimerError(f"{found.why}. Try again, or end that process yourself")
        _say(json, {"stopped": False, "why": found.why}, f"latimer: not running{_because(found)}")
        return
    record = found.record
    os.kill(record.identity.pid, signal.SIGTERM)
    deadline = time.monotonic() + _status(found).shutdown_seconds + LEAVE_SECONDS
    files = InstanceFiles(state)
    while files.held():
        if time.monotonic() > deadline:
            raise LatimerError(f"process {record.identity.pid} has been asked to stop and does not; see {record.log}")
        time.sleep(0.05)
    _say(json, {"stopped": True, "pid": record.identity.pid}, f"latimer: stopped (process {record.identity.pid})")


@click.command(short_help="Show what the Latimer of the state folder does.")
@options(STATE_DIR, AS_JSON)
def status(state_dir: Path | None, json: bool) -> int:
    """Show whether the Latimer of the state folder runs, where, by which configuration, and how its upstreams do.

    The exit code is 1 when it does not run.
    """
    from latimer.shell.instance import find
    from latimer.shell.status import lines

    found = find(state_directory(state_dir))
    if found.record is None or found.status is None:
        _say(json, {"running": False, "why": found.why}, f"latimer: not running{_because(found)}")
        return 1
    record = found.record
    if json:
        import msgspec

        more = {"running": True, "url": record.url, "log": record.log, "background": record.background}
        click.echo(as_json({**more, **msgspec.json.decode(found.status)}))
        return 0
    for line in lines(_status(found), record):
        click.echo(line)
    return 0


@click.command(short_help="Print the log of a Latimer in the background.")
@options(LINES, FOLLOW, STATE_DIR)
def logs(lines: int, follow: bool, state_dir: Path | None) -> None:
    """Print the end of the log of the Latimer that `latimer start` has started, or of the last one."""
    from latimer.shell.instance import LOG, InstanceFiles

    state = state_directory(state_dir)
    record = InstanceFiles(state).read()
    if record and not record.log:
        raise LatimerError(
            f"process {record.identity.pid} writes its log to its terminal or its service manager; "
            "`latimer serve --log-file FILE` writes it to a file"
        )
    path = Path(record.log) if record else state / LOG
    try:
        file = path.open("rb")
    except OSError as error:
        raise LatimerError(f"{path} could not be opened: {error.strerror}. `latimer start` writes it") from None
    with file:
        for line in _tail(file, lines):
            click.echo(line, nl=False)
    if follow:
        with suppress(KeyboardInterrupt):
            for piece in _following(path):
                click.echo(piece, nl=False)


# --- starting ---


def _passed_on(context: click.Context) -> list[str]:
    """The command line's options; those of the environment reach the other process by themselves."""
    arguments: list[str] = []
    for parameter in serve.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE and parameter.name not in _OWN:
            arguments += [parameter.opts[0], str(context.params[parameter.name or ""])]
    return arguments


def _start(arguments: Sequence[str], log: Path) -> None:
    """Start `latimer serve`, and wait for its ready line. Raises LatimerError with its own words when it cannot run."""
    from latimer.shell.files import PRIVATE_FOLDER
    from latimer.shell.log_file import private

    try:
        log.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        errors = private(log)
    except OSError as error:
        raise LatimerError(f"{log} could not be opened: {error.strerror}") from None
    with errors:
        before = errors.seek(0, os.SEEK_END)
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "latimer", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, BACKGROUND: "1"},
            **_detached(),
        )
    assert child.stdout is not None
    with child.stdout:
        try:
            ready = _ready(child, child.stdout)
        except BaseException:  # Ctrl-C too: what nobody waits for shall not stay
            child.terminate()
            raise
        if not ready:
            code = child.wait()
            why = _last_words(log, before) or f"it ended with exit code {code}; see {log}"
            raise ConfigError(why) if code == CONFIG_FAULT else LatimerError(why)


def _detached() -> dict[str, Any]:
    """What keeps a process when the terminal goes away."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _ready(child: subprocess.Popen[bytes], output: IO[bytes]) -> bool:
    """Whether it says that it listens. Raises LatimerError when it says nothing for too long, and kills it then."""
    import threading

    late = threading.Event()

    def give_up() -> None:
        late.set()
        child.kill()  # and its output ends

    timer = threading.Timer(START_SECONDS, give_up)
    timer.start()
    try:
        line = output.readline()
    finally:
        timer.cancel()
    if late.is_set():
        raise LatimerError(f"it was not ready within {START_SECONDS:.0f} s; a key's `command:` may hang")
    return line != b""


def _last_words(log: Path, before: int) -> str:
    """What it said of why it could not start: the end of what it has written since then."""
    with log.open("rb") as file:
        file.seek(before)
        said = file.read().decode("utf-8", "replace").strip()
    _, found, error = f"\n{said}".rpartition("\nlatimer: ")
    return error if found else said


def _runs_already(found: Found, state: Path) -> str:
    if found.record is None or found.status is None:
        return f"{found.why}; see `latimer status`"
    record = found.record
    return (
        f"it runs already at {record.url} (process {record.identity.pid}). Stop it with `latimer stop`, or give this "
        f"one a state folder other than {state} with --state-dir FOLDER"
    )


# --- what the others share ---


def _status(found: Found) -> Status:
    import msgspec

    from latimer.shell.status import Status

    assert found.status is not None
    return msgspec.json.decode(found.status, type=Status)


def _because(found: Found) -> str:
    return f": {found.why}" if found.why else ""


def _say(json: bool, data: dict[str, Any], text: str) -> None:
    click.echo(as_json(data) if json else text)


def _tail(file: IO[bytes], lines: int) -> list[str]:
    """The last lines of a file."""
    from collections import deque

    return [line.decode("utf-8", "replace") for line in deque(file, lines)]


def _following(path: Path) -> Iterator[str]:
    """What is written to a log from now on, also when another file takes its place."""
    file = path.open("rb")
    file.seek(0, os.SEEK_END)
    while True:
        if piece := file.read():
            yield piece.decode("utf-8", "replace")
            continue
        with suppress(FileNotFoundError):
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.close()
                file = path.open("rb")
                continue
        time.sleep(LOOK_SECONDS)
