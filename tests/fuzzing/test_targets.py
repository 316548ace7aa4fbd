"""A short search on every run; `make fuzz` searches longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzzing.targets import TARGETS, seeds

ROOT = Path(__file__).parent.parent.parent
RUNS = 1500


def search(target: str, found: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzzing", target, "--found", str(found), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_stand_what_is_tried(target: str, tmp_path: Path) -> None:
    assert list(seeds(target))
    done = search(target, tmp_path, "--runs", str(RUNS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stat::number_of_executed_units" in done.stderr


def test_a_mistake_is_found(tmp_path: Path) -> None:
    done = search("planted", tmp_path, "--runs", "200000")
    assert done.returncode != 0
    assert "the planted mistake" in done.stdout + done.stderr
    assert any(path.read_bytes().startswith(b"LATI") for path in (tmp_path / "planted").iterdir())
