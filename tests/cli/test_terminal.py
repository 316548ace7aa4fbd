"""What only a terminal is shown."""

import io
import sys
import time

import pytest

from latimer.cli import terminal
from latimer.cli.terminal import colour, progress


class Screen(io.StringIO):
    """A terminal, or none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "SOON", 0.0)
    monkeypatch.setenv("TERM", "xterm")


def shown(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> str:
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("asking x/y"):
        deadline = time.monotonic() + 5
        while screen.terminal and not screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    return screen.getvalue()


def test_progress_is_shown_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Screen(terminal=True)) == "latimer: asking x/y …\r\x1b[K"


def test_what_is_quick_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "SOON", 60.0)
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("asking x/y"):
        pass
    assert screen.getvalue() == ""


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Screen(terminal=False)) == ""
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("asking x/y"):
        time.sleep(0.05)
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, None), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, None), ({"TERM": "dumb"}, False)],
)
def test_colour(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: bool | None) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert colour() is wanted
