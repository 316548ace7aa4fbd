"""Put one workload on one proxy and read the figure."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench import client, proxies
from bench.proxies import ROOT, Process
from bench.workloads import Workload

IDLE_AFTER = 1.0  # seconds from the ready line to the reading of idle memory
NEED_FRESH = ("start", "start cpu", "resident", "resident per stream")
Values = dict[tuple[str, str], list[float]]  # (workload, proxy) -> one value a round


class RunError(Exception):
    """A load did not come back whole; no figure of the run is worth anything."""


@dataclass
class Results:
    """The figures of every round, and how late the upstream's worst paced token was (seconds)."""

    values: Values = field(default_factory=dict)
    worst_lag: float = 0.0

    def add(self, workload: str, proxy: str, value: float) -> None:
        """Append one round's figure."""
        self.values.setdefault((workload, proxy), []).append(value)

    def ratios(self, workload: str, proxy: str, base: str = "nginx") -> list[float]:
        """Round by round, since what disturbs one round disturbs both of its figures."""
        pairs = zip(self.values.get((workload, proxy), []), self.values.get((workload, base), []), strict=False)
        return [value / other for value, other in pairs if other > 0]


def _control(upstream: Process, scenario: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(scenario).encode() if scenario else None
    request = urllib.request.Request(f"http://127.0.0.1:{upstream.port}/control", data=data)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def _start_client(load: client.Load) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin
    process.stdin.write(client.spec(load))
    process.stdin.close()
    process.stdin = None
    return process


def _result(process: subprocess.Popen[bytes], name: str) -> dict[str, Any]:
    output, errors = process.communicate()
    if process.returncode:
        raise RunError(f"{name}: {errors.decode(errors='replace').strip()}")
    answer: dict[str, Any] = json.loads(output)
    return answer


def _put(workload: Workload, process: Process) -> dict[str, Any]:
    return _result(_start_client(workload.load(process)), process.name)


def _peak_resident(workload: Workload, process: Process) -> int:
    before = peak = process.resident()
    load = _start_client(workload.load(process))
    while load.poll() is None:
        peak = max(peak, process.resident())
        time.sleep(0.05)
    _result(load, process.name)
    return peak - before


def _one(workload: Workload, running: dict[str, Process], names: Iterable[str]) -> Iterator[tuple[str, float]]:
    """The figure of each named proxy for one round of `workload`, in the unit of its measure."""
    scenario = {"shape": workload.shape, "tokens": workload.tokens, "rate": workload.rate}
    _control(running["direct"], scenario)
    if workload.measure == "added first token":
        direct = statistics.median(_put(workload, running["direct"])["first"])
        for name in names:
            yield name, (statistics.median(_put(workload, running[name])["first"]) - direct) * 1e3
    elif workload.measure == "resident per stream":
        for name in names:
            yield name, _peak_resident(workload, running[name]) / 1e3 / workload.units
    else:
        for name in names:
            before = running[name].cpu()
            _put(workload, running[name])
            yield name, (running[name].cpu() - before) * 1e6 / workload.units


def _fresh(names: list[str], workloads: dict[str, Workload]) -> Iterator[tuple[str, str, float]]:
    """The figures that only a process which has done nothing yet can give."""
    with proxies.running(names) as running:
        time.sleep(IDLE_AFTER)
        for key, workload in workloads.items():
            if workload.measure == "start":
                yield from ((key, name, running[name].started * 1e3) for name in names)
            elif workload.measure == "start cpu":
                yield from ((key, name, running[name].started_cpu * 1e3) for name in names)
            elif workload.measure == "resident":
                yield from ((key, name, running[name].resident() / 1e6) for name in names)
            else:
                yield from ((key, name, value) for name, value in _one(workload, running, names))


def run(names: list[str], workloads: dict[str, Workload], rounds: int) -> Iterator[tuple[int, str, str, float, float]]:
    """Yield (round, workload, proxy, figure, the upstream's worst lateness in seconds) as they are measured."""
    fresh = {key: workload for key, workload in workloads.items() if workload.measure in NEED_FRESH}
    loads = {key: workload for key, workload in workloads.items() if key not in fresh}
    warm = [Workload("", "cpu per token", connections=32, tokens=20, rate=50), Workload("", "cpu per request", 8, 10)]
    if loads:
        with proxies.running(names) as running:
            for workload in warm:
                list(_one(workload, running, names))
            for turn in range(rounds):
                for key, workload in loads.items():
                    for name, value in _one(workload, running, names):
                        yield turn, key, name, value, _control(running["direct"])["worst_lag"]
    for turn in range(rounds if fresh else 0):
        for key, name, value in _fresh(names, fresh):
            yield turn, key, name, value, 0.0
