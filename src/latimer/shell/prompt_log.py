"""What is said, in a file, for those who ask for it (`--prompt-log`): requests, what upstreams are asked and answer.

JSON Lines, one object for each: `time` (seconds since 1970), `kind` (`request`, `upstream_request`,
`upstream_answer`), `request_id`, `provider` of the latter two, `body`, and `cut` where the body was longer. No headers;
the keys that Latimer knows are replaced. Only its owner may be able to read the file.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from msgspec import json

from latimer.errors import ConfigError
from latimer.shell.files import PRIVATE
from latimer.shell.secrets import without

MOST_BYTES = 64 * 1024 * 1024
"""A file that is larger is renamed to `….1`, in place of the one before it."""
MOST_OF_BODY = 8 * 1024 * 1024

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the client's request that is being answered."""


class PromptLog:
    """The file, which other processes may write to as well; without a name, nothing is written.

    Raises ConfigError for a file that others can read, or that is no file.
    """

    def __init__(self, name: str) -> None:
        self._path = Path(name).expanduser() if name else None
        self._secrets: set[str] = set()
        if self._path is not None:
            os.close(_opened(self._path))

    @property
    def on(self) -> bool:
        """Whether anything is written."""
        return self._path is not None

    def hide(self, secret: str) -> None:
        """A key that must not stand in the file."""
        self._secrets.add(secret)

    def write(self, kind: str, body: bytes, provider: str = "") -> None:
        """Add a line. Nothing is raised for the file's sake: a request that can be answered must not fail for it."""
        if self._path is None:
            return
        cut = len(body) > MOST_OF_BODY
        body = without(body, self._secrets)
        line: dict[str, Any] = {"time": round(time.time(), 3), "kind": kind, "request_id": request_id.get()}
        line |= {"provider": provider} if provider else {}
        line |= {"cut": True} if cut else {}
        with suppress(OSError, ConfigError):
            _append(self._path, json.encode({**line, "body": body[:MOST_OF_BODY].decode("utf-8", "replace")}) + b"\n")


def _append(path: Path, line: bytes) -> None:
    number = _opened(path)
    try:
        os.write(number, line)
        size = os.fstat(number).st_size
    finally:
        os.close(number)
    if size > MOST_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))


def _opened(path: Path) -> int:
    """The file, made with mode 600, open at its end."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        number = os.open(path, flags, PRIVATE)
    except OSError as error:
        why = "it is a symbolic link" if path.is_symlink() else error.strerror
        raise ConfigError(f"--prompt-log: {path} could not be opened: {why}") from None
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
        os.close(number)
        raise ConfigError(f"--prompt-log: {path} is no file")
    if sys.platform != "win32" and (found.st_mode & 0o077 or found.st_uid != os.geteuid()):
        os.close(number)
        raise ConfigError(f"--prompt-log: {path} can be read by other users; run: chmod 600 {path}")
    return number
