"""A terminal with a screen: a program draws on it, and its text and colours can be read, as in tmux.

`tests/terminal.py` is for programs that write lines; this one is for those that draw, such as Claude Code.
"""

import os
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyte
from pyte.screens import Char

STOP_SECONDS = 10.0
_UNKNOWN = re.compile(rb"\x1b\[[<>=][0-9;]*[ -/]*[@-~]|\x1bP.*?\x1b\\", re.DOTALL)
"""Sequences that pyte would print: what programs say of keyboards, and device control strings."""
_BEGUN = re.compile(rb"\x1b(\[[<=>]?[0-9;]*|P[^\x1b]*\x1b?)?\Z")
"""One of which the end has not come."""


class Screen:
    """What is on the terminal of a running program."""

    def __init__(self, file: int, columns: int, lines: int) -> None:
        self._file = file
        self._screen = pyte.Screen(columns, lines)
        self._screen.write_process_input = self._answer  # type: ignore[method-assign]
        self._stream = pyte.ByteStream(self._screen)
        self._rest = b""
        self._over = False

    @property
    def text(self) -> str:
        """The lines of the screen, without blanks at their ends and without empty lines below the last."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def cells(self) -> list[list[Char]]:
        """Each line's characters with their colours."""
        buffer = self._screen.buffer
        return [[buffer[row][column] for column in range(self._screen.columns)] for row in range(self._screen.lines)]

    def until(self, text: str, seconds: float = 60) -> str:
        """Wait until this is on the screen; blanks do not count. Returns the screen's text."""
        wanted, deadline = re.sub(r"\s", "", text), time.monotonic() + seconds
        while wanted not in re.sub(r"\s", "", self.text):
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{text!r} did not come:\n{self.text}")
        return self.text

    def settled(self, quiet: float = 0.5) -> str:
        """The screen's text once nothing was drawn for a while."""
        while self._read(quiet):
            pass
        return self.text

    def end(self, seconds: float = 60) -> str:
        """Wait until the program has ended. Returns what it has left on the screen."""
        deadline = time.monotonic() + seconds
        while not self._over:
            left = deadline - time.monotonic()
            assert left > 0, f"it did not end:\n{self.text}"
            self._read(left)
        return self.text

    def press(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def enter(self, text: str) -> None:
        """Type this and press Enter. Claude Code takes both at once for a paste, which Enter does not end."""
        self.press(text)
        self.until(text)
        self.settled(0.2)
        self.press("\r")

    def _read(self, seconds: float) -> bool:
        """Whether something came within this time."""
        ready, _, _ = select.select([self._file], [], [], seconds)
        if not ready:
            return False
        try:
            piece = os.read(self._file, 65536)
        except OSError:  # the program has ended
            piece = b""
        self._over = not piece
        data = self._rest + piece
        begun = _BEGUN.search(data)
        whole = begun.start() if begun else len(data)
        self._stream.feed(_UNKNOWN.sub(b"", data[:whole]))
        self._rest = data[whole:]
        return bool(piece)

    def _answer(self, data: str) -> None:
        self.press(data)


@contextmanager
def screen(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, size: tuple[int, int] = (100, 30)
) -> Iterator[Screen]:
    """A program on a terminal of `size` columns and lines. It is ended when the block is left."""
    import fcntl  # noqa: PLC0415 - not on Windows, where these tests are skipped
    import pty  # noqa: PLC0415
    import termios  # noqa: PLC0415

    ours, theirs = pty.openpty()
    columns, lines = size
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command, env=dict(environment), cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Screen(ours, columns, lines)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has started and left
        os.close(ours)
