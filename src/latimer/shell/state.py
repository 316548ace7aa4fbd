"""Where what was learned is kept: `learned.json` in the state directory, shared by all processes of a user.

Only overlays and Latimer's own reasons stand in it (`latimer.policy.knowledge`). Nothing here raises for the file's
sake: without it, Latimer learns anew.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from latimer.policy.knowledge import Knowledge, decode, encode

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

FILE = "learned.json"
LOCK_SECONDS = 3.0
"""How long a writer waits for another; writing takes milliseconds."""
MOST_BYTES = 4 * 1024 * 1024
"""A larger file is none of ours."""

Stamp = tuple[int, int]
"""A file's modification time in nanoseconds and its size."""
NO_FILE: Stamp = (0, 0)


def default_directory() -> Path:
    """Where the operating system wants the state of programs, such as `~/.local/state/latimer`."""
    return platformdirs.user_state_path("latimer", appauthor=False)


class Store:
    """The file. Every method may wait for the disk: call them in a thread when a loop is running, except `stamp`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def stamp(self) -> Stamp:
        """Tells whether the file has changed. Quick: it asks the file's metadata only."""
        try:
            found = self.path.stat()
        except OSError:
            return NO_FILE
        return found.st_mtime_ns, found.st_size

    def read(self) -> Knowledge:
        """What the file holds and has not expired. One that cannot be read is set aside as `learned.json.bad`."""
        try:
            return self._read().alive(time.time())
        except FileNotFoundError:
            return Knowledge()
        except ValueError as error:
            log.warning("%s is set aside as %s.bad: %s", self.path, FILE, error)
            with suppress(OSError):
                self.path.replace(self.path.with_name(f"{FILE}.bad"))
            return Knowledge()
        except OSError as error:
            log.warning("%s could not be read: %s", self.path, error.strerror)
            return Knowledge()

    def change(self, edit: Callable[[Knowledge], Knowledge]) -> Knowledge:
        """Write what `edit` makes of the file's present content, and return it. Raises OSError where that fails.

        Readers see the old file or the new one, never a part; of writers, one waits for the other.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            before = self.read()
            after = edit(before)
            if after != before:
                replace_file(self.path, encode(after))
        return after

    def _read(self) -> Knowledge:
        with self.path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        return decode(text)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Where there are no advisory locks, two writers at once may lose a finding, which is then learned again."""
        if sys.platform == "win32":
            yield
            return
        number = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _lock(number)
            yield
        finally:
            os.close(number)


def replace_file(path: Path, text: bytes) -> None:
    """Write a file that only the user may read; readers see the old one or the new one. Raises OSError."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # its mode is 600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _lock(number: int) -> None:
    """Raises OSError when another process keeps it locked, as one that was stopped in the middle does."""
    deadline = time.monotonic() + LOCK_SECONDS
    while sys.platform != "win32":
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
