"""One of the processes of `latimer serve --workers N`, and what its parent and it tell each other.

Both write a line of JSON for each thing they say.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from msgspec import Struct, json

from latimer.errors import ConfigError, LatimerError
from latimer.policy.config import Config
from latimer.shell.instance import Identity
from latimer.shell.reload import Source, Taken
from latimer.shell.server import Place
from latimer.shell.service import Service, serving
from latimer.shell.signals import Signals, heard


class Job(Struct, frozen=True):
    """What all workers do."""

    config: Config
    state: Path
    source: Source
    identity: Identity
    taken: Taken


class Stop(Struct, frozen=True, tag=True):
    """To a worker: let open requests end, `now` not even those."""

    now: bool = False


class Reload(Struct, frozen=True, tag=True):
    """To a worker: use the configuration of this text. The first one that does tells the user of it."""

    text: str | None
    number: int
    first: bool


class Told(Struct, frozen=True, tag=True):
    """To a worker: what `/status` tells of the configuration."""

    taken: Taken


class Ready(Struct, frozen=True, tag=True):
    """From a worker: it serves."""


class Answer(Struct, frozen=True, tag=True):
    """From a worker: it uses the configuration, or why it does not."""

    error: str


class Refusal(Struct, frozen=True, tag=True):
    """From a worker: why it cannot start."""

    message: str
    config: bool
    """Whether the configuration is at fault."""

    def error(self) -> LatimerError:
        return ConfigError(self.message) if self.config else LatimerError(self.message)


def line(said: Stop | Reload | Told | Ready | Answer | Refusal) -> bytes:
    """A message as it goes over a channel."""
    return json.encode(said) + b"\n"


def lines(rest: bytes, more: bytes) -> tuple[list[bytes], bytes]:
    """The messages that are whole, as JSON, and the rest, to be given with what comes next."""
    *whole, rest = (rest + more).split(b"\n")
    return whole, rest


READY = line(Ready())


async def work(job: Job, place: Place, channel: socket.socket) -> int:
    """Serve until the parent is gone or says so, or a signal comes."""
    with heard() as signals:
        loop = asyncio.get_running_loop()
        orders: asyncio.Queue[Reload | Told] = asyncio.Queue()
        loop.add_reader(channel, _Ear(channel, signals, orders).listen)
        async with serving(job.config, job.state, place, identity=job.identity, signals=signals) as service:
            service.tell(job.taken)
            obeying = asyncio.create_task(_obey(orders, service, job.source, channel))
            with suppress(OSError):  # the parent is gone, which `signals` tell as well
                channel.sendall(READY)
            try:
                return await signals.stopped
            finally:
                obeying.cancel()


class _Ear:
    """What the parent says to a worker."""

    def __init__(self, channel: socket.socket, signals: Signals, orders: asyncio.Queue[Reload | Told]) -> None:
        self._channel = channel
        self._signals = signals
        self._orders = orders
        self._rest = b""

    def listen(self) -> None:
        """The channel has something to say, or has ended."""
        try:
            said = self._channel.recv(65536)
        except ConnectionError:
            said = b""
        if not said:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._take(Stop())
        orders, self._rest = lines(self._rest, said)
        for order in orders:
            self._take(json.decode(order, type=Stop | Reload | Told))

    def _take(self, order: Stop | Reload | Told) -> None:
        if not isinstance(order, Stop):
            self._orders.put_nowait(order)
        elif order.now:
            self._signals.hurry.set()
        else:
            self._signals.end(0)


async def _obey(
    orders: asyncio.Queue[Reload | Told], service: Service, source: Source, channel: socket.socket
) -> NoReturn:
    while True:
        order = await orders.get()
        if isinstance(order, Told):
            service.tell(order.taken)
            continue
        error = await service.reload(partial(source.parse, order.text), order.number, order.first)
        with suppress(OSError):
            channel.sendall(line(Answer(error)))
