"""Where what was learned is kept: `learned.json` in the state directory, shared by all processes of a user.

Only overlays and Latimer's own reasons stand in it (`latimer.policy.knowledge`). Nothing here raises for the file's
sake: without it, Latimer learns anew.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from latimer.policy.knowledge import Knowledge, decode, encode
from latimer.shell.files import PRIVATE, PRIVATE_FOLDER, Stamp, lock, replace_file, stamp

log = logging.getLogger(__name__)

FILE = "learned.json"
LOCK_SECONDS = 3.0
"""How long a writer waits for another; writing takes milliseconds."""
MOST_BYTES = 4 * 1024 * 1024
"""A larger file is none of ours."""


def default_directory() -> Path:
    """Where the operating system wants the state of programs, such as `~/.local/state/latimer`."""
    return platformdirs.user_state_path("latimer", appauthor=False)


class Store:
    """The file. Every method may wait for the disk: call them in a thread when a loop is running, except `stamp`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def stamp(self) -> Stamp:
        """Tells whether the file has changed."""
        return stamp(self.path)

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
        self.path.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
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
        """Raises OSError when another process keeps it locked, as one that was stopped in the middle does.

        Where there are no advisory locks, two writers at once may lose a finding, which is then learned again.
        """
        number = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, PRIVATE)
        try:
            if not lock(number, LOCK_SECONDS):
                raise BlockingIOError(errno.EWOULDBLOCK, f"another process keeps it locked for {LOCK_SECONDS:g} s")
            yield
        finally:
            os.close(number)
