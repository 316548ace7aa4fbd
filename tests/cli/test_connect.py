"""`latimer connect`, `disconnect` and `token` as they are typed."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell.harness import upstream
from tests.terminal import Terminal
from tests.test_cli import LOCAL, environment, latimer

THEIRS = '{"model": "opus", "env": {"ANTHROPIC_API_KEY": "sk-ant-theirs"}}'
TOKEN = "tok-never-in-a-file"
CONFIG = """
[server]
port = 4105
token = "file:{token}"
[providers.local]
base_url = "http://127.0.0.1:9/v1"
[routes]
default = "local/m"
"""


def settings(home: Path) -> Path:
    return home / ".claude" / "settings.json"


def files(home: Path) -> list[str]:
    return sorted(each.relative_to(home).as_posix() for each in home.rglob("*") if each.is_file())


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    settings(tmp_path).parent.mkdir()
    settings(tmp_path).write_text(THEIRS)
    return tmp_path


def test_there_and_back(theirs: Path) -> None:
    done = latimer(theirs, "connect", *LOCAL, "--port", "4103", "--yes")
    assert done.returncode == 0
    assert f"Wrote {settings(theirs)}; what was there is in {settings(theirs)}." in done.stdout
    assert "No Latimer answers at http://127.0.0.1:4103 yet: `latimer start`" in done.stdout
    assert '+  "ANTHROPIC_BASE_URL"' in done.stderr or '"ANTHROPIC_BASE_URL": "http://127.0.0.1:4103"' in done.stderr
    assert "sk-ant-theirs" not in done.stdout + done.stderr
    assert json.loads(settings(theirs).read_text())["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4103"
    again = latimer(theirs, "connect", *LOCAL, "--port", "4103", "--yes")
    assert "points at Latimer already; nothing was changed" in again.stdout
    back = latimer(theirs, "disconnect", "--yes")
    assert (back.returncode, back.stdout) == (0, f"{settings(theirs)} is as it was.\n")
    assert settings(theirs).read_text() == THEIRS
    assert files(theirs) == [".claude/settings.json"]


async def test_windows_that_are_not_known_are_asked_for(tmp_path: Path) -> None:
    listed = {"data": [{"id": "m", "context_length": 90_000}]}
    async with upstream(others={"/v1/models": listed}) as script:
        flags = ["--upstream", script.url, "--model", "m", "--yes"]
        done = await asyncio.to_thread(latimer, tmp_path, "connect", *flags)
    assert done.returncode == 0
    assert "is unknown" not in done.stderr
    assert json.loads(settings(tmp_path).read_text())["env"]["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "90000"


def test_nothing_to_undo(theirs: Path) -> None:
    done = latimer(theirs, "disconnect")
    assert (done.returncode, done.stdout) == (
        0,
        f"{settings(theirs)} is not connected to Latimer; there is nothing to undo.\n",
    )


def test_a_file_that_the_user_removed_is_forgotten(tmp_path: Path) -> None:
    latimer(tmp_path, "connect", *LOCAL, "--yes")
    settings(tmp_path).unlink()
    done = latimer(tmp_path, "disconnect", "--yes")
    assert (done.returncode, "nothing to undo" in done.stdout) == (0, True)
    assert files(tmp_path) == []


def test_without_a_terminal_it_asks_for_a_word(theirs: Path) -> None:
    done = latimer(theirs, "connect", *LOCAL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes writes this, --dry-run only shows it" in done.stderr
    assert "ANTHROPIC_BASE_URL" in done.stderr
    assert files(theirs) == [".claude/settings.json"]


def test_a_dry_run_writes_nothing(theirs: Path) -> None:
    done = latimer(theirs, "connect", *LOCAL, "--dry-run")
    assert (done.returncode, done.stdout) == (0, "Nothing was written.\n")
    assert "ANTHROPIC_BASE_URL" in done.stderr
    assert files(theirs) == [".claude/settings.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False)])
def test_on_a_terminal_it_shows_the_changes_and_asks(theirs: Path, answer: str, written: bool) -> None:
    terminal = Terminal(["connect", *LOCAL], theirs, environment(theirs, TERM="xterm"))
    terminal.expect("ANTHROPIC_BASE_URL")
    terminal.expect(f"Write {settings(theirs)}? [Y/n]")
    terminal.type(answer)
    assert terminal.end() == 0
    assert ("ANTHROPIC_BASE_URL" in settings(theirs).read_text()) == written
    assert "\x1b[32m" in terminal.output, "what comes is green"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_ctrl_c_writes_nothing(theirs: Path) -> None:
    terminal = Terminal(["connect", *LOCAL], theirs, environment(theirs, TERM="xterm", NO_COLOR="1"))
    terminal.expect("[Y/n]")
    terminal.interrupt()
    assert terminal.end() == 130
    assert settings(theirs).read_text() == THEIRS
    assert "\x1b[32m" not in terminal.output, "NO_COLOR counts"
    assert "Traceback" not in terminal.output


def test_scopes(tmp_path: Path) -> None:
    done = latimer(tmp_path, "connect", *LOCAL, "--scope", "local", "--yes", "--json")
    told = json.loads(done.stdout)
    assert told["file"] == str(tmp_path / ".claude" / "settings.local.json")
    assert (told["written"], told["backup"]) == (True, None)
    assert ["env", "ANTHROPIC_BASE_URL"] in told["members"]
    shared = latimer(tmp_path, "connect", *LOCAL, "--scope", "project", "--yes")
    assert "The file is shared by all who work on this project" in shared.stdout
    assert "`latimer disconnect --scope project`" in shared.stdout
    for scope in ("local", "project"):
        assert latimer(tmp_path, "disconnect", "--scope", scope, "--yes").returncode == 0
    assert files(tmp_path) == []
    assert not (tmp_path / ".claude").exists()


def test_what_was_changed_since_is_told(theirs: Path) -> None:
    latimer(theirs, "connect", *LOCAL, "--yes")
    text = settings(theirs).read_text()
    settings(theirs).write_text(text.replace('"claude-via-upstream/m"', '"mine"').replace("opus", "haiku"))
    done = latimer(theirs, "disconnect", "--yes")
    assert "has what was changed since, without Latimer" in done.stdout
    assert "so they stay: env.ANTHROPIC_DEFAULT_OPUS_MODEL" in done.stdout
    assert "The file of then is in " in done.stdout


def test_a_broken_file(theirs: Path) -> None:
    settings(theirs).write_text('{\n  // mine\n  "model": "opus"\n}')
    done = latimer(theirs, "connect", *LOCAL, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{settings(theirs)}: line 2, column 3: " in done.stderr
    assert files(theirs) == [".claude/settings.json"]


def test_a_token_is_asked_for_and_never_written(tmp_path: Path) -> None:
    (tmp_path / "my token").write_text(TOKEN)
    (tmp_path / "my config.toml").write_text(CONFIG.format(token=tmp_path / "my token"))
    done = latimer(tmp_path, "connect", "--config", "my config.toml", "--yes")
    assert done.returncode == 0, done.stderr
    written = json.loads(settings(tmp_path).read_text())
    assert "ANTHROPIC_AUTH_TOKEN" not in written["env"]
    if os.name == "posix":
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        helper = subprocess.run(
            written["apiKeyHelper"], shell=True, env=variables, capture_output=True, text=True, check=True
        )
        assert helper.stdout == f"{TOKEN}\n"
    for name in files(tmp_path):
        assert name == "my token" or TOKEN not in (tmp_path / name).read_text()


def test_a_token_in_a_variable_must_be_where_claude_code_is(tmp_path: Path) -> None:
    done = latimer(tmp_path, "connect", *LOCAL, "--yes", LATIMER_TOKEN=TOKEN)
    assert "LATIMER_TOKEN must be set where Claude Code is started" in done.stdout
    assert TOKEN not in settings(tmp_path).read_text()
    assert latimer(tmp_path, "token", LATIMER_TOKEN=TOKEN).stdout == f"{TOKEN}\n"


def test_variables_of_the_shell_that_lead_past_latimer_are_named(tmp_path: Path) -> None:
    done = latimer(tmp_path, "connect", *LOCAL, "--yes", CLAUDE_CODE_USE_BEDROCK="1", ANTHROPIC_API_KEY="k")
    assert "unset them: CLAUDE_CODE_USE_BEDROCK." in done.stdout


def test_there_is_no_token(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[providers.a]\nbase_url = "http://h/v1"\n[routes]\ndefault = "a/m"\n')
    done = latimer(tmp_path, "token", "--config", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "asks for no token" in done.stderr
