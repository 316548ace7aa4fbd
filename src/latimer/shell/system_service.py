"""Services of the operating system: their files written and removed, and its own programs told.

Nothing needs an administrator's rights. Where the system's program is missing or refuses, what to run is said instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from latimer.errors import LatimerError
from latimer.policy import units
from latimer.policy.config import Config
from latimer.shell.files import save

VARIABLES = "service.env"
TASK = "Latimer"
TOOL_SECONDS = 60.0


class State(Struct, frozen=True):
    """Whether the file is there and the service runs; `said` are the system's own words."""

    path: Path
    installed: bool
    runs: bool
    said: str


class System(ABC):
    """One system's way to run services."""

    clearing: tuple[tuple[str, ...], ...] = ()
    """What ends a former one, if there is one."""
    starting: tuple[tuple[str, ...], ...]
    stopping: tuple[tuple[str, ...], ...]
    after_removal: tuple[tuple[str, ...], ...] = ()
    asking: tuple[str, ...]
    running = ""
    """What the answer to `asking` contains when the service runs, if its exit code does not tell."""

    def __init__(self, config: Path, state: Path) -> None:
        self._config = config
        self._state = state
        self.variables = config.parent / VARIABLES

    @property
    @abstractmethod
    def path(self) -> Path:
        """Where its file belongs."""

    @abstractmethod
    def text(self) -> str:
        """What stands in it."""

    def description(self) -> units.Service:
        """What is to run."""
        command = ("-m", "latimer", "serve", "--config", str(self._config), "--state-dir", str(self._state))
        log = str(self._state / "service.log")
        return units.Service((sys.executable, *command), str(self.variables), log, _user())

    def install(self, settings: Config) -> Iterator[str]:
        """Write the file and start the service; yields what to tell the user. Raises LatimerError."""
        save(self.path, self.data())
        yield f"Wrote {self.path}."
        absent = list(self._missing(settings))
        if absent:
            yield from (*absent, "It was not started. Then run `latimer service install` once more.")
            return
        for command in self.clearing:
            _run(command)
        yield from self._told(self.starting, "The service runs, and will whenever you log in.")

    def uninstall(self) -> Iterator[str]:
        """Stop the service and remove what was written; yields what to tell the user. Raises LatimerError."""
        if not self.path.exists():
            yield f"There is no {self.path}; there is nothing to remove."
            return
        yield from self._told(self.stopping, "The service is stopped.")
        try:
            self.path.unlink()
        except OSError as error:
            raise LatimerError(f"{self.path} could not be removed: {error.strerror}") from None
        (self._state / "service.log").unlink(missing_ok=True)
        for command in self.after_removal:
            _run(command)
        yield f"Removed {self.path}."
        yield from self._without_template()

    def state(self) -> State:
        """How it is."""
        code, said = _run(self.asking)
        return State(
            self.path, self.path.exists(), code == 0 and self.running in said, said.splitlines()[0] if said else ""
        )

    def data(self) -> bytes:
        """The file's bytes."""
        return self.text().encode()

    def _missing(self, settings: Config) -> Iterator[str]:
        """The variables that the service will not see, and where they belong."""
        written = self.variables.read_text("utf-8") if self.variables.exists() else ""
        absent = units.missing(settings, written, os.environ)
        if not absent:
            return
        if not written:
            save(self.variables, units.variables_template(settings).encode())
        for name, here in absent:
            known = "is set in this shell, which a service does not see" if here else "is set nowhere"
            yield f"{name} {known}: write {name}=… into {self.variables}, or use keyring:NAME in {self._config}."

    def _without_template(self) -> Iterator[str]:
        """Remove the file for variables if nobody wrote into it: keys in it are the user's own."""
        with suppress(OSError):
            lines = self.variables.read_text("utf-8").splitlines()
            if any(line and not line.startswith("#") for line in lines):
                yield f"{self.variables} holds variables that you wrote, so it stays; remove it if nothing needs it."
            else:
                self.variables.unlink()

    def _told(self, commands: Sequence[Sequence[str]], done: str) -> Iterator[str]:
        """Tell the system's program; where that fails, say what to run."""
        for number, command in enumerate(commands):
            code, said = _run(command)
            if code != 0:
                why = f" ({said.splitlines()[0]})" if said else ""
                left = " && ".join(" ".join(each) for each in commands[number:])
                yield f"{command[0]} could not be told{why}. Run: {left}"
                return
        yield done


class Systemd(System):
    """The user's own systemd."""

    starting = (
        ("systemctl", "--user", "daemon-reload"),
        ("systemctl", "--user", "enable", "latimer.service"),
        ("systemctl", "--user", "restart", "latimer.service"),
    )
    stopping = (("systemctl", "--user", "disable", "--now", "latimer.service"),)
    after_removal = (("systemctl", "--user", "daemon-reload"),)
    asking = ("systemctl", "--user", "is-active", "latimer.service")

    @property
    def path(self) -> Path:
        folder = os.environ.get("XDG_CONFIG_HOME")
        return (Path(folder) if folder else Path.home() / ".config") / "systemd" / "user" / "latimer.service"

    def text(self) -> str:
        return units.systemd(self.description())


class Launchd(System):
    """A LaunchAgent of macOS."""

    running = "state = running"

    def __init__(self, config: Path, state: Path) -> None:
        super().__init__(config, state)
        domain = f"gui/{os.getuid()}" if sys.platform != "win32" else "gui"
        self.starting = (("launchctl", "bootstrap", domain, str(self.path)),)
        self.clearing = self.stopping = (("launchctl", "bootout", f"{domain}/{units.LABEL}"),)
        self.asking = ("launchctl", "print", f"{domain}/{units.LABEL}")

    @property
    def path(self) -> Path:
        return Path.home() / "Library" / "LaunchAgents" / f"{units.LABEL}.plist"

    def text(self) -> str:
        return units.launchd(self.description())


class Windows(System):
    """A task that begins when the user logs on."""

    running = "Running"

    def __init__(self, config: Path, state: Path) -> None:
        super().__init__(config, state)
        create = ("schtasks", "/Create", "/F", "/TN", TASK, "/XML", str(self.path))
        self.starting = (create, ("schtasks", "/Run", "/TN", TASK))
        self.clearing = (("schtasks", "/End", "/TN", TASK),)
        self.stopping = (*self.clearing, ("schtasks", "/Delete", "/F", "/TN", TASK))
        self.asking = ("schtasks", "/Query", "/FO", "LIST", "/TN", TASK)

    @property
    def path(self) -> Path:
        return self._state / "service.xml"

    def text(self) -> str:
        return units.windows(self.description())

    def data(self) -> bytes:
        return self.text().replace("\n", "\r\n").encode("utf-16")

    def _missing(self, settings: Config) -> Iterator[str]:
        """A task sees the variables of the user's account, and so does a shell."""
        for name, here in units.missing(settings, "", os.environ):
            if not here:
                yield f"{name} is set nowhere: setx {name} VALUE, or use keyring:NAME in {self._config}."

    def _without_template(self) -> Iterator[str]:
        yield from ()


def system(named: str | None, config: Path, state: Path) -> System:
    """This system's way, or the named one."""
    ways: dict[str, type[System]] = {"systemd": Systemd, "launchd": Launchd, "windows": Windows}
    own = {"darwin": "launchd", "win32": "windows"}.get(sys.platform, "systemd")
    return ways[named or own](config, state)


def _run(command: Sequence[str]) -> tuple[int, str]:
    """A system program's exit code, and what it said; 127 when there is none."""
    program = shutil.which(command[0])
    if program is None:
        return 127, f"there is no {command[0]} here"
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, timeout=TOOL_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, str(error)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace").strip()


def _user() -> str:
    """The user's name as Windows writes it."""
    return "\\".join(filter(None, (os.environ.get("USERDOMAIN"), os.environ.get("USERNAME"))))
