"""Claude Code as a child process: where it is, what it must be told, and its exit code.

Each variable was tried with the real client; docs/claude-code.md says what it does with them.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from latimer.errors import ConfigError
from latimer.policy.config import Config
from latimer.policy.routing import TIERS, tier_id, tier_route

Result = TypeVar("Result")

LEAST_COMPACT_WINDOW = 100_000
"""Claude Code takes a smaller CLAUDE_CODE_AUTO_COMPACT_WINDOW for this number and warns."""
LONG_CONTEXT = 1_000_000
MOST_FILES = 65_536
"""Enough for 30,000 streams."""

INSTALL = (
    "Claude Code is not installed (no `claude` on PATH or in its usual places). Install it with one of:\n"
    "  npm install -g @anthropic-ai/claude-code\n"
    "  pip install claude-agent-sdk\n"
    "or name the program with --claude PATH (LATIMER_CLAUDE)"
)

NO_AUTO_MODE = ("--settings", '{"disableAutoMode":"disable"}')
"""Keeps the user's own default mode. `--permission-mode` would replace it, and leave auto mode within reach."""
AUTO_MODE_IS_OFF = (
    "auto mode is off, since no model reviews tool calls: name one with [auto_mode] classifier (docs/auto-mode.md), or "
    "choose yourself with -- --permission-mode MODE"
)
_CHOOSES_A_MODE = ("--permission-mode", "--dangerously-skip-permissions", "--settings", "-p", "--print")
"""Without a screen auto mode is not the default, and nobody would read why it is off."""

_CONFLICTING = re.compile(
    r"ANTHROPIC_.*|_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL"
    r"|CLAUDE_CODE_(USE_(ANTHROPIC_AWS|ANTHROPIC_GOOGLE_CLOUD|BEDROCK|FOUNDRY|GATEWAY|MANTLE|VERTEX)|SKIP_.*_AUTH"
    r"|OAUTH_.*|API_BASE_URL|API_KEY_FILE_DESCRIPTOR|GATEWAY_TOKEN.*|EXTRA_BODY|SUBAGENT_MODEL|WORKFLOW_SUBAGENT_MODEL"
    r"|AUTO_MODE_MODEL|BG_CLASSIFIER_MODEL|MODEL_CATALOG.*|PROVIDER_MANAGED_BY_HOST|DISABLE_1M_CONTEXT)|CLAUDECODE"
)
_NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")
_PROXY_NAMES = frozenset({"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"})
_LOOPBACK = ("127.0.0.1", "localhost")


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


def permission_arguments(config: Config, arguments: Sequence[str]) -> tuple[str, ...]:
    """What an interactive Claude Code must be told besides the user's arguments, so that its permission mode works.

    It starts in auto mode, which needs a server that reviews tool calls; without one it refuses to run what matters.
    """
    if config.auto_mode.classifier or any(argument.split("=")[0] in _CHOOSES_A_MODE for argument in arguments):
        return ()
    return NO_AUTO_MODE


def conflicting(environ: Mapping[str, str]) -> list[str]:
    """Variables that would take Claude Code past Latimer: other keys, other clouds, other models."""
    return sorted(name for name in environ if _CONFLICTING.fullmatch(name))


def claude_environment(
    url: str, token: str, config: Config, context_window: int, max_output: int, base: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of a Claude Code that talks to Latimer at `url`, made from `base`.

    `context_window` and `max_output` are in tokens, 0 when unknown.
    """
    removed = set(conflicting(base))
    environment = {name: value for name, value in base.items() if name not in removed}
    environment.update(claude_variables(url, token, config, context_window, max_output))
    environment.setdefault("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
    environment.update(_direct_loopback(environment))
    return environment


def claude_variables(url: str, token: str, config: Config, context_window: int, max_output: int) -> dict[str, str]:
    """The variables that point Claude Code at Latimer; a token is needed even when Latimer asks for none."""
    variables = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": token or "latimer",
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
        # Without it, the `env` block of a settings.json wins over all of these.
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
    }
    # Above 200,000 tokens it warns of this one, but without it, it calls the window a million and the model `…[1m]`.
    if context_window < LONG_CONTEXT:
        variables["CLAUDE_CODE_DISABLE_1M_CONTEXT"] = "1"
    if context_window:
        variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(context_window)
    if context_window >= LEAST_COMPACT_WINDOW:
        variables["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(context_window)
    most = max_output or _share_of(context_window)
    if most:
        variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(most)
    for tier in TIERS:
        variables.update(_tier_variables(config, tier))
    return variables


async def run_claude(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run Claude Code on this terminal until it ends. Returns its exit code, 128 + n after signal n.

    Raises ConfigError when it can not be started.
    """
    with _signals_kept() as name_child:
        try:
            child = await asyncio.create_subprocess_exec(*command, env=dict(environment))
        except OSError as error:
            raise ConfigError(f"{command[0]} could not be started: {error.strerror}") from None
        name_child(child)
        code = await child.wait()
    return code if code >= 0 else 128 - code


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


@contextmanager
def until_signal() -> Iterator[asyncio.Future[int]]:
    """A future that SIGTERM resolves to 0 and SIGINT to 130, the exit codes they stand for. Needs a running loop."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def finish(code: int) -> None:
        if not stopped.done():
            stopped.set_result(code)

    def stop(number: int, _: object) -> None:
        code = 0 if number == signal.SIGTERM else 130
        loop.call_soon_threadsafe(finish, code)

    with _handlers({"SIGINT": stop, "SIGTERM": stop}):
        yield stopped


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


def _share_of(context_window: int) -> int:
    """Claude Code would ask for 32,000 tokens of answer, and keep as many free, even where that is the whole window."""
    return context_window // 8 if context_window < LEAST_COMPACT_WINDOW else 0


def _tier_variables(config: Config, tier: str) -> dict[str, str]:
    route = tier_route(config, tier)
    if route is None:
        return {}
    name = f"ANTHROPIC_DEFAULT_{tier.upper()}_MODEL"
    return {
        name: tier_id(config, tier),
        f"{name}_NAME": route.model,
        f"{name}_DESCRIPTION": f"{tier.capitalize()} tier, {route.provider.name}, through Latimer",
    }


def _direct_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Claude Code sends requests to loopback through HTTP_PROXY too, unless NO_PROXY names it."""
    if not _PROXY_NAMES & environment.keys():
        return {}
    changed = {}
    for name in _NO_PROXY_NAMES:
        known = [host.strip() for host in environment.get(name, "").split(",") if host.strip()]
        changed[name] = ",".join([*known, *(host for host in _LOOPBACK if host not in known)])
    return changed


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
    with _handlers({"SIGINT": ignore, "SIGQUIT": ignore, "SIGTERM": pass_on, "SIGHUP": pass_on}):
        yield name


@contextmanager
def _handlers(named: Mapping[str, Any]) -> Iterator[None]:
    """Signal handlers for a while; signals that this system does not have are left out."""
    numbers = {getattr(signal, name): handler for name, handler in named.items() if hasattr(signal, name)}
    previous = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
