"""Services installed and removed, with the systems' own programs played by scripts."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from latimer.policy.config import Config, parse
from latimer.shell.system_service import Launchd, Systemd, Windows, system

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts play the systems' programs")
CONFIG = '[providers.a]\nbase_url = "http://127.0.0.1:1/v1"\n{key}\n[routes]\ndefault = "a/m"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without anything, whose PATH has only `sh`."""
    for name in ("XDG_CONFIG_HOME", "A_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()
    sh = shutil.which("sh")
    assert sh
    (tmp_path / "bin" / "sh").symlink_to(sh)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def plays(home: Path, name: str, body: str = "exit 0") -> Path:
    """A program of the system's that writes down how it was called."""
    called = home / "called"
    program = home / "bin" / name
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> "{called}"\n{body}\n')
    program.chmod(0o755)
    return called


def settings(key: str = "") -> Config:
    return parse(CONFIG.format(key=key), "my.toml")


def calls(called: Path) -> list[str]:
    return [line.rpartition("/bin/")[2] for line in called.read_text().splitlines()]


def place(home: Path) -> tuple[Path, Path]:
    return home / "my config" / "config.toml", home / "state"


def test_systemd(home: Path) -> None:
    called = plays(home, "systemctl", 'echo active; [ "$2" != is-active ] || exit 3')
    unit = Systemd(*place(home))
    before = sorted(home.rglob("*"))
    assert list(unit.install(settings())) == [
        f"Wrote {home}/.config/systemd/user/latimer.service.",
        "The service runs, and will whenever you log in.",
    ]
    assert str(home / "my config" / "config.toml") in unit.path.read_text()
    state = unit.state()
    assert (state.installed, state.runs) == (True, False), "the exit code counts"
    assert list(unit.uninstall())[-1] == f"Removed {unit.path}."
    assert calls(called) == [
        "systemctl --user daemon-reload",
        "systemctl --user enable latimer.service",
        "systemctl --user restart latimer.service",
        "systemctl --user is-active latimer.service",
        "systemctl --user disable --now latimer.service",
        "systemctl --user daemon-reload",
    ]
    assert not unit.state().installed
    called.unlink()
    files = sorted(each for each in home.rglob("*") if each.is_file())
    assert files == [each for each in before if each.is_file()], "uninstalling leaves no file"


def test_without_systemctl_it_says_what_to_run(home: Path) -> None:
    *_, last = Systemd(*place(home)).install(settings())
    assert "there is no systemctl here" in last
    assert last.endswith(
        "Run: systemctl --user daemon-reload && systemctl --user enable latimer.service && "
        "systemctl --user restart latimer.service"
    )
    assert not Systemd(*place(home)).state().runs


def test_what_the_system_says_is_passed_on(home: Path) -> None:
    plays(home, "systemctl", 'echo "Failed to connect to bus: No medium found" >&2; exit 1')
    *_, last = Systemd(*place(home)).install(settings())
    assert "systemctl could not be told (Failed to connect to bus: No medium found). Run: systemctl" in last


def test_a_service_does_not_see_the_variables_of_a_shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = plays(home, "systemctl")
    monkeypatch.setenv("A_KEY", "sk-secret")
    unit = Systemd(*place(home))
    told = "\n".join(unit.install(settings('api_key = "env:A_KEY"')))
    assert f"A_KEY is set in this shell, which a service does not see: write A_KEY=… into {unit.variables}" in told
    assert "It was not started" in told
    assert not called.exists()
    assert unit.variables.read_text().splitlines()[1:] == ["#A_KEY="]
    assert stat.S_IMODE(unit.variables.stat().st_mode) == 0o600
    for file in (each for each in home.rglob("*") if each.is_file() and not each.is_symlink()):
        assert "sk-secret" not in file.read_text(errors="replace"), "no key is copied"
    unit.variables.write_text("A_KEY=sk-secret\n")
    assert "The service runs" in list(unit.install(settings('api_key = "env:A_KEY"')))[-1]
    assert "it stays" in list(unit.uninstall())[-1], "what the user wrote is the user's"
    assert unit.variables.exists()


def test_an_untouched_template_goes(home: Path) -> None:
    plays(home, "systemctl")
    unit = Systemd(*place(home))
    assert "is set nowhere" in "\n".join(unit.install(settings('api_key = "env:A_KEY"')))
    list(unit.uninstall())
    assert not unit.variables.exists()


def test_launchd(home: Path) -> None:
    called = plays(home, "launchctl", "echo 'state = running'")
    agent = Launchd(*place(home))
    assert "The service runs" in list(agent.install(settings()))[-1]
    assert agent.state().runs
    list(agent.uninstall())
    domain = f"gui/{os.getuid()}"
    assert calls(called) == [
        f"launchctl bootout {domain}/io.github.latimer",
        f"launchctl bootstrap {domain} {agent.path}",
        f"launchctl print {domain}/io.github.latimer",
        f"launchctl bootout {domain}/io.github.latimer",
    ]
    assert not agent.path.exists()


def test_windows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = plays(home, "schtasks", "echo 'Status: Running'")
    monkeypatch.setenv("USERNAME", "me")
    monkeypatch.setenv("USERDOMAIN", "WORK")
    task = Windows(*place(home))
    told = list(task.install(settings('api_key = "env:A_KEY"')))
    assert "A_KEY is set nowhere: setx A_KEY VALUE" in "\n".join(told)
    assert "<UserId>WORK\\me</UserId>\r\n" in task.path.read_bytes().decode("utf-16")
    monkeypatch.setenv("A_KEY", "sk-secret")
    assert "The service runs" in list(task.install(settings('api_key = "env:A_KEY"')))[-1]
    assert task.state().runs
    list(task.uninstall())
    assert calls(called)[1:3] == [f"schtasks /Create /F /TN Latimer /XML {task.path}", "schtasks /Run /TN Latimer"]
    assert not task.path.exists()


def test_nothing_to_remove(home: Path) -> None:
    (said,) = Systemd(*place(home)).uninstall()
    assert "nothing to remove" in said


def test_the_systems_own_way(home: Path) -> None:
    assert isinstance(system("windows", *place(home)), Windows)
    assert system(None, *place(home)).path.name
