"""`latimer service` as it is typed."""

import json
import os
from pathlib import Path

import pytest

from tests.test_cli import CONFIG, latimer

POSIX = pytest.mark.skipif(os.name != "posix", reason="a shell script plays systemctl")


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "my.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    ("platform", "words"),
    [("systemd", "ExecStart="), ("launchd", "<key>ProgramArguments</key>"), ("windows", "<Exec>")],
)
def test_what_would_be_written_is_printed(tmp_path: Path, config: str, platform: str, words: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = latimer(tmp_path, "service", "install", "--config", config, "--platform", platform, "--print")
    assert done.returncode == 0
    assert words in done.stdout
    assert config in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


@POSIX
def test_installed_shown_and_removed(tmp_path: Path, config: str) -> None:
    tool = tmp_path / "bin" / "systemctl"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho active\n")
    tool.chmod(0o755)
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    before = sorted(each for each in tmp_path.rglob("*") if each.is_file())
    install = latimer(tmp_path, "service", "install", "--config", config, "--platform", "systemd", PATH=path)
    assert "The service runs" in install.stdout
    unit = tmp_path / ".config" / "systemd" / "user" / "latimer.service"
    assert unit.is_file()
    if os.uname().sysname == "Linux":  # elsewhere the other commands mean that system's own service
        shown = latimer(tmp_path, "service", "status", "--config", config, "--json", PATH=path)
        assert json.loads(shown.stdout) == {"installed": True, "runs": True, "file": str(unit)}
        assert shown.returncode == 0
        assert latimer(tmp_path, "service", "uninstall", "--config", config, PATH=path).returncode == 0
        assert sorted(each for each in tmp_path.rglob("*") if each.is_file()) == before
        gone = latimer(tmp_path, "service", "status", "--config", config, PATH=path)
        assert gone.stdout.startswith(f"not installed: {unit}\n")


def test_it_needs_a_configuration(tmp_path: Path) -> None:
    done = latimer(tmp_path, "service", "install")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no provider is configured" in done.stderr
