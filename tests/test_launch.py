"""Claude Code as a child: found, told the right things, its signals and exit code left alone."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from latimer import launch
from latimer.errors import ConfigError
from latimer.launch import (
    claude_environment,
    claude_variables,
    find_claude,
    needs_manual_mode,
    run_claude,
    run_loop,
    settings_arguments,
    version_of,
)
from latimer.policy.auto_mode import AutoMode
from latimer.policy.claude_code import Limits, conflicting
from latimer.policy.config import Config
from tests.configurations import two_tiers

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the client")
URL = "http://127.0.0.1:4002"


@pytest.fixture
def config() -> Config:
    return two_tiers()


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# --- what its command line is told ---


@pytest.mark.parametrize("arguments", [[], ["-c"], ["fix the tests"], ["--model", "opus"]])
def test_without_a_reviewer_there_is_no_auto_mode(config: Config, arguments: list[str]) -> None:
    assert needs_manual_mode(config, arguments)
    told = settings_arguments(arguments, Limits(), manual=True)
    assert told[0] == "--settings"
    assert json.loads(told[1])["disableAutoMode"] == "disable"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--permission-mode", "auto"],
        ["--permission-mode=plan"],
        ["--dangerously-skip-permissions"],
        ["--settings", "my.json"],
        ["-p", "hello"],
        ["hello", "--print"],
    ],
)
def test_what_the_user_says_about_permissions_counts(config: Config, arguments: list[str]) -> None:
    assert not needs_manual_mode(config, arguments)
    assert "disableAutoMode" not in json.loads(settings_arguments([], Limits())[1])


def test_with_a_reviewer_auto_mode_is_left_as_it_is(config: Config) -> None:
    reviewed = msgspec.structs.replace(config, auto_mode=AutoMode("small/quick"))
    assert not needs_manual_mode(reviewed, [])


@pytest.mark.parametrize("own", [["--settings", "my.json"], ["--settings={}"]])
def test_settings_of_the_users_own_are_the_only_ones(own: list[str]) -> None:
    assert settings_arguments(own, Limits(8), manual=True) == ()


# --- find_claude ---


@POSIX
def test_claude_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    installed = program(tmp_path / ".local" / "bin" / "claude", "")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert find_claude() == installed
    on_path = program(tmp_path / "bin" / "claude", "")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_claude() == on_path


@POSIX
def test_the_client_inside_the_sdk_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("claude_agent_sdk")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_claude().parts[-2:] == ("_bundled", "claude")


@POSIX
def test_without_claude_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="npm install -g @anthropic-ai/claude-code"):
        find_claude()


@POSIX
def test_a_named_program(tmp_path: Path) -> None:
    own = program(tmp_path / "my-claude", "")
    assert find_claude(str(own)) == own
    with pytest.raises(ConfigError, match=r"--claude: .*nothing is not a program"):
        find_claude(str(tmp_path / "nothing"))


# --- the environment ---


def test_what_points_past_latimer_is_removed(config: Config) -> None:
    foreign = {
        "ANTHROPIC_API_KEY": "sk",
        "ANTHROPIC_MODEL": "m",
        "ANTHROPIC_CUSTOM_HEADERS": "a: b",
        "ANTHROPIC_VERTEX_PROJECT_ID": "p",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_USE_VERTEX": "1",
        "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
        "CLAUDE_CODE_OAUTH_TOKEN": "t",
        "CLAUDE_CODE_SUBAGENT_MODEL": "m",
        "CLAUDECODE": "1",
    }
    kept = {
        "PATH": "/bin",
        "HOME": "/h",
        "CLAUDE_CONFIG_DIR": "/c",
        "CLAUDE_CODE_EFFORT_LEVEL": "low",
        "AWS_PROFILE": "a",
    }
    environment = claude_environment(URL, "tok", config, Limits(), {**foreign, **kept})
    assert conflicting({**foreign, **kept}) == sorted(foreign)
    assert foreign.keys() & environment.keys() == set()
    assert environment.items() >= kept.items()
    assert environment["ANTHROPIC_BASE_URL"] == URL
    assert environment["ANTHROPIC_AUTH_TOKEN"] == "tok"


def test_settings_files_do_not_win_over_the_environment(config: Config) -> None:
    assert claude_variables(URL, "", config, Limits())["CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST"] == "1"


def test_an_old_base_url_and_token_are_replaced(config: Config) -> None:
    base = {"ANTHROPIC_BASE_URL": "http://old", "ANTHROPIC_AUTH_TOKEN": "old"}
    assert claude_environment(URL, "", config, Limits(), base)["ANTHROPIC_AUTH_TOKEN"] == "latimer"


def test_the_users_word_on_traffic_stands(config: Config) -> None:
    name = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"
    assert claude_environment(URL, "", config, Limits(), {})[name] == "1"
    assert claude_environment(URL, "", config, Limits(), {name: "0"})[name] == "0"


def test_loopback_is_never_sent_through_a_proxy(config: Config) -> None:
    base = {"https_proxy": "http://proxy:3128", "NO_PROXY": "corp.example.com, localhost"}
    environment = claude_environment(URL, "", config, Limits(), base)
    assert environment["NO_PROXY"] == "corp.example.com,localhost,127.0.0.1"
    assert environment["no_proxy"] == "127.0.0.1,localhost"
    assert "NO_PROXY" not in claude_environment(URL, "", config, Limits(), {})


# --- run_claude ---


@POSIX
@pytest.mark.parametrize(
    ("body", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_exit_codes(tmp_path: Path, body: str, code: int) -> None:
    fake = program(tmp_path / "claude", body)
    assert run_loop(run_claude([str(fake)], dict(os.environ))) == code


async def test_a_program_that_can_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not be started: No such file"):
        await run_claude([str(tmp_path / "claude")], {})


@POSIX
def test_the_version_of_a_client(tmp_path: Path) -> None:
    assert version_of(str(program(tmp_path / "claude", "echo '2.1.330 (Claude Code)'"))) == "2.1.330 (Claude Code)"
    for name, body, words in (
        ("silent", "exit 0", "failed with exit code 0"),
        ("broken", "echo 1; exit 3", "failed with exit code 3"),
    ):
        with pytest.raises(ConfigError, match=words):
            version_of(str(program(tmp_path / name, body)))
    with pytest.raises(ConfigError, match="could not be started"):
        version_of(str(tmp_path / "nothing"))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@POSIX
async def test_the_client_does_not_outlive_what_it_was_started_for(tmp_path: Path) -> None:
    """As when the proxy fails, or the loop is cancelled."""
    pid = tmp_path / "pid"
    fake = program(tmp_path / "claude", f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60")
    running = asyncio.create_task(run_claude([str(fake)], dict(os.environ)))
    await asyncio.to_thread(wait_for, pid)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


RAW = """
import os, pty, signal, subprocess, sys, termios
# A session whose terminal this is, as a shell makes it for a program in the foreground.
os.environ["SHOWN"] = "".join(map(str, termios.tcgetattr(0)[:4]))
code = subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]]).returncode
print("same" if os.environ["SHOWN"] == "".join(map(str, termios.tcgetattr(0)[:4])) else "left raw", code)
"""


@POSIX
def test_a_client_that_is_killed_leaves_a_usable_terminal(tmp_path: Path) -> None:
    import pty  # noqa: PLC0415  # not on Windows

    fake = program(tmp_path / "claude", "stty raw -echo; kill -KILL $$")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", RAW, SCRIPT, str(fake)])
    output = b""
    try:
        while piece := os.read(terminal, 1024):
            output += piece
    except OSError:  # the other end is closed
        pass
    os.waitpid(pid, 0)
    os.close(terminal)
    assert output.decode().strip() == "same 137"


SCRIPT = """
import sys
from latimer.launch import run_claude, run_loop
sys.exit(run_loop(run_claude([sys.argv[1], *sys.argv[2:]], {"PATH": "/usr/bin:/bin"})))
"""


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 41), (signal.SIGHUP, 42), (signal.SIGINT, 44)])
def test_signals(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """TERM and HUP are passed on; INT is the terminal's to deliver, and this process just waits."""
    body = "trap 'exit 41' TERM; trap 'exit 42' HUP; trap 'exit 43' INT; echo ready; read line; exit 44"
    fake = program(tmp_path / "claude", body)
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(fake)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        if number is signal.SIGINT:
            child.stdin.write("go\n")
            child.stdin.flush()
        assert child.wait(10) == code


@POSIX
def test_the_child_does_not_inherit_ignored_signals(tmp_path: Path) -> None:
    fake = program(tmp_path / "claude", "kill -INT $$; sleep 1; exit 9")
    assert run_loop(run_claude([str(fake)], dict(os.environ))) == 130


def test_as_many_files_as_the_system_allows() -> None:
    code = (
        "import resource as r; from latimer.launch import raise_file_limit\n"
        "_, hard = r.getrlimit(r.RLIMIT_NOFILE); r.setrlimit(r.RLIMIT_NOFILE, (64, hard)); raise_file_limit()\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE)[0] > 64)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
