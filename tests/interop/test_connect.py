"""`latimer connect`: the real Claude Code, started without any environment, is answered through Latimer."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, OLDER, binary
from tests.latimer_process import Latimer, serving
from tests.scenarios.replies import Say
from tests.screen import screen
from tests.upstream import Upstream

TOKEN = "token-that-never-stands-in-settings"
THEIRS = '{\n\t"env": {"ANTHROPIC_API_KEY": "sk-ant-theirs"},\n\t"apiKeyHelper": "echo theirs"\n}'
CONFIG = """
[server]
token = "file:{token}"
[providers.acme]
base_url = "{url}"
[[providers.acme.models]]
match = "small"
request.context_window = 131072
[[providers.acme.models]]
match = "m"
request.context_window = 400000
[routes]
haiku = "acme/small"
default = "acme/m"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    known = {"hasCompletedOnboarding": True, "theme": "dark", "projects": {str(home / "project"): trusted}}
    (home / ".claude.json").write_text(json.dumps(known))
    return home


@pytest.fixture
def server(upstream: Upstream, home: Path) -> Iterator[Latimer]:
    """A server that asks for a token."""
    upstream.play(lambda exchange: Say(f"{exchange.model} says hello."))
    (home / "token").write_text(TOKEN)
    (home / "latimer.toml").write_text(CONFIG.format(token=home / "token", url=upstream.url))
    with serving(["--config", str(home / "latimer.toml"), "--port", "0"], home=home) as running:
        yield running


def variables(home: Path, **more: str) -> dict[str, str]:
    """As an editor that was started from a desktop has them."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "IS_SANDBOX": "1", **more}


QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_MAX_RETRIES": "0"}


def latimer(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "latimer", *arguments],
        env=variables(home, LATIMER_STATE_DIR=str(home / "state")),
        cwd=home / "project", capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def connect(home: Path, server: Latimer, *more: str) -> None:
    port = server.url.rsplit(":", 1)[1]
    latimer(home, "connect", "--config", str(home / "latimer.toml"), "--port", port, "--yes", *more)


def asked(home: Path, version: str, *arguments: str) -> str:
    """What Claude Code prints, which nothing but its settings has told of Latimer."""
    done = subprocess.run(
        [binary(version), *arguments, "-p", "hello"],
        env=variables(home, **QUIET), cwd=home / "project", capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_connected_and_disconnected(home: Path, server: Latimer, version: str) -> None:
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text("{}")
    assert not signed_in(home, version)
    settings.write_text(THEIRS)
    connect(home, server)
    assert TOKEN not in settings.read_text()
    assert asked(home, version) == "m says hello.\n"
    assert signed_in(home, version)
    latimer(home, "disconnect", "--yes")
    assert settings.read_text() == THEIRS
    assert [each.name for each in settings.parent.glob("settings*")] == ["settings.json"]


def signed_in(home: Path, version: str) -> bool:
    """What the VS Code extension asks before it shows a page to sign in."""
    done = subprocess.run(
        [binary(version), "auth", "status"],
        env=variables(home, **QUIET), cwd=home / "project", capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return bool(json.loads(done.stdout)["loggedIn"])


@pytest.mark.parametrize("scope", ["project", "local"])
def test_a_project_that_is_connected(home: Path, upstream: Upstream, scope: str) -> None:
    upstream.play(lambda exchange: Say(f"{exchange.model} says hello."))
    flags = ["--upstream", upstream.url, "--model", "m"]
    with serving([*flags, "--port", "0"], home=home) as server:
        port = server.url.rsplit(":", 1)[1]
        latimer(home, "connect", *flags, "--port", port, "--scope", scope, "--yes")
        assert asked(home, NEWEST) == "m says hello.\n"
    latimer(home, "disconnect", "--scope", scope, "--yes")
    assert "says hello" not in asked(home, NEWEST)


def test_the_screen(home: Path, server: Latimer) -> None:
    """No question about a key of the shell, each model's window, a permission mode that works."""
    connect(home, server)
    environment = variables(home, **QUIET, TERM="xterm-256color", ANTHROPIC_API_KEY="sk-ant-of-the-shell-0123456789")
    environment["PATH"] = os.environ["PATH"]
    with screen([str(binary(NEWEST)), "--model", "haiku"], environment, home / "project", (110, 45)) as terminal:
        terminal.until("manual mode on")
        terminal.enter("/context")
        assert re.search(r"k/131\.1k tokens", terminal.until("Free space"))
        terminal.enter("/status")
        shown = terminal.until(f"Anthropic base URL: {server.url}")
        assert not re.search("conflict", shown, re.IGNORECASE)
        assert re.search(r"Auth token: +apiKeyHelper", shown)
