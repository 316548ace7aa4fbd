"""What a worker hears from its parent, in whatever pieces it comes. tests/shell/test_workers.py has whole processes."""

import asyncio
import socket
import sys
from collections.abc import Iterator

import pytest
from msgspec import json

from latimer.shell.reload import Taken
from latimer.shell.signals import Signals
from latimer.shell.worker import Reload, Stop, Told, _Ear

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    parent, worker = socket.socketpair()
    with parent, worker:
        yield parent, worker


async def test_orders_in_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    parent, worker = ends
    signals, orders = Signals(), asyncio.Queue[Reload | Told]()
    ear = _Ear(worker, signals, orders)
    said = [
        Reload('[server]\nname = "ü"', 2, first=True),
        Told(Taken(2, 1.5, "no", ("server.port",))),
        Reload(None, 3, first=False),
    ]
    for byte in b"".join(json.encode(order) + b"\n" for order in said):
        parent.send(bytes([byte]))
        ear.listen()
    assert [orders.get_nowait() for _ in said] == said
    assert orders.empty()
    assert not signals.stopped.done()


async def test_being_told_to_stop_and_to_hurry(ends: tuple[socket.socket, socket.socket]) -> None:
    parent, worker = ends
    signals = Signals()
    ear = _Ear(worker, signals, asyncio.Queue())
    parent.send(json.encode(Stop()) + b"\n")
    ear.listen()
    assert signals.stopped.result() == 0
    signals.stop(130)  # the same Ctrl-C, of which the parent was quicker to tell
    assert not signals.hurry.is_set()
    parent.send(json.encode(Stop(now=True)) + b"\n")
    ear.listen()
    assert signals.hurry.is_set()


async def test_a_parent_that_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    parent, worker = ends
    signals = Signals()
    asyncio.get_running_loop().add_reader(worker, _Ear(worker, signals, asyncio.Queue()).listen)
    parent.close()
    assert await asyncio.wait_for(signals.stopped, 5) == 0
    assert not asyncio.get_running_loop().remove_reader(worker)  # else it would be told again and again
