"""A process tree that is measured: how it is started, what it cost (from /proc), how it is stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.client import Dialect

ROOT = Path(__file__).parent.parent
START_SECONDS = 120.0  # to listen; a peer that imports half of PyPI needs a while on a busy machine
QUIET = 0.002  # CPU seconds in SETTLE_STEP under which a process counts as done with what it was given
SETTLE_STEP = 0.05  # seconds


class StartError(Exception):
    """A process did not start; the message says why and what to do."""


@dataclass
class Process:
    """A running process tree that listens on `port`; `started` is seconds from exec to ready, `started_cpu` of CPU.

    `health` is the path it answers itself, without the upstream. `lighter` divides how many requests a load repeats:
    for a proxy so slow that the whole load would take minutes. Streams at a time, tokens and pace stay the same.
    """

    name: str
    dialect: Dialect
    popen: subprocess.Popen[str]
    port: int
    started: float = 0.0
    health: str = "/health"
    lighter: int = 1
    started_cpu: float = 0.0

    def __post_init__(self) -> None:
        self.started_cpu = self.cpu()

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found, queue = [], [self.popen.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    queue += map(int, task.read_text().split())
        return found

    def cpu(self) -> float:
        """User and system seconds of the tree so far.

        The kernel's per-process CPU clocks, which other processes may read, hold what /proc/PID/stat shows, in
        nanoseconds where /proc rounds to ticks of 10 ms: too coarse for a run whose whole cost is 0.2 s.
        """
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids())

    def settle(self, seconds: float = 5.0) -> None:
        """Wait until the tree does nothing any more, so that work put off until after the answer is counted too."""
        deadline, before = time.monotonic() + seconds, self.cpu()
        while time.monotonic() < deadline:
            time.sleep(SETTLE_STEP)
            now = self.cpu()
            if now - before < QUIET:
                return
            before = now

    def resident(self) -> int:
        """Resident bytes of the tree; memory that its processes share is counted in each."""
        pattern = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
        sizes = [pattern.search(Path(f"/proc/{pid}/status").read_text()) for pid in self.pids()]
        return sum(int(size[1]) * 1024 for size in sizes if size)

    def stop(self) -> None:
        """Ask the tree to end, and make it after 5 seconds."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()


def spawn(
    command: list[str], home: Path, *, ready_line: bool = False, more: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start `command` in a clean environment, so that the user's own configuration, proxies and keys play no part.

    Standard output is a pipe for a program that says on it when it is ready, else it goes to a file with the errors.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    environment = kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": str(home)} | (more or {})
    with (home / "output").open("w") as output:
        stdout = subprocess.PIPE if ready_line else output
        return subprocess.Popen(command, stdout=stdout, stderr=output, text=True, env=environment, cwd=ROOT)


def first_line(process: subprocess.Popen[str], home: Path, name: str) -> str:
    """What `process` says first; raises StartError if it ends instead."""
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise StartError(f"{name} ended before it was ready:\n{(home / 'output').read_text()[-2000:]}")
    return line


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[str], home: Path, name: str) -> None:
    """Return when somebody listens on `port`; raises StartError if `process` ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise StartError(f"{name} did not listen on port {port}:\n{(home / 'output').read_text()[-2000:]}")
        time.sleep(0.005)
