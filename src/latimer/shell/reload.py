"""Reading the configuration again while requests run: when its file has changed, and when SIGHUP asks for it.

The file is looked at every second, not watched by the system: editors replace files, and network folders tell of
nothing. What cannot be used changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from latimer.errors import ConfigError
from latimer.policy.config import Config, Server, check_reach
from latimer.shell.discretion import described
from latimer.shell.files import stamp

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the file is looked at. It is read when it has changed and then rested for as long."""


class Source:
    """Where a configuration comes from. It is made before that is read, so that no change of its file is missed."""

    def __init__(self, path: Path, read: Callable[[], str | None], parse: Callable[[str | None], Config]) -> None:
        self.path = path
        self.read = read
        """The text of its file, None where there is none. Raises ConfigError."""
        self.parse = parse
        """What that text means, under the command line's flags. Raises ConfigError."""
        self.file = FileWatch(path)

    def load(self) -> Config:
        """The configuration as it is now. Raises ConfigError."""
        return self.parse(self.read())

    def through(self, change: Callable[[Config], Config]) -> Source:
        """The same, with every configuration changed."""
        other = copy(self)
        other.parse = lambda text: change(self.parse(text))
        return other


class Taken(Struct, frozen=True):
    """Which configuration is in use, and what is wrong with a newer one."""

    number: int
    """1 for the one of the start, and one more each time."""
    since: float
    """When it was taken, as seconds since 1970."""
    error: str = ""
    """Why the newest could not be taken; '' where it was."""
    restart: tuple[str, ...] = ()
    """The settings of it that count from the next start on."""


def reason(error: Exception) -> str:
    """Why a configuration cannot be used. What was not foreseen is logged, without the values it may quote."""
    if isinstance(error, ConfigError):
        return str(error)
    log.error("unexpected %s", described(error))
    return f"an unexpected {type(error).__name__} in Latimer; its log has the details"


def needs_restart(first: Config, config: Config) -> tuple[str, ...]:
    """The settings of a new configuration that a server which was started with the first one cannot take."""
    names = ("host", "port")
    return tuple(f"server.{name}" for name in names if getattr(config.server, name) != getattr(first.server, name))


def staying(config: Config, where: Server) -> Config:
    """The configuration for a server that stays where it listens. Raises ConfigError if it must not listen there."""
    server = replace(config.server, host=where.host, port=where.port)
    check_reach(server)
    return replace(config, server=server)


class FileWatch:
    """Tells when a file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = self._last = stamp(self._path)

    def changed(self) -> bool:
        """Whether it is another than was last taken, and was the same at the last look: nobody is writing it."""
        now = stamp(self._path)
        rests, self._last = now == self._last, now
        if not rests or now == self._taken:
            return False
        self._taken = now
        return True

    def take(self) -> None:
        """Its present state is known."""
        self._taken = self._last = stamp(self._path)


async def watch(file: FileWatch, asked: asyncio.Event, reload: Callable[[], Awaitable[None]]) -> None:
    """Call `reload` whenever the file has changed, or `asked` is set, which is then cleared. Ends when cancelled."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await asked.wait()
        if asked.is_set():
            asked.clear()
            file.take()
        elif not file.changed():
            continue
        await reload()
