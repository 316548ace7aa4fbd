"""What shells complete, in a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_cli import CONFIG, environment, latimer

BASH = shutil.which("bash")


def completed(home: Path, *words: str) -> list[str]:
    """What bash would offer for the last word, by the script that `latimer completion bash` prints."""
    assert BASH
    (home / "latimer").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m latimer "$@"\n')
    (home / "latimer").chmod(0o755)
    script = 'eval "$(latimer completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
    script += '_latimer_completion latimer; printf "%s\\n" "${COMPREPLY[@]}"'
    variables = environment(home) | {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [BASH, "-c", script, "bash", "latimer", *words],
        env=variables, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes_commands_options_and_names(tmp_path: Path) -> None:
    assert completed(tmp_path, "disc") == ["disconnect"]
    assert "--scope" in completed(tmp_path, "connect", "--s")
    assert completed(tmp_path, "providers", "deeps") == ["deepseek"]
    path = tmp_path / ".config" / "latimer" / "config.toml"
    assert completed(tmp_path, "probe", "local/") == [], "without a configuration there is none"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG)
    if sys.platform == "linux":  # elsewhere the user's configuration is in another folder
        assert completed(tmp_path, "probe", "local/") == ["local/a", "local/b", "local/m"]
        assert completed(tmp_path, "run", "--model", "local/a") == ["local/a"]


@pytest.mark.parametrize(
    ("shell", "words"), [("zsh", "#compdef latimer"), ("fish", "complete --no-files --command latimer")]
)
def test_other_shells(tmp_path: Path, shell: str, words: str) -> None:
    assert words in latimer(tmp_path, "completion", shell).stdout
