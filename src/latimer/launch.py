"""Claude Code as a child process: where it is, what it must be told, and its exit code.

Each variable was tried with the real client; docs/claude-code.md says what it does with them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from msgspec import json

from latimer.errors import ConfigError
from latimer.policy.claude_code import (
    NO_PROXY_VARIABLES,
    PROXY_VARIABLES,
    Limits,
    conflicting,
    says,
    session_settings,
    variables,
    with_loopback,
)
from latimer.policy.config import Config
from latimer.shell.signals import handlers

Result = TypeVar("Result")

MOST_FILES = 65_536
"""Enough for 30,000 streams."""
VERSION_SECONDS = 20.0
"""How long `claude --version` may take: a cold start from a slow disk is several seconds."""
STOP_SECONDS = 5.0
"""Claude Code writes its session to the disk when it is told to end."""

INSTALL = (
    "Claude Code is not installed (no `claude` on PATH or in its usual places). Install it with one of:\n"
    "  npm install -g @anthropic-ai/claude-code\n"
    "  pip install claude-agent-sdk\n"
    "or name the program with --claude PATH (LATIMER_CLAUDE)"
)

NO_AUTO_MODE = {"disableAutoMode": "disable"}
"""Keeps the user's own default mode. `--permission-mode` would replace it, and leave auto mode within reach."""
AUTO_MODE_IS_OFF = (
    "auto mode is off, since no model reviews tool calls: name one with [auto_mode] classifier (docs/auto-mode.md), or "
    "choose yourself with -- --permission-mode MODE"
)
_CHOOSES_A_MODE = ("--permission-mode", "--dangerously-skip-permissions", "-p", "--print")
"""Without a screen auto mode is not the default, and nobody would read why it is off."""


def find_claude(named: str = "") -> Path:
    """The Claude Code program: the named one, else on PATH, in its usual places, or inside `claude_agent_sdk`.

    Raises ConfigError that says how to install it.
    """
    if named:
        found = shutil.which(str(Path(named).expanduser()))
        if found is None:
            raise ConfigError(f"--claude: {named} is not a program that can be run")
        return Path(found)
    on_path = shutil.which("claude")
    if on_path:
        return Path(on_path)
    for place in _usual_places():
        if place.is_file() and os.access(place, os.X_OK):
            return place
    raise ConfigError(INSTALL)


def settings_arguments(
    arguments: Sequence[str], sizes: Limits, each: bool = False, manual: bool = False
) -> tuple[str, ...]:
    """What Claude Code must be told on its command line besides the user's arguments: the sizes of the models, and
    with `manual` that there is no auto mode. Nothing where the user gives `--settings`: it takes only one.
    """
    if says(arguments, "--settings"):
        return ()
    settings = session_settings(sizes, each) | (NO_AUTO_MODE if manual else {})
    return ("--settings", json.encode(settings).decode())


def needs_manual_mode(config: Config, arguments: Sequence[str]) -> bool:
    """Whether auto mode, the default on a screen, would stand in the way.

    It needs a server that reviews tool calls; without one Claude Code refuses to run what matters.
    """
    return not config.auto_mode.classifier and not says(arguments, "--settings", *_CHOOSES_A_MODE)


def claude_environment(
    url: str, token: str, config: Config, sizes: Limits, base: Mapping[str, str], each: bool = False
) -> dict[str, str]:
    """The whole environment of a Claude Code that talks to Latimer at `url`, made from `base`.

    `each`: windows are told model by model, in `settings_arguments`.
    """
    removed = set(conflicting(base))
    environment = {name: value for name, value in base.items() if name not in removed}
    environment.update(claude_variables(url, token, config, sizes, each))
    environment.setdefault("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
    environment.update(_direct_loopback(environment))
    return environment


def claude_variables(url: str, token: str, config: Config, sizes: Limits, each: bool = False) -> dict[str, str]:
    """The variables of a session's environment, which win over the `env` block of a settings.json."""
    return {**variables(url, token, config, sizes, each), "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1"}


async def run_claude(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run Claude Code on this terminal until it ends. Returns its exit code, 128 + n after signal n.

    Whatever ends this before it ends, ends it too: it could do nothing without the proxy. Raises ConfigError when it
    can not be started.
    """
    with _signals_kept() as name_child, _terminal_kept():
        try:
            child = await asyncio.create_subprocess_exec(*command, env=dict(environment))
        except OSError as error:
            raise ConfigError(f"{command[0]} could not be started: {error.strerror}") from None
        name_child(child)
        try:
            code = await child.wait()
        finally:
            await _ended(child)
    return code if code >= 0 else 128 - code


def version_of(program: str) -> str:
    """What a Claude Code says of its version, such as `2.1.330 (Claude Code)`. Raises ConfigError when it says none."""
    try:
        done = subprocess.run(  # noqa: S603
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_SECONDS, check=False
        )
    except OSError as error:
        raise ConfigError(f"{program} could not be started: {error.strerror}. Install it anew") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{program} --version took more than {VERSION_SECONDS:g} s. Install it anew") from None
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode or not lines:
        raise ConfigError(f"{program} --version failed with exit code {done.returncode}. Install it anew")
    return lines[0]


def raise_file_limit() -> None:
    """As many open files as the system lets this process have: each stream takes two, and shells often allow 1024."""
    try:
        import resource  # noqa: PLC0415  # not on Windows, which has no such limit
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on uvloop, or on asyncio's own loop where there is none."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _usual_places() -> Iterator[Path]:
    suffix = ".exe" if sys.platform == "win32" else ""
    home = Path.home()
    yield home / ".local" / "bin" / f"claude{suffix}"
    yield home / ".claude" / "local" / f"claude{suffix}"
    if sys.platform == "win32":
        yield Path(os.environ.get("APPDATA", home)) / "npm" / "claude.cmd"
    else:
        yield from (home / ".npm-global" / "bin" / "claude", home / ".bun" / "bin" / "claude")
        yield from (Path("/opt/homebrew/bin/claude"), Path("/usr/local/bin/claude"))
    package = find_spec("claude_agent_sdk")
    if package and package.origin:
        yield Path(package.origin).parent / "_bundled" / f"claude{suffix}"


def _direct_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Claude Code sends requests to loopback through HTTP_PROXY too, unless NO_PROXY names it."""
    if environment.keys().isdisjoint(PROXY_VARIABLES):
        return {}
    changed = {}
    for name in NO_PROXY_VARIABLES:
        known = [host.strip() for host in environment.get(name, "").split(",") if host.strip()]
        changed[name] = with_loopback(known)
    return changed


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Make sure that the child is gone."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """The terminal's modes as they were, in case Claude Code was killed while it had it in raw mode."""
    try:
        import termios  # noqa: PLC0415  # not on Windows
    except ImportError:
        yield
        return
    before = _modes(termios)
    try:
        yield
    finally:
        if before is not None and _modes(termios) not in (None, before):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _modes(termios: Any) -> list[Any] | None:
    """The terminal's modes; None where standard input is none, or this process is in the background and may not ask."""
    try:
        if os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
            return None
        modes: list[Any] = termios.tcgetattr(sys.stdin)
    except (OSError, ValueError, AttributeError, termios.error):
        return None
    return modes


@contextmanager
def _signals_kept() -> Iterator[Callable[[asyncio.subprocess.Process], None]]:
    """Ctrl-C and Ctrl-\\ reach the child from the terminal; what is sent to this process alone is passed on.

    Yields a function that names the child; what came before it was known is sent then.
    """
    children: list[asyncio.subprocess.Process] = []
    early: list[int] = []

    def ignore(*_: object) -> None: ...

    def pass_on(number: int, _: object = None) -> None:
        if not children:
            early.append(number)
        elif children[0].returncode is None:
            children[0].send_signal(number)

    def name(child: asyncio.subprocess.Process) -> None:
        children.append(child)
        for number in early:
            pass_on(number)

    # Handlers, not SIG_IGN, which a child would inherit.
    with handlers({"SIGINT": ignore, "SIGQUIT": ignore, "SIGTERM": pass_on, "SIGHUP": pass_on}):
        yield name
