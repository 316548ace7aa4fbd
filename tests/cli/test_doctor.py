"""`latimer doctor` on the command line: text, JSON and exit code; tests/shell/test_doctor.py has the rest."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from latimer.cli.doctor import doctor

CONFIG = """
[server]
port = 0
[providers.local]
base_url = "http://127.0.0.1:9/v1"
[routes]
default = "local/m"
"""


def run(tmp_path: Path, text: str, *arguments: str, script: str = "echo 2.1.330") -> tuple[int, str]:
    config, claude = tmp_path / "my.toml", tmp_path / "claude"
    config.write_text(text)
    claude.write_text(f"#!/bin/sh\n{script}\n")
    claude.chmod(0o755)
    flags = ["--config", str(config), "--claude", str(claude), "--state-dir", str(tmp_path / "state"), *arguments]
    done = CliRunner().invoke(doctor, flags, catch_exceptions=False, standalone_mode=False)
    return done.return_value, done.output


def test_nothing_is_wrong(tmp_path: Path) -> None:
    code, output = run(tmp_path, CONFIG, "--no-network")
    assert code == 0, output
    assert output.endswith("\nnothing is wrong\n")
    assert not (tmp_path / "state").exists(), "it changes nothing"


def test_an_upstream_that_is_not_there(tmp_path: Path) -> None:
    code, output = run(tmp_path, CONFIG)
    assert code == 1
    assert "wrong  provider local" in output
    assert output.endswith("\n1 thing wrong\n")


def test_json(tmp_path: Path) -> None:
    code, output = run(tmp_path, CONFIG, "--no-network", "--json", script="exit 1")
    found = json.loads(output)
    assert (code, found["ok"]) == (1, False)
    wrong = [each for each in found["findings"] if each["level"] == "wrong"]
    assert [each["where"] for each in wrong] == ["Claude Code"]
    assert wrong[0]["cure"]


@pytest.mark.parametrize("text", ["[servr]\n", "not toml", '[providers.x]\napi_key = "sk-123"\n'])
def test_a_broken_configuration_is_a_finding(tmp_path: Path, text: str) -> None:
    code, output = run(tmp_path, text, "--json")
    (found,) = json.loads(output)["findings"]
    assert (code, found["level"], found["where"]) == (1, "wrong", "configuration")
    assert str(tmp_path / "my.toml") in found["what"]
    assert "sk-123" not in output
