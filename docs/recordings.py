"""Render what `init`, `doctor` and `run` look like: `python -m docs.recordings [FOLDER]`, docs/pictures by default.

Each picture is the screen of real programs on a pseudo-terminal: Latimer, and the real Claude Code, in front of a
scripted model. Only the model's words and the user's are made up.
"""

import io
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path

from pyte.screens import Char
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.style import Style
from rich.text import Text
from tests.interop.claude import NEWEST, binary
from tests.scenarios.replies import Say
from tests.scenarios.rules import Rules
from tests.screen import Screen, screen
from tests.upstream import Exchange, Upstream

FOLDER = Path(__file__).with_name("pictures")
COLUMNS = 100
LATIMER = (sys.executable, "-m", "latimer")
MODEL = "acme-large"
WINDOW = 131_072
QUESTION = "What is a latimer?"
ANSWER = (
    "An interpreter. At medieval courts, the *latimer* stood between two rulers who shared no language, and said to "
    "each what the other had said."
)
# Rich's own template loads a font from elsewhere.
SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
)
Environment = Mapping[str, str]


def record(folder: Path) -> None:
    """Write all pictures into a folder. Raises AssertionError where a screen does not show what it should."""
    folder.mkdir(parents=True, exist_ok=True)
    with new_home() as home, Upstream() as upstream:
        upstream.play(_answer, rules=Rules(model=MODEL))
        environment = environment_of(home)
        with _latimer(home, environment, 66, "init") as terminal:
            init(terminal, upstream.url)
            save(terminal, "latimer init", folder / "init.svg")
        with _latimer(home, environment, 50, "doctor", "--port", _free_port()) as terminal:
            terminal.end()
            save(terminal, "latimer doctor", folder / "doctor.svg")
        with _latimer(home, environment, 26, "run", "--context-window", str(WINDOW)) as terminal:
            _run(terminal, folder)
        assert upstream.refused == [], upstream.refused


def init(terminal: Screen, url: str) -> None:
    """Answer the questions of `latimer init`: another provider, at this URL, without a key, its only model for all."""
    terminal.until("base URL of another")
    terminal.enter(url)
    terminal.until("Key of")
    terminal.settled()
    terminal.press("\r")
    terminal.until("Model:")
    terminal.enter("1")
    for tier in ("opus", "sonnet", "haiku"):
        terminal.until(f"Model for {tier}")
        terminal.settled()
        terminal.press("\r")
    terminal.until("[Y/n]")
    terminal.settled()
    terminal.press("\r")
    terminal.end()


def _run(terminal: Screen, folder: Path) -> None:
    terminal.until("for shortcuts")
    terminal.settled()
    terminal.enter(QUESTION)
    terminal.until("what the other had said")
    terminal.settled(1)
    save(terminal, "latimer run", folder / "run.svg")
    for command, words in (("model", MODEL), ("context", f"{WINDOW / 1000:.1f}k")):
        terminal.enter(f"/{command}")
        terminal.until(words)
        terminal.settled(1)
        save(terminal, f"/{command} in Claude Code", folder / f"{command}.svg")
        terminal.press("\x1b")
        terminal.settled()


def _free_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return str(listener.getsockname()[1])


def _answer(exchange: Exchange) -> Say:
    return Say(ANSWER if QUESTION in str(exchange.body) else "OK")


@contextmanager
def new_home() -> Iterator[Path]:
    """A home in which Claude Code has been started once, under a short name that is the same where it is free."""
    home = Path(tempfile.gettempdir(), "alex")
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        home = Path(tempfile.mkdtemp(prefix="alex-"))
    try:
        project = home / "project"
        project.mkdir()
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        known = {"hasCompletedOnboarding": True, "theme": "dark", "projects": {str(project): trusted}}
        (home / ".claude.json").write_text(json.dumps(known))
        programs = home / ".local" / "bin"
        programs.mkdir(parents=True)
        (programs / "claude").symlink_to(binary(NEWEST))
        yield home
    finally:
        shutil.rmtree(home)


def environment_of(home: Path) -> Environment:
    """What a new user's shell would have."""
    return {
        "PATH": f"{home / '.local' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "DISABLE_AUTOUPDATER": "1",
    }


@contextmanager
def _latimer(home: Path, environment: Environment, lines: int, *arguments: str) -> Iterator[Screen]:
    with screen([*LATIMER, *arguments], environment, home / "project", (COLUMNS, lines)) as terminal:
        yield terminal


def save(terminal: Screen, title: str, path: Path) -> None:
    """Write what is on the screen as a picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    lines = [_line(cells) for cells in terminal.cells]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop")
    path.write_text(console.export_svg(title=title, code_format=SVG, unique_id=path.stem), "utf-8")


def _line(cells: list[Char]) -> Text:
    line = Text()
    for style, run in groupby(cells, key=_style):
        line.append("".join(cell.data for cell in run), style)
    line.rstrip()
    return line


def _style(cell: Char) -> Style:
    return Style(
        color=_colour(cell.fg), bgcolor=_colour(cell.bg), bold=cell.bold, italic=cell.italics, reverse=cell.reverse
    )


def _colour(name: str) -> str | None:
    """pyte's name of a colour as rich's."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return name.replace("brown", "yellow").replace("bright", "bright_")


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
