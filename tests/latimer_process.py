"""Latimer as its users start it: a separate process, spoken to over HTTP only."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

READY = re.compile(r"latimer: listening on (http://\S+)")
START_SECONDS = 20.0
STOP_SECONDS = 10.0
MODEL = "m"


class Latimer:
    """One `latimer serve` process."""

    def __init__(self, arguments: Sequence[str], *, home: Path, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "latimer", "serve", *arguments]
        self._output: list[str] = []
        self._errors: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            command,
            cwd=home,
            env={**_environment(home), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._collect, args=(stream, lines, announce), daemon=True)
            for stream, lines, announce in (
                (self.process.stdout, self._output, True),
                (self.process.stderr, self._errors, False),
            )
        ]
        for reader in self._readers:
            reader.start()
        self.url = ""

    @property
    def stdout(self) -> str:
        """Everything printed to standard output so far."""
        return "".join(self._output)

    @property
    def stderr(self) -> str:
        """Everything logged so far."""
        return "".join(self._errors)

    def ready(self) -> Self:
        """Wait for the line that says where it listens."""
        while True:
            try:
                line = self._lines.get(timeout=START_SECONDS)
            except queue.Empty:
                self.stop()
                raise AssertionError(f"latimer was not ready in {START_SECONDS:.0f} s: {self.stderr[-2000:]}") from None
            if line is None:
                self.stop()
                raise AssertionError(f"latimer ended (exit {self.process.returncode}): {self.stderr[-2000:]}")
            if match := READY.fullmatch(line.strip()):
                self.url = match.group(1)
                return self

    def exit_code(self, timeout: float = START_SECONDS) -> int:
        """Wait for it to end by itself."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"latimer is still running after {timeout:.0f} s: {self.stdout}") from None
        self._join()
        return code

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                self._join()
                raise AssertionError(f"latimer ignored SIGINT for {STOP_SECONDS:.0f} s: {self.stderr}") from None
        self._join()
        return self.process.returncode

    def _collect(self, stream: IO[str], lines: list[str], announce: bool) -> None:
        with stream:
            for line in stream:
                lines.append(line)
                if announce:
                    self._lines.put(line)
        if announce:
            self._lines.put(None)

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(STOP_SECONDS)


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the developer's own settings: no config, no proxy variables, no keys."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_START") if name in os.environ}
    folders = {"HOME": home, "XDG_CONFIG_HOME": home / ".config", "LATIMER_STATE_DIR": home / "state"}
    return {**kept, **{name: str(folder) for name, folder in folders.items()}, "PYTHONUNBUFFERED": "1"}


@contextmanager
def latimer(
    upstream: str,
    *arguments: str,
    home: Path,
    config: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Latimer]:
    """A running `latimer serve` in front of `upstream`, on a free port."""
    flags = ["--upstream", upstream, "--model", MODEL, "--port", "0", *arguments]
    if config is not None:
        flags += ["--config", str(_written(config, home))]
    with serving(flags, home=home, environment=environment) as server:
        yield server


@contextmanager
def configured(upstream: str, rules: str = "", *, home: Path) -> Iterator[Latimer]:
    """A running `latimer serve` with a file that describes `upstream` as the provider `local`, with these rules."""
    config = f'[providers.local]\nbase_url = "{upstream}"\n{rules}\n[routes]\ndefault = "local/{MODEL}"\n'
    with serving(["--config", str(_written(config, home)), "--port", "0"], home=home) as server:
        yield server


def _written(config: str, home: Path) -> Path:
    path = home / "latimer.toml"
    path.write_text(config)
    return path


@contextmanager
def serving(arguments: Sequence[str], *, home: Path, environment: Mapping[str, str] | None = None) -> Iterator[Latimer]:
    """A running `latimer serve` with just these arguments."""
    server = Latimer(arguments, home=home, environment=environment)
    try:
        yield server.ready()
    finally:
        server.stop()
