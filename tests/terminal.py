"""Latimer on a pseudo-terminal: what it writes is waited for, what is typed is read by it as from a keyboard."""

import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Terminal:
    """`latimer` with these arguments, in this folder."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.output = ""
        self._seen = 0
        import pty  # noqa: PLC0415 - not on Windows, where these tests are skipped

        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it
            os.execve(sys.executable, [sys.executable, "-m", "latimer", *arguments], dict(environment))

    def expect(self, text: str, seconds: float = 30) -> None:
        """Wait until the program has written `text` since the last time."""
        deadline = time.monotonic() + seconds
        while (found := self.output.find(text, self._seen)) < 0:
            ready, _, _ = select.select([self._file], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come:\n{self.output}"
            assert self._read(), f"{text!r} did not come before the end:\n{self.output}"
        self._seen = found + len(text)

    def _read(self) -> str:
        try:
            piece = os.read(self._file, 4096).decode(errors="replace").replace("\r\n", "\n")
        except OSError:  # the other end is closed
            return ""
        self.output += piece
        return piece

    def type(self, text: str) -> None:
        os.write(self._file, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C, as late as a person would: between its prompt and its reading, Python does not hear of it."""
        time.sleep(0.3)
        os.write(self._file, b"\x03")

    def end(self) -> int:
        """The exit code, once everything is read."""
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._file)
        return os.waitstatus_to_exitcode(status)
