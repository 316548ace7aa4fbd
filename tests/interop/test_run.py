"""`latimer run` with the real Claude Code: what it shows on its screen, and what of the user's own settings holds."""

import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from latimer.policy.claude_code import TESTED_VERSIONS
from tests.interop.claude import NEWEST, OLDER, binary
from tests.scenarios.replies import Say
from tests.screen import Screen, screen
from tests.upstream import Upstream

SIZE = (110, 45)
CONFIG = """
[providers.acme]
base_url = "{url}"
[[providers.acme.models]]
match = "vast"
request.context_window = 1000000
[[providers.acme.models]]
match = "m"
request.context_window = 400000
[[providers.acme.models]]
match = "small"
request.context_window = 131072
[routes]
opus = "acme/vast"
sonnet = "acme/m"
haiku = "acme/small"
default = "acme/m"
special = "acme/extra"
"""
ELSEWHERE: Mapping[str, Any] = {
    "apiKeyHelper": "echo key-of-a-helper",
    "model": "claude-via-gone/model",
    "env": {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "ANTHROPIC_API_KEY": "sk-ant-of-the-settings",
        "ANTHROPIC_AUTH_TOKEN": "token-of-the-settings",
        "ANTHROPIC_MODEL": "model-of-the-settings",
        "ANTHROPIC_CUSTOM_HEADERS": "x-of-the-settings: 1",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "opus-of-the-settings",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "50000",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "111111",
        "HTTP_PROXY": "http://127.0.0.1:2",
    },
}
"""Settings of a user who has tried other things before."""
INHERITED = {
    "ANTHROPIC_API_KEY": "sk-ant-of-the-shell-0123456789",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
    "CLAUDE_CODE_USE_VERTEX": "1",
    "CLAUDECODE": "1",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which Claude Code has been started before, and trusts the project; signed in, too."""
    project = tmp_path / "home" / "project"
    (project.parent / ".claude").mkdir(parents=True)
    project.mkdir()
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    known = {"hasCompletedOnboarding": True, "theme": "dark", "projects": {str(project): trusted}}
    known["primaryApiKey"] = "sk-ant-of-the-console"
    (project.parent / ".claude.json").write_text(json.dumps(known))
    return project.parent


@pytest.fixture
def config(upstream: Upstream, tmp_path: Path) -> Path:
    upstream.play(lambda exchange: Say(f"{exchange.model} says hello."))
    path = tmp_path / "latimer.toml"
    path.write_text(CONFIG.format(url=upstream.url))
    return path


def variables(home: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LATIMER_STATE_DIR": str(home / "state"),
        "TMPDIR": str(home),
        "TERM": "xterm-256color",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",
        **more,
    }


def command(config: Path, *arguments: str, version: str = NEWEST) -> list[str]:
    program = ["--claude", str(binary(version))]
    return [sys.executable, "-m", "latimer", "run", "--config", str(config), *program, *arguments]


def printed(home: Path, config: Path, *arguments: str, version: str = NEWEST, **more: str) -> str:
    """What `latimer run … -- -p …` prints."""
    done = subprocess.run(
        command(config, *arguments, version=version),
        env=variables(home, **more), cwd=home / "project", capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_releases_that_are_named_are_those_that_are_tested() -> None:
    shown = [
        subprocess.run([binary(version), "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
        for version in (NEWEST, OLDER)
    ]
    assert tuple(each.split()[0] for each in shown) == TESTED_VERSIONS


def test_the_screen(home: Path, config: Path) -> None:
    """`/context` shows the right window, `/model` the routes by name, `/status` no conflict, whatever was there."""
    (home / ".claude" / "settings.json").write_text(json.dumps(ELSEWHERE))
    arguments = ["--", "--model", "sonnet"]
    with screen(command(config, *arguments), variables(home, **INHERITED), home / "project", SIZE) as terminal:
        terminal.until("manual mode on")
        terminal.enter("/context")
        assert re.search(r"k/400k tokens", terminal.until("Free space"))
        terminal.enter("/model")
        shown = terminal.until("Select model")
        shown = terminal.until("Haiku tier, acme, through Latimer")
        assert re.search(r"\bvast\s+Opus tier, acme, through Latimer", shown)
        assert re.search(r"\bm\b.*Sonnet tier, acme, through Latimer", shown)
        assert re.search(r"\bsmall\s+Haiku tier, acme, through Latimer", shown)
        assert re.search(r"\bextra\s+acme, through Latimer", shown), "a route that is no tier's"
        terminal.press("\x1b")
        terminal.until("Kept model as")
        terminal.settled()
        terminal.enter("/status")
        shown = terminal.until("Anthropic base URL: http://127.0.0.1:")
        assert re.search(r"Auth token: +ANTHROPIC_AUTH_TOKEN\n", shown)
        assert "API key:" not in shown
        assert not re.search(r"conflict|Bedrock|Vertex|helper", shown, re.IGNORECASE)
        terminal.press("\x1b")
        terminal.settled()
        terminal.enter("hello")
        terminal.until("m says hello.")


@pytest.mark.parametrize(("tier", "window"), [("opus", "1m"), ("sonnet", "400k"), ("haiku", "131.1k")])
def test_each_tier_has_its_own_window(home: Path, config: Path, tier: str, window: str) -> None:
    shown = printed(home, config, "--", "--model", tier, "-p", "/context")
    assert f" / {window} (" in shown


def test_sizes_in_settings_files_do_not_count(home: Path, config: Path) -> None:
    (home / ".claude" / "settings.json").write_text(json.dumps(ELSEWHERE))
    assert " / 131.1k (" in printed(home, config, "--", "--model", "haiku", "-p", "/context")


def test_one_window_for_all_where_the_user_gives_settings(home: Path, config: Path) -> None:
    """Claude Code takes one `--settings`, so this session has the smallest window of opus and sonnet for all."""
    arguments = ["--", "--settings", '{"env": {"FOO": "1"}}', "--model", "opus", "-p", "/context"]
    assert " / 400k (" in printed(home, config, *arguments)


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_the_model_that_is_named_begins_the_session(home: Path, config: Path, upstream: Upstream, version: str) -> None:
    """Not the one that `/model` has left in the settings, nor the one in the environment."""
    (home / ".claude" / "settings.json").write_text('{"model": "claude-via-acme/small"}')
    said = printed(home, config, "--model", "acme/m", "--", "-p", "hello", version=version, ANTHROPIC_MODEL="opus")
    assert said == "m says hello.\n"
    assert {exchange.model for exchange in upstream.exchanges} == {"m"}


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_what_leads_elsewhere_is_not_followed(home: Path, config: Path, version: str) -> None:
    (home / ".claude" / "settings.json").write_text(json.dumps(ELSEWHERE))
    said = printed(home, config, "--", "--model", "sonnet", "-p", "hello", version=version, **INHERITED)
    assert said == "m says hello.\n"


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_commands_of_claude_code(home: Path, config: Path, version: str) -> None:
    assert "No MCP servers configured" in printed(home, config, "--", "mcp", "list", version=version)


# --- the terminal is Claude Code's ---

STATE = "echo code=$? lines=$(stty -a | grep -c ' icanon')"
"""The last exit code, and whether the terminal hands on whole lines, as it does outside of such programs."""


@contextmanager
def shell(home: Path, size: tuple[int, int]) -> Iterator[tuple[Screen, int, int]]:
    """An interactive bash on a terminal of its own: its screen, the terminal, its process."""
    import pty  # noqa: PLC0415  # not on Windows

    bash = shutil.which("bash")
    assert bash
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home / "project")
        os.execve(bash, ["bash", "--norc", "--noprofile", "-i"], variables(home, PS1="ready> "))
    resize(terminal, size)
    try:
        yield Screen(terminal, *size), terminal, pid
    finally:
        os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        os.close(terminal)


def resize(terminal: int, size: tuple[int, int]) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))


def test_a_session_can_be_suspended_resized_and_ended(home: Path, config: Path) -> None:
    with shell(home, SIZE) as (terminal, file, _):
        terminal.until("ready>")
        terminal.enter("clear; " + " ".join(command(config, "--model", "acme/m")))
        terminal.until("manual mode on")
        terminal.settled()
        terminal.press("\x1a")  # Ctrl-Z
        terminal.until("Stopped")
        terminal.enter("echo $((6 * 7)) is the answer")
        terminal.until("42 is the answer")
        terminal.enter("clear; fg")
        terminal.until("manual mode on")
        resize(file, (70, 45))
        terminal.settled()
        terminal.enter("hello")
        terminal.until("m says hello.")
        terminal.settled()
        terminal.enter("/exit")
        terminal.until("ready>")
        terminal.enter(STATE)
        terminal.until("code=0 lines=1")


def test_a_client_that_is_killed(home: Path, config: Path) -> None:
    """Latimer ends with its code, and leaves a terminal that echoes."""
    with shell(home, SIZE) as (terminal, _, _):
        terminal.until("ready>")
        terminal.enter("clear; " + " ".join(command(config)))
        terminal.until("manual mode on")
        terminal.settled()
        os.kill(client_of(home), signal.SIGKILL)
        terminal.until("ready>")
        terminal.enter(STATE)
        terminal.until("code=137 lines=1")


def client_of(home: Path) -> int:
    """The process of the Claude Code whose home this is."""
    for folder in Path("/proc").iterdir():
        try:
            program = (folder / "exe").readlink()
            own = f"HOME={home}\0".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if own and program.name == "claude":
            return int(folder.name)
    raise AssertionError("Claude Code does not run")
