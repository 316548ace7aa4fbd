"""Several processes behind one port: `latimer serve --workers N`.

The parent binds the port, forks the workers and waits. It has no event loop and no threads, so that it may fork at any
time. Each worker shares with it the listening sockets, in whose queue connections wait while a worker is replaced, and
a channel of its own: on it the worker says that it is ready, or why it cannot be, and the parent tells it to stop, or
of a newer configuration. When the channel ends, so has the process on its other side; a worker then stops gracefully.
No worker outlives the parent, however that ends. Figures and other ways: docs/decisions/0011-workers.md.

A newer configuration is read by the parent and tried by one worker. When it can be used there, all have it, and those
that are started later.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import NoReturn

from msgspec import Struct, json
from msgspec.structs import replace

from latimer.errors import ConfigError, LatimerError
from latimer.launch import run_loop
from latimer.policy.config import Config
from latimer.shell.discretion import described
from latimer.shell.http.accepting import ABSENT, shared_loads
from latimer.shell.http.serving import BACKLOG
from latimer.shell.notify import READY as IS_READY
from latimer.shell.notify import STOPPING, notify, reloading
from latimer.shell.reload import LOOK_SECONDS, Taken, needs_restart, reason, staying
from latimer.shell.server import STOP_SECONDS, Place
from latimer.shell.service import base_url
from latimer.shell.shared_metrics import SharedMetrics
from latimer.shell.signals import STOPPING_CODES, Terminal, handlers
from latimer.shell.worker import Answer, Job, Ready, Refusal, Reload, Stop, Told, line, lines, work

log = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A worker that has lived so long is replaced at once when it dies."""
FIRST_WAIT_SECONDS = 0.25
"""How long a worker that died sooner is waited with; twice as long each further time in a row."""
LONGEST_WAIT_SECONDS = 8.0
MOST_DEATHS = 5
"""When one has died so often in a row before all were ready, or all have later, there is no point in going on."""
GRACE_SECONDS = STOP_SECONDS + 2.0
"""How long workers may take to stop, beyond `server.shutdown_seconds`, before they are killed."""
SEND_SECONDS = 2.0
"""How long the parent waits for a worker that does not read."""
_SIGNALS = tuple(getattr(signal, name) for name in STOPPING_CODES if hasattr(signal, name))


class Worker:
    """What the parent knows of the worker at one slot. `pid` is 0 while there is none."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.pid = 0
        self.channel: socket.socket | None = None
        self.heard = b""
        """What it said last, up to where it is no whole line yet."""
        self.ready = False
        self.refusal: Refusal | None = None
        self.started = 0.0
        self.due = 0.0
        """When the next one may start, by the monotonic clock."""
        self.deaths = 0
        """In a row, each soon after its start."""


class Trial(Struct, frozen=True):
    """A newer configuration that a worker tries."""

    config: Config
    text: str | None
    restart: tuple[str, ...]
    worker: Worker


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


def supervise(job: Job, count: int, sockets: Sequence[socket.socket], ready: Callable[[str], None]) -> int:
    """Serve with `count` workers until SIGTERM (0) or SIGINT (130); returns that exit code.

    `ready` is called once with the base URL, when every worker answers. Raises `LatimerError` when a worker cannot
    start before that, or when none can any more.
    """
    return Supervisor(job, count, sockets).run(ready)


def wait_after(deaths: int) -> float:
    """Seconds until another may start, after so many deaths in a row."""
    if deaths == 0:
        return 0.0
    doublings = min(deaths - 1, 30)  # a float holds no more than a thousand
    return min(FIRST_WAIT_SECONDS * 2.0**doublings, LONGEST_WAIT_SECONDS)


class Supervisor:
    """The parent of the workers."""

    def __init__(self, job: Job, count: int, sockets: Sequence[socket.socket]) -> None:
        self._job = job
        self._first = job.config
        self._file = job.source.file
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._trial: Trial | None = None
        self._wanted = False
        """Whether the configuration is to be read although its file is as it was."""
        self._terminal = Terminal()
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
                self._stop(signals)
                self._selector.close()

    # --- while it runs ---

    def _watch(self, signals: socket.socket, ready: Callable[[str], None]) -> int:
        while True:
            self._start_due()
            ready_now = [key for key, _ in self._selector.select(self._patience())]
            if any(key.fileobj is signals for key in ready_now):  # first: it may be why a worker has ended
                code = self._asked(signals.recv(64))
                if code is not None:
                    return code
            for key in ready_now:
                if key.fileobj is not signals:
                    self._hear(key.data)
            if self._all_ready:
                self._look()
            if not self._all_ready and all(worker.ready for worker in self._workers):
                self._all_ready = True
                host, port, *_ = self._sockets[0].getsockname()
                ready(base_url(host, port))

    def _asked(self, numbers: bytes) -> int | None:
        """The exit code, if a signal asks for the end."""
        for number in numbers:
            name = signal.Signals(number).name
            if name != "SIGHUP" or self._terminal.gone:
                return STOPPING_CODES[name]
        self._wanted = True
        return None

    def _patience(self) -> float | None:
        """Seconds until a worker may start again, or the file is to be looked at."""
        waiting = [worker.due for worker in self._absent()]
        if self._all_ready:
            waiting.append(self._look_at)
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
        worker.ready, worker.refusal = False, None
        try:
            worker.channel, theirs = socket.socketpair()
            worker.channel.settimeout(SEND_SECONDS)
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
            told, worker.heard = lines(worker.heard, said)
            for each in told:
                self._told(worker, json.decode(each, type=Ready | Answer | Refusal))
            return
        self._selector.unregister(worker.channel)
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        log.warning("worker %d (process %d) ended with %s", worker.slot, worker.pid, how)
        self._died(worker, worker.refusal)

    def _told(self, worker: Worker, said: Ready | Answer | Refusal) -> None:
        if isinstance(said, Ready):
            worker.ready = True
        elif isinstance(said, Refusal):
            worker.refusal = said
        elif self._trial is not None and self._trial.worker is worker:
            self._tried(self._trial, said.error)

    def _died(self, worker: Worker, refusal: Refusal | None) -> None:
        """Plan another in its place. Raises `LatimerError` when that is no use."""
        now = time.monotonic()
        if worker.channel is not None:
            worker.channel.close()
        worker.pid, worker.channel, worker.ready = 0, None, False
        if self._trial is not None and self._trial.worker is worker:
            self._tried(self._trial, f"worker {worker.slot} ended while it took it over; SIGHUP lets another one try")
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

    # --- newer configurations ---

    def _look(self) -> None:
        """Read the configuration when its file has changed, or somebody wants it, and a worker can try it."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._wanted = self._file.changed() or self._wanted
        worker = next((worker for worker in self._workers if worker.ready), None)
        if self._wanted and self._trial is None and worker is not None:
            self._wanted = False
            self._reload(worker)

    def _reload(self, worker: Worker) -> None:
        """Have a worker try what the file says now."""
        notify(reloading())
        self._file.take()
        try:
            text = self._job.source.read()
            config = self._job.source.parse(text)
            self._trial = Trial(staying(config, self._first.server), text, needs_restart(self._first, config), worker)
        except Exception as error:
            why = reason(error)
            log.error("the configuration stays as it was: %s", why)
            self._refused(why)
            return
        self._send(worker, Reload(text, self._job.taken.number + 1, first=True))

    def _tried(self, trial: Trial, error: str) -> None:
        """One worker has tried it: all shall have it, or none."""
        self._trial = None
        if error:
            self._refused(error)
            return
        taken = Taken(self._job.taken.number + 1, time.time(), restart=trial.restart)
        self._job = replace(self._job, config=trial.config, taken=taken)
        for worker in self._workers:
            if worker.pid and worker is not trial.worker:
                self._send(worker, Reload(trial.text, taken.number, first=False))
        notify(IS_READY)

    def _refused(self, error: str) -> None:
        self._job = replace(self._job, taken=replace(self._job.taken, error=error))
        for worker in self._workers:
            self._send(worker, Told(self._job.taken))
        notify(IS_READY)

    def _send(self, worker: Worker, order: Stop | Reload | Told) -> None:
        """What cannot be sent needs no answer: the worker has ended, which its channel tells, or hangs."""
        if worker.channel is None:
            return
        try:
            worker.channel.sendall(line(order))
        except TimeoutError:
            log.error("worker %d (process %d) does not listen and is killed", worker.slot, worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
        except OSError:
            pass

    # --- its end ---

    def _stop(self, signals: socket.socket) -> None:
        """Let the workers stop gracefully, at once when another signal comes, and kill what does not."""
        notify(STOPPING)
        for one in self._sockets:
            one.close()
        alive = [worker for worker in self._workers if worker.channel is not None]
        for worker in alive:
            self._send(worker, Stop())
        deadline = time.monotonic() + self._job.config.server.shutdown_seconds + GRACE_SECONDS
        while alive and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.fileobj is signals:
                    signals.recv(64)
                    for worker in alive:
                        self._send(worker, Stop(now=True))
                elif _ended(key.data):
                    self._selector.unregister(key.fileobj)
                    alive.remove(key.data)
        for worker in self._workers:
            if worker in alive:
                log.error("worker %d (process %d) did not stop and is killed", worker.slot, worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
            if worker.pid:
                os.waitpid(worker.pid, 0)

    # --- in the worker ---

    def _become(self, worker: Worker, channel: socket.socket) -> NoReturn:
        """The forked process: serve, and end without ever returning into what the parent was doing."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                # What SIGHUP asks for is the parent's business.
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._selector.close()
            for other in self._workers:
                if other.channel is not None:
                    other.channel.close()
            first = worker.slot == 0 and not self._all_ready and worker.deaths == 0
            place = Place(self._sockets, self._loads, self._shared, worker.slot, first)
            code = run_loop(work(self._job, place, channel))
        except LatimerError as error:
            channel.sendall(line(Refusal(str(error), isinstance(error, ConfigError))))
        except BaseException as error:
            log.error("worker %d: unexpected %s", worker.slot, described(error))
        finally:
            logging.shutdown()
            os._exit(code)


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
    try:
        with handlers(dict.fromkeys(STOPPING_CODES, lambda *_: None)):
            yield reader
    finally:
        signal.set_wakeup_fd(previous)
        reader.close()
        writer.close()
