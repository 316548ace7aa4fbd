"""Counters in shared memory: sums, deaths in the middle of a write, and processes that take over."""

import asyncio
import os
import struct

import pytest

from latimer.events import Usage
from latimer.shell import shared_metrics
from latimer.shell.metrics import Metrics, Snapshot
from latimer.shell.shared_metrics import SharedMetrics


def some(requests: int, cost: float = 0.5) -> Metrics:
    metrics = Metrics()
    metrics.requests["/v1/messages", "200"] += requests
    metrics.answered("p/m", Usage(10, 2, 3, 4, 5), cost)
    metrics.answered("p/free", Usage(1, 1), None)
    metrics.retries["p/m"] += 1
    metrics.repairs["p/m", "tool_json"] += 1
    metrics.reviews["allowed"] += 1
    metrics.open += 1
    return metrics


def test_what_is_written_is_read() -> None:
    shared = SharedMetrics(3)
    assert shared.read(1) == Snapshot()
    shared.write(1, some(5).snapshot())
    shared.write(1, some(6).snapshot())
    assert shared.read(1) == some(6).snapshot()
    assert shared.read(0) == shared.read(2) == Snapshot()


def test_every_counter_is_in_a_sum() -> None:
    shared = SharedMetrics(2)
    shared.write(1, some(5).snapshot())
    total = shared.total(0, some(2, cost=0.25))
    twice = {name: count * 2 for name, count in some(0).tokens.items()}
    assert total.requests == {("/v1/messages", "200"): 7}
    assert total.tokens == twice
    assert total.cost == {"p/m": 0.75}
    assert (total.unpriced, total.retries, total.reviews) == ({"p/free": 2}, {"p/m": 2}, {"allowed": 2})
    assert total.repairs == {("p/m", "tool_json"): 2}
    assert total.open == 2
    assert set(vars(total)) == set(Snapshot.__struct_fields__)  # a new counter must be summed as well


def test_a_sum_never_falls() -> None:
    shared = SharedMetrics(2)
    ours, theirs = some(5), some(1)
    first = shared.total(0, ours)
    second = shared.total(1, theirs)
    assert first.requests["/v1/messages", "200"] == 5
    assert second.requests["/v1/messages", "200"] == 6


def test_a_dead_worker_has_nothing_open() -> None:
    shared = SharedMetrics(1)
    shared.write(0, some(5).snapshot())
    shared.ended(0)
    assert shared.read(0).open == 0
    assert shared.read(0).requests == {("/v1/messages", "200"): 5}


async def test_the_next_one_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_metrics, "KEEP_SECONDS", 0.01)
    shared = SharedMetrics(1)
    first = Metrics()
    with shared.kept(0, first):
        first.retries["p/m"] += 1
        await asyncio.sleep(0.05)
        assert shared.read(0).retries == {"p/m": 1}
        first.retries["p/m"] += 1
    second = Metrics()
    with shared.kept(0, second):
        second.retries["p/m"] += 1
    assert shared.read(0).retries == {"p/m": 3}


def test_a_death_in_the_middle_of_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedMetrics(1)
    shared.write(0, some(1).snapshot())

    class Deadly(struct.Struct):
        def pack_into(self, *_: object) -> None:
            raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(shared_metrics, "_HEAD", Deadly("<II"))
        shared.write(0, some(2).snapshot())
    assert shared.read(0) == some(1).snapshot()
    shared.write(0, some(3).snapshot())
    assert shared.read(0) == some(3).snapshot()


def test_more_than_a_slot_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(shared_metrics.log, "error", said.append)
    shared = SharedMetrics(1)
    shared.write(0, some(1).snapshot())
    many = Metrics()
    many.retries.update({"x" * 1000 + str(number): 1 for number in range(1100)})
    shared.write(0, many.snapshot())
    assert len(said) == 1
    assert shared.read(0) == some(1).snapshot()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="shared with forked processes")
def test_processes_read_each_other_while_they_write() -> None:
    """No reader ever sees a part of one snapshot and a part of another."""
    shared = SharedMetrics(1)
    child = os.fork()
    if child == 0:
        for number in range(1, 3001):
            shared.write(0, Snapshot(retries={f"p/{'x' * (number % 50)}": number}, open=number))
        os._exit(0)
    last = 0
    while last < 3000:
        found = shared.read(0)
        assert found.open >= last
        assert list(found.retries.values()) == ([found.open] if found.open else [])
        last = found.open
    os.waitpid(child, 0)
