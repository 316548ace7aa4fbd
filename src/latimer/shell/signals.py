"""What signals ask of a server: to stop (SIGTERM, SIGINT, a terminal that is gone), to stop at once (a second one of
these), to read its configuration again (SIGHUP).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

STOPPING_CODES = {"SIGINT": 130, "SIGTERM": 0, "SIGHUP": 0}
"""What a server that a signal has stopped exits with."""


class Signals:
    """What has been asked for by now."""

    def __init__(self) -> None:
        self.stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves to the exit code when the server is to stop."""
        self.hurry = asyncio.Event()
        """Open requests are not to be waited for."""
        self.reload = asyncio.Event()
        """The configuration is to be read again. Who does it clears this."""
        self._signalled = False

    def stop(self, code: int) -> None:
        """By a signal: the first lets open requests end, the second does not."""
        if self._signalled:
            self.hurry.set()
        self._signalled = True
        self.end(code)

    def end(self, code: int) -> None:
        """For another reason; a signal that comes as well is the first."""
        if not self.stopped.done():
            self.stopped.set_result(code)


class Terminal:
    """The terminal that this process was started from. When it goes away, SIGHUP does not mean to read a file again.

    Under `nohup` SIGHUP was ignored, so it ends nothing.
    """

    def __init__(self) -> None:
        hang_up = getattr(signal, "SIGHUP", None)
        ignored = hang_up is None or signal.getsignal(hang_up) == signal.SIG_IGN
        self._matters = not ignored and _has_terminal()

    @property
    def gone(self) -> bool:
        """Whether there was one and is none any more."""
        return self._matters and not _has_terminal()


@contextmanager
def heard() -> Iterator[Signals]:
    """What signals ask for from now on. Needs a running loop."""
    loop = asyncio.get_running_loop()
    signals = Signals()
    terminal = Terminal()

    def stop(number: int, _: object) -> None:
        loop.call_soon_threadsafe(signals.stop, STOPPING_CODES[signal.Signals(number).name])

    def hang_up(number: int, frame: object) -> None:
        if terminal.gone:
            stop(number, frame)
        else:
            loop.call_soon_threadsafe(signals.reload.set)

    with handlers({"SIGINT": stop, "SIGTERM": stop, "SIGHUP": hang_up}):
        yield signals


@contextmanager
def handlers(named: Mapping[str, Any]) -> Iterator[None]:
    """Signal handlers for a while; signals that this system does not have are left out."""
    numbers = {getattr(signal, name): handler for name, handler in named.items() if hasattr(signal, name)}
    previous = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
