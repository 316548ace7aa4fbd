"""Several processes behind one port: `latimer serve --workers N`.

The parent binds the port, forks the workers and waits. It has no event loop and no threads, so that it may fork at any
time. Each worker shares with it the listening sockets, in whose queue connections wait while a worker is replaced, and
a channel of its own: on it the worker says that it is ready, or why it cannot be. When the channel ends, so has the
process on its other side; a worker then stops gracefully, as it does when the parent closes it. No worker outlives the
parent, however that ends. Figures and other ways: docs/decisions/0011-workers.md.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from msgspec import DecodeError, Struct, json

from latimer.errors import ConfigError, LatimerError
from latimer.launch import run_loop, until_signal
from latimer.policy.config import Config
from latimer.shell.http.accepting import ABSENT, shared_loads
from latimer.shell.http.serving import BACKLOG
from latimer.shell.server import SHUTDOWN_SECONDS, STOP_SECONDS, Place, base_url, running
from latimer.shell.shared_metrics import SharedMetrics

log = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A worker that has lived so long is replaced at once when it dies."""
FIRST_WAIT_SECONDS = 0.25
"""How long a worker that died sooner is waited with; twice as long each further time in a row."""
LONGEST_WAIT_SECONDS = 8.0
MOST_DEATHS = 5
"""When one has died so often in a row before all were ready, or all have later, there is no point in going on."""
GRACE_SECONDS = SHUTDOWN_SECONDS + STOP_SECONDS + 2.0
"""How long workers may take to stop before they are killed; by their own limits they need less."""
READY = b"\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Refusal(Struct, frozen=True):
    """Why a worker cannot start, on its channel."""

    message: str
    config: bool
    """Whether the configuration is at fault."""

    def error(self) -> LatimerError:
        return ConfigError(self.message) if self.config else LatimerError(self.message)


class Worker:
    """What the parent knows of the worker at one slot. `pid` is 0 while there is none."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.pid = 0
        self.channel: socket.socket | None = None
        self.heard = b""
        self.started = 0.0
        self.due = 0.0
        """When the next one may start, by the monotonic clock."""
        self.deaths = 0
        """In a row, each soon after its start."""

    @property
    def ready(self) -> bool:
        return self.pid != 0 and self.heard == READY


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen where a single process would. Raises OSError."""

    async def bound() -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, host or None, port, start_serving=False)
        try:
            return [socket.socket(fileno=os.dup(one.fileno())) for one in server.sockets]
        finally:
            server.close()

    sockets = asyncio.run(bound())
    for one in sockets:
        one.listen(BACKLOG)
        one.setblocking(False)
    return sockets


def supervise(
    config: Config, state: Path, count: int, sockets: Sequence[socket.socket], ready: Callable[[str], None]
) -> int:
    """Serve with `count` workers until SIGTERM (0) or SIGINT (130); returns that exit code.

    `ready` is called once with the base URL, when every worker answers. Raises `LatimerError` when a worker cannot
    start before that, or when none can any more.
    """
    return Supervisor(config, state, count, sockets).run(ready)


def wait_after(deaths: int) -> float:
    """Seconds until another may start, after so many deaths in a row."""
    if deaths == 0:
        return 0.0
    doublings = min(deaths - 1, 30)  # a float holds no more than a thousand
    return min(FIRST_WAIT_SECONDS * 2.0**doublings, LONGEST_WAIT_SECONDS)


class Supervisor:
    """The parent of the workers."""

    def __init__(self, config: Config, state: Path, count: int, sockets: Sequence[socket.socket]) -> None:
        self._config = config
        self._state = state
        self._sockets = sockets
        self._loads = shared_loads(count)
        self._shared = SharedMetrics(count)
        self._workers = [Worker(slot) for slot in range(count)]
        self._selector = selectors.DefaultSelector()
        self._all_ready = False

    def run(self, ready: Callable[[str], None]) -> int:
        """See `supervise`."""
        with suppress(ImportError):
            import_module("uvloop")  # once for all workers
        gc.freeze()  # pages that no collection writes to stay shared with the workers
        with _signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ)
            try:
                return self._watch(signals, ready)
            finally:
                self._selector.unregister(signals)
                self._stop()

    # --- while it runs ---

    def _watch(self, signals: socket.socket, ready: Callable[[str], None]) -> int:
        while True:
            self._start_due()
            heard = [key for key, _ in self._selector.select(self._patience())]
            if any(key.fileobj is signals for key in heard):  # first: it may be why a worker has ended
                return 130 if signal.SIGINT in signals.recv(64) else 0
            for key in heard:
                self._hear(key.data)
            if not self._all_ready and all(worker.ready for worker in self._workers):
                self._all_ready = True
                host, port, *_ = self._sockets[0].getsockname()
                ready(base_url(host, port))

    def _patience(self) -> float | None:
        """Seconds until a worker may start again."""
        waiting = [worker.due for worker in self._absent()]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _absent(self) -> list[Worker]:
        """Those that are to be started. The first comes first: when it cannot start, nothing has been told twice."""
        rest = self._workers[1:] if self._all_ready or self._workers[0].ready else []
        return [worker for worker in (self._workers[0], *rest) if not worker.pid]

    def _start_due(self) -> None:
        for worker in self._absent():
            if worker.due <= time.monotonic():
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        worker.heard, worker.started = b"", time.monotonic()
        try:
            worker.channel, theirs = socket.socketpair()
        except OSError as error:
            self._died(worker, Refusal(f"it has no channel: {error.strerror}", config=False))
            return
        # A signal that comes between the fork and the worker's own handlers must wait for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        failure = ""
        try:
            worker.pid = os.fork()
        except OSError as error:
            failure = f"it could not be forked: {error.strerror}"
        if worker.pid == 0 and not failure:
            self._become(worker, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        if failure:
            self._died(worker, Refusal(failure, config=False))
        else:
            self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _hear(self, worker: Worker) -> None:
        assert worker.channel is not None
        try:
            said = worker.channel.recv(65536)
        except ConnectionError:
            said = b""
        if said:
            worker.heard += said
            return
        self._selector.unregister(worker.channel)
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        log.warning("worker %d (process %d) ended with %s", worker.slot, worker.pid, how)
        self._died(worker, _refusal(worker.heard))

    def _died(self, worker: Worker, refusal: Refusal | None) -> None:
        """Plan another in its place. Raises `LatimerError` when that is no use."""
        now = time.monotonic()
        if worker.channel is not None:
            worker.channel.close()
        worker.pid, worker.channel = 0, None
        self._loads[worker.slot] = ABSENT
        self._shared.ended(worker.slot)
        if refusal is not None and not self._all_ready:
            raise refusal.error()
        worker.deaths = worker.deaths + 1 if now - worker.started < STEADY_SECONDS else 0
        worker.due = now + wait_after(worker.deaths)
        if refusal is not None:
            log.error("worker %d could not start: %s", worker.slot, refusal.message)
        doomed = self._workers if self._all_ready else [worker]
        if all(not each.pid and each.deaths >= MOST_DEATHS for each in doomed):
            raise refusal.error() if refusal else LatimerError("the workers die soon after they start; see the log")

    # --- its end ---

    def _stop(self) -> None:
        """Let the workers stop gracefully, and kill what does not."""
        for one in self._sockets:
            one.close()
        alive = [worker for worker in self._workers if worker.channel is not None]
        for worker in alive:
            assert worker.channel is not None
            with suppress(OSError):
                worker.channel.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + GRACE_SECONDS
        while alive and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if _ended(key.data):
                    self._selector.unregister(key.fileobj)
                    alive.remove(key.data)
        for worker in self._workers:
            if worker in alive:
                log.error("worker %d (process %d) did not stop and is killed", worker.slot, worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
            if worker.pid:
                os.waitpid(worker.pid, 0)
        self._selector.close()

    # --- in the worker ---

    def _become(self, worker: Worker, channel: socket.socket) -> NoReturn:
        """The forked process: serve, and end without ever returning into what the parent was doing."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._selector.close()
            for other in self._workers:
                if other.channel is not None:
                    other.channel.close()
            first = worker.slot == 0 and not self._all_ready and worker.deaths == 0
            place = Place(self._sockets, self._loads, self._shared, worker.slot, first)
            code = run_loop(_work(self._config, self._state, place, channel))
        except LatimerError as error:
            channel.sendall(json.encode(Refusal(str(error), isinstance(error, ConfigError))))
        except BaseException as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("worker %d: unexpected %s\n%s", worker.slot, type(error).__name__, where)
        finally:
            logging.shutdown()
            os._exit(code)


async def _work(config: Config, state: Path, place: Place, channel: socket.socket) -> int:
    """Serve until the channel ends, or a signal comes."""
    with until_signal() as stopped:

        def ended() -> None:
            loop.remove_reader(channel)
            if not stopped.done():
                stopped.set_result(0)

        loop = asyncio.get_running_loop()
        loop.add_reader(channel, ended)
        async with running(config, state, place):
            with suppress(OSError):  # the parent is gone, which `stopped` tells as well
                channel.sendall(READY)
            return await stopped


def _refusal(heard: bytes) -> Refusal | None:
    """What a worker said before it ended; None when it was ready, or did not come to the end of its words."""
    try:
        return json.decode(heard, type=Refusal)
    except DecodeError:
        return None


def _ended(worker: Worker) -> bool:
    assert worker.channel is not None
    try:
        return not worker.channel.recv(65536)
    except ConnectionError:
        return True


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket on which the numbers of signals arrive, one byte each."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield reader
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous)
        reader.close()
        writer.close()
