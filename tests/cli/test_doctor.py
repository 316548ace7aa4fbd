"""`latimer doctor` on the command line: text, JSON, colours, exit code and encoding; tests/doctor has the findings."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from latimer.cli.doctor import NOT_TRIED, doctor
from tests.doctor.world import World
from tests.terminal import Terminal


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, monkeypatch, stack)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(doctor, arguments, catch_exceptions=False, standalone_mode=False)
    return done.return_value, done.output


def test_nothing_is_wrong(world: World) -> None:
    code, output = run()
    assert code == 0
    assert output.endswith(f"{NOT_TRIED}\nnothing is wrong: nothing found\n")
    assert "\x1b" not in output, "no colours where nobody looks"


def test_something_is_wrong(world: World) -> None:
    world.change("providers.local.base_url", "http://127.0.0.1:9/v1")
    code, output = run()
    assert code == 1
    assert "\n  error    provider-refused: provider local\n" in output
    assert "something does not work: 1 error" in output


def test_a_warning_is_not_an_error(world: World) -> None:
    world.config.chmod(0o644)
    code, output = run("--no-network")
    assert (code, "file-open" in output) == (0, True)


def test_the_configuration_may_be_flags_alone(world: World) -> None:
    world.config.unlink()
    flags = ["--upstream", world.provider.url, "--model", "m", "--api-key-env", "LATIMER_TEST_KEY", "--port", "0"]
    code, output = run("--json", *flags)
    found = json.loads(output)
    assert (code, [each["severity"] for each in found["findings"]]) == (0, ["note", "note"])


def test_with_a_broken_configuration_the_rest_is_examined(world: World) -> None:
    world.configure("[servr]\n")
    world.program("claude", "exit 3")
    code, output = run("--json")
    assert (code, [each["id"] for each in json.loads(output)["findings"]]) == (1, ["config-invalid", "claude-broken"])


ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("how", [{}, ASCII], ids=["utf-8", "ascii"])
def test_it_can_be_written_in_any_locale(world: World, how: dict[str, str]) -> None:
    path = world.root / "Schlüssel-鍵" / "config.toml"
    path.parent.mkdir()
    path.write_text("[servr]\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "latimer", "doctor", "--no-network", "--config", path],
        env={**os.environ, "LC_ALL": "C", **how},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert f"config-invalid: {path}" in done.stdout.decode()


def test_colours_on_a_terminal(world: World) -> None:
    terminal = Terminal(["doctor", "--no-network"], world.project, {**os.environ, "TERM": "xterm"})
    terminal.expect("nothing is wrong")
    assert terminal.end() == 0
    assert "\x1b[32mok" in terminal.output
