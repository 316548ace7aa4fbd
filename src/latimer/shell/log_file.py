"""The log's file: only the user may read it, and it does not grow without bound."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from io import BufferedWriter, TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from latimer.shell.files import PRIVATE, lock

MOST_BYTES = 10 * 1024 * 1024
"""When it is larger it becomes `NAME.1`, in place of the one before."""


def private(path: Path) -> BufferedWriter:
    """A file to add to, which only the user may read if it is new. Raises OSError."""
    number = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, PRIVATE)
    return os.fdopen(number, "ab")


class LogFile(WatchedFileHandler):
    """Writes to a file that several processes may share. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(private(Path(self.baseFilename)), encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and begin another file when this one is large."""
        super().emit(record)
        stream: TextIOWrapper | None = self.stream  # None when it could not be opened again
        if stream is not None and stream.tell() > MOST_BYTES:
            with suppress(OSError):  # it grows on where its folder may not be changed
                self._turn(stream.fileno())

    def _turn(self, number: int) -> None:
        """Whoever renames the file has it locked meanwhile. The others find a new one at their next record."""
        path = Path(self.baseFilename)
        if not lock(number):
            return
        try:
            if os.path.samestat(os.fstat(number), path.stat()):
                path.replace(path.with_name(f"{path.name}.1"))
        finally:
            self.close()
            self.stream = self._open()
