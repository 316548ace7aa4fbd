"""What holds for the output of every command: any locale, a closed pipe, Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.test_cli import COMMANDS, environment, fake_claude

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX signals and shells")
CONFIG = """
[providers.häuser]
base_url = "http://127.0.0.1:9/v1"
[routes]
opus = "häuser/größe-✓"
default = "häuser/größe-✓"
"""
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python would write ASCII only, and raise where that is not enough."""
RUNS: dict[str, list[str]] = {
    "run": ["run", "--config", "ü.toml", "--context-window", "200000", "--claude", "bin/claude"],
    "serve": ["serve", "--config", "ü.toml", "--host", "192.0.2.1"],
    "start": ["start", "--config", "ü.toml", "--host", "192.0.2.1"],
    "stop": ["stop"],
    "status": ["status"],
    "logs": ["logs"],
    "demo": ["demo", "--gguf", "größe"],
    "init": ["init", "--provider", "größe"],
    "probe": ["probe", "häuser/größe-✓", "--config", "ü.toml", "--yes", "--budget", "1"],
    "connect": ["connect", "--config", "ü.toml", "--dry-run"],
    "disconnect": ["disconnect"],
    "service install": ["service", "install", "--config", "ü.toml", "--print"],
    "service uninstall": ["service", "uninstall", "--config", "ü.toml"],
    "service status": ["service", "status", "--config", "ü.toml"],
    "env": ["env", "--config", "ü.toml"],
    "token": ["token", "--config", "ü.toml"],
    "models": ["models", "--config", "ü.toml"],
    "providers": ["providers", "größe"],
    "doctor": ["doctor", "--config", "ü.toml", "--no-network"],
    "forget": ["forget", "häuser/größe-✓"],
    "usage": ["usage"],
    "config schema": ["config", "schema"],
    "completion": ["completion", "bash"],
}
"""Each command in a way that ends soon, with names that ASCII does not have where it takes names."""


def test_every_command_is_here() -> None:
    assert {" ".join(path) for path, _ in COMMANDS} <= RUNS.keys()


@POSIX
@pytest.mark.parametrize("name", [" ".join(path) for path, _ in COMMANDS])
def test_no_locale_stops_a_command(tmp_path: Path, name: str) -> None:
    provider_name = CONFIG.replace("häuser", "haus")  # of providers, names are ASCII
    (tmp_path / "ü.toml").write_text(provider_name, "utf-8")
    fake_claude(tmp_path / "bin", "echo ok")
    arguments = [each.replace("häuser", "haus") for each in RUNS[name]]
    done = subprocess.run(
        [sys.executable, "-m", "latimer", *arguments],
        env=environment(tmp_path, **ASCII), cwd=tmp_path, capture_output=True, timeout=90, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode("utf-8")
    assert "Traceback" not in text
    assert "UnicodeEncodeError" not in text
    assert done.returncode in (0, 1, 2)
    if name in ("models", "env", "connect"):
        assert "größe-✓" in text


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_help_is_plain_text(path: tuple[str, ...], command: click.Command) -> None:
    command.get_help(click.Context(command, info_name=path[-1])).encode("ascii")


@POSIX
@pytest.mark.parametrize("command", ["providers --json", "providers", "config schema", "completion zsh"])
def test_a_closed_pipe_is_no_error(tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m latimer {command} | head -c 1'],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert len(done.stdout) == 1
    assert done.stderr == ""


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@POSIX
@pytest.mark.parametrize(
    "arguments",
    [
        ["probe", "--yes", "--model", "m"],
        ["doctor", "--model", "m"],
        ["init", "--model", "m", "--yes"],
        ["run", "--model", "m", "--claude", "bin/claude"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_ctrl_c_ends_a_command_without_a_trace(tmp_path: Path, silent: str, arguments: list[str]) -> None:
    fake_claude(tmp_path / "bin", "exit 0")
    flag = "--base-url" if arguments[0] == "init" else "--upstream"
    config = ["--config", str(tmp_path / "new.toml")] if arguments[0] == "init" else []
    # Whoever runs the tests may ignore the signal, and a child would too.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from latimer.cli import main; main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments, flag, silent, *config],
        env=environment(tmp_path), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    asked(silent, child.pid)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert "Traceback" not in errors
    assert child.returncode == 130, errors


def asked(url: str, pid: int) -> None:
    """Wait until the process has asked the server: a connection of its stands in the system's list."""
    port = int(url.rsplit(":", 1)[1].removesuffix("/v1"))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sys.platform != "linux":
            time.sleep(3)
            return
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            if remote == f"0100007F:{port:04X}" and state == "01":
                return
        time.sleep(0.05)
    raise AssertionError("nobody asked")


def test_a_terminal_is_not_needed(tmp_path: Path) -> None:
    """Colour is for terminals."""
    done = subprocess.run(
        [sys.executable, "-m", "latimer", "providers"],
        env=environment(tmp_path, TERM="xterm-256color") | {"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "\x1b" not in done.stdout
