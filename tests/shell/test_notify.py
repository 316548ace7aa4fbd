"""A service manager is told on its socket; where there is none, nothing happens."""

import socket
import time
from pathlib import Path

import pytest

from latimer.shell.notify import READY, STOPPING, notify, reloading

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets")


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@{tmp_path.name}-latimer" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.bind(name.replace("@", "\0") if abstract else name)
        except OSError:
            pytest.skip("no abstract names, or too long a path")
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        before = time.monotonic_ns() // 1000
        for state in (READY, reloading(), STOPPING):
            notify(state)
        told = [manager.recv(4096).decode() for _ in range(3)]
    assert (told[0], told[2]) == ("READY=1", "STOPPING=1")
    first, second = told[1].split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY)
    assert caplog.text == ""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    notify(READY)
    assert "could not be told READY=1" in caplog.text
