"""Files of the user's own: written whole or not at all, locked between processes, known again by a stamp."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
from pathlib import Path

from latimer.errors import LatimerError

if sys.platform != "win32":
    import fcntl

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700
LOOK_SECONDS = 0.005
"""How often a lock is tried that another process has."""

Stamp = tuple[int, int, int]
"""A file's modification time in nanoseconds, its size, and its inode, which changes when another takes its place."""
NO_FILE: Stamp = (0, 0, 0)


def save(path: Path, data: bytes, mode: int | None = None) -> None:
    """`replace_file`, so that it outlives a power cut. Without a `mode` it keeps the one it has, else 600.

    Raises LatimerError.
    """
    try:
        if mode is None:
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else PRIVATE
        replace_file(path, data, mode, lasting=True)
    except OSError as error:
        raise LatimerError(f"{path} could not be written: {error.strerror}; nothing was changed") from None


def replace_file(path: Path, data: bytes, mode: int = PRIVATE, *, lasting: bool = False) -> None:
    """Write a file whole or not at all: readers see the old one or the new one, and a link stays a link.

    Folders that are missing are made for the user alone. Raises OSError.
    """
    target = path.resolve()
    target.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # its mode is 600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(number)
        if mode != PRIVATE:
            Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def lock(number: int, seconds: float = 0.0) -> bool:
    """Take the lock of an open file, which is given back when that is closed; False: another process kept it so long.

    Where the system has no such locks, everybody has it. Raises OSError where the file system has none.
    """
    deadline = time.monotonic() + seconds
    while sys.platform != "win32":
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
    return True


def stamp(path: Path) -> Stamp:
    """Tells whether a file has changed. Quick: it asks the file's metadata only."""
    try:
        found = path.stat()
    except OSError:
        return NO_FILE
    return found.st_mtime_ns, found.st_size, found.st_ino
