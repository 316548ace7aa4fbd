"""Claude Code as a child: found, told the right things, its signals and exit code left alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from latimer import launch
from latimer.errors import ConfigError
from latimer.launch import (
    claude_environment,
    claude_variables,
    conflicting,
    find_claude,
    permission_arguments,
    run_claude,
    run_loop,
)
from latimer.policy.auto_mode import AutoMode
from latimer.policy.config import Config, parse
from latimer.policy.routing import routes_for

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the client")
URL = "http://127.0.0.1:4002"


@pytest.fixture
def config() -> Config:
    text = """
    [providers.big]
    base_url = "https://big.example.com/v1"
    [providers.small]
    base_url = "http://127.0.0.1:8080/v1"
    [routes]
    opus = ["big/strong", "small/spare"]
    haiku = "small/quick"
    """
    return parse(text, "my.toml")


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# --- permission_arguments ---


@pytest.mark.parametrize("arguments", [[], ["-c"], ["fix the tests"], ["--model", "opus"]])
def test_without_a_reviewer_there_is_no_auto_mode(config: Config, arguments: list[str]) -> None:
    assert permission_arguments(config, arguments) == ("--settings", '{"disableAutoMode":"disable"}')


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
    assert permission_arguments(config, arguments) == ()


def test_with_a_reviewer_auto_mode_is_left_as_it_is(config: Config) -> None:
    reviewed = msgspec.structs.replace(config, auto_mode=AutoMode("small/quick"))
    assert permission_arguments(reviewed, []) == ()


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
    environment = claude_environment(URL, "tok", config, 0, 0, {**foreign, **kept})
    assert conflicting({**foreign, **kept}) == sorted(foreign)
    assert foreign.keys() & environment.keys() == set()
    assert environment.items() >= kept.items()
    assert environment["ANTHROPIC_BASE_URL"] == URL
    assert environment["ANTHROPIC_AUTH_TOKEN"] == "tok"


def test_an_old_base_url_and_token_are_replaced(config: Config) -> None:
    base = {"ANTHROPIC_BASE_URL": "http://old", "ANTHROPIC_AUTH_TOKEN": "old"}
    assert claude_environment(URL, "", config, 0, 0, base)["ANTHROPIC_AUTH_TOKEN"] == "latimer"


@pytest.mark.parametrize(
    ("window", "most", "expected"),
    [
        (0, 0, {"DISABLE_1M_CONTEXT": "1"}),
        (200_000, 8192, {"AUTO_COMPACT_WINDOW": "200000", "MAX_CONTEXT_TOKENS": "200000", "MAX_OUTPUT_TOKENS": "8192"}),
        (65_536, 0, {"MAX_CONTEXT_TOKENS": "65536", "MAX_OUTPUT_TOKENS": "8192"}),
        (65_536, 4096, {"MAX_CONTEXT_TOKENS": "65536", "MAX_OUTPUT_TOKENS": "4096"}),
        (204_800, 0, {"AUTO_COMPACT_WINDOW": "204800", "MAX_CONTEXT_TOKENS": "204800"}),
        (1_000_000, 0, {"AUTO_COMPACT_WINDOW": "1000000", "MAX_CONTEXT_TOKENS": "1000000"}),
    ],
)
def test_window_and_output_limit(config: Config, window: int, most: int, expected: dict[str, str]) -> None:
    variables = claude_variables(URL, "", config, window, most)
    names = ("AUTO_COMPACT_WINDOW", "MAX_CONTEXT_TOKENS", "MAX_OUTPUT_TOKENS", "DISABLE_1M_CONTEXT")
    found = {name: variables[f"CLAUDE_CODE_{name}"] for name in names if f"CLAUDE_CODE_{name}" in variables}
    assert found == ({"DISABLE_1M_CONTEXT": "1"} if window < 1_000_000 else {}) | expected


def test_the_tiers_show_their_models(config: Config) -> None:
    variables = claude_variables(URL, "", config, 0, 0)
    assert variables["ANTHROPIC_DEFAULT_OPUS_MODEL_NAME"] == "strong"
    assert variables["ANTHROPIC_DEFAULT_OPUS_MODEL_DESCRIPTION"] == "Opus tier, big, through Latimer"
    chain = routes_for(config, variables["ANTHROPIC_DEFAULT_OPUS_MODEL"])
    assert [route.name for route in chain] == ["big/strong", "small/spare"]
    assert "ANTHROPIC_DEFAULT_SONNET_MODEL" not in variables


def test_the_users_word_on_traffic_stands(config: Config) -> None:
    name = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"
    assert claude_environment(URL, "", config, 0, 0, {})[name] == "1"
    assert claude_environment(URL, "", config, 0, 0, {name: "0"})[name] == "0"


def test_loopback_is_never_sent_through_a_proxy(config: Config) -> None:
    base = {"https_proxy": "http://proxy:3128", "NO_PROXY": "corp.example.com, localhost"}
    environment = claude_environment(URL, "", config, 0, 0, base)
    assert environment["NO_PROXY"] == "corp.example.com,localhost,127.0.0.1"
    assert environment["no_proxy"] == "127.0.0.1,localhost"
    assert "NO_PROXY" not in claude_environment(URL, "", config, 0, 0, {})


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
