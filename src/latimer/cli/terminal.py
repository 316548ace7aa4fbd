"""What only a terminal is shown: progress, and colour unless it is unwanted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SOON = 0.5
"""Seconds after which somebody would like to know what takes so long."""
_CLEAR = "\r\x1b[K"


def colour() -> bool | None:
    """False where colour is unwanted (https://no-color.org) or not understood; None leaves it to the stream."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def shows_progress() -> bool:
    """Whether standard error is a terminal on which a line can be taken away again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Say on the terminal what is being done, if it takes long, and take it away when it is done.

    Nothing is written where `shows_progress` is false.
    """
    if not shows_progress():
        yield
        return
    lock = threading.Lock()
    over = False
    shown = False

    def show() -> None:
        nonlocal shown
        with lock:
            if not over:
                shown = True
                sys.stderr.write(f"latimer: {text} …")
                sys.stderr.flush()

    timer = threading.Timer(SOON, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over = True
            if shown:
                sys.stderr.write(_CLEAR)
                sys.stderr.flush()
