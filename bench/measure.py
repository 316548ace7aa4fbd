"""Put one workload on one proxy and read the figure."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from bench import client, proxies
from bench.process import ROOT, Process
from bench.proxies import Running
from bench.workloads import Workload

IDLE_AFTER = 1.0  # seconds from the ready line to the reading of idle memory
NEED_FRESH = ("start", "start cpu", "resident", "resident per stream")
KEEPS_UP = 0.9  # of the upstream's pace; below, the proxy held the streams up
_WARM = [Workload("", "cpu per token", connections=32, tokens=20, rate=50), Workload("", "cpu per request", 8, 10)]
Key = tuple[str, str]  # (workload, proxy)


class RunError(Exception):
    """A load did not come back whole; the message says what was wrong with it."""


@dataclass(frozen=True)
class Figure:
    """What one round of one workload on one proxy gave.

    `value` is in the unit of the workload's measure; None if there is none, and `failure` says why. `pace` is the
    share of the upstream's pace that came through (1 for a load without a pace), `lag` how late the upstream's worst
    paced token was, in seconds.
    """

    turn: int
    workload: str
    proxy: str
    value: float | None
    pace: float = 1.0
    lag: float = 0.0
    failure: str = ""


@dataclass
class Results:
    """The figures of every round, and how late the upstream's worst paced token was (seconds)."""

    values: dict[Key, list[float]] = field(default_factory=dict)
    paces: dict[Key, list[float]] = field(default_factory=dict)
    failures: dict[Key, str] = field(default_factory=dict)
    worst_lag: float = 0.0

    def add(self, figure: Figure) -> None:
        """Append one round's figure."""
        key = (figure.workload, figure.proxy)
        if figure.value is None:
            self.failures[key] = figure.failure
            return
        self.values.setdefault(key, []).append(figure.value)
        self.paces.setdefault(key, []).append(figure.pace)
        self.worst_lag = max(self.worst_lag, figure.lag)

    def ratios(self, workload: str, proxy: str, base: str = "nginx") -> list[float]:
        """Round by round, since what disturbs one round disturbs both of its figures."""
        pairs = zip(self.values.get((workload, proxy), []), self.values.get((workload, base), []), strict=False)
        return [value / other for value, other in pairs if other > 0]

    def pace(self, workload: str, proxy: str) -> float:
        """The median share of the upstream's pace that came through; 1 if nothing was paced."""
        return statistics.median(self.paces.get((workload, proxy), [1.0]))

    def median(self, workload: str, proxy: str) -> float | None:
        """The middle of the rounds."""
        values = self.values.get((workload, proxy))
        return statistics.median(values) if values else None


def control(upstream: Process, scenario: dict[str, Any] | None = None) -> dict[str, Any]:
    """Set what the scripted upstream answers, or ask it for its worst lateness."""
    data = json.dumps(scenario).encode() if scenario else None
    request = urllib.request.Request(f"http://127.0.0.1:{upstream.port}/control", data=data)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def scenario(workload: Workload) -> dict[str, Any]:
    """What `control` tells the upstream for `workload`."""
    return {"shape": workload.shape, "tokens": workload.tokens, "rate": workload.rate}


def _python(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


def _start_client(load: client.Load) -> subprocess.Popen[bytes]:
    process = _python("bench.client")
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


def put(workload: Workload, process: Process) -> dict[str, Any]:
    """Put the load of `workload` on `process`; what `bench.client` says. Raises RunError."""
    return _result(_start_client(workload.load(process)), process.name)


def _pace(workload: Workload, result: dict[str, Any]) -> float:
    return min(workload.paced_seconds / result["whole"], 1.0) if workload.rate else 1.0


def _cpu(workload: Workload, process: Process) -> tuple[float, float]:
    before = process.cpu()
    result = put(workload, process)
    process.settle()
    return (process.cpu() - before) * 1e6 / workload.units(process), _pace(workload, result)


def _stall(workload: Workload, process: Process) -> tuple[float, float]:
    pinger = _python("bench.pinger", str(process.port), process.health)
    assert pinger.stdout
    pinger.stdout.readline()  # it is connected
    try:
        put(workload, process)
    finally:
        worst = _result(pinger, f"{process.name}: {process.health}")["worst"]
    return worst * 1e3, 1.0


def _peak_resident(workload: Workload, process: Process) -> tuple[float, float]:
    put(replace(workload, connections=1), process)  # what is loaded with the first request is no part of a stream
    before = peak = process.resident()
    load = _start_client(workload.load(process))
    while load.poll() is None:
        peak = max(peak, process.resident())
        time.sleep(0.05)
    result = _result(load, process.name)
    return (peak - before) / 1e3 / workload.units(process), _pace(workload, result)


def _reading(workload: Workload, direct: Process) -> Callable[[Process], tuple[float, float]]:
    """What measures one proxy: its figure in the unit of the workload's measure, and the pace it kept."""
    if workload.measure == "added first token":
        base = statistics.median(put(workload, direct)["first"])
        return lambda process: ((statistics.median(put(workload, process)["first"]) - base) * 1e3, 1.0)
    if workload.measure == "worst stall":
        return lambda process: _stall(workload, process)
    if workload.measure == "resident per stream":
        return lambda process: _peak_resident(workload, process)
    return lambda process: _cpu(workload, process)


def one(turn: int, key: str, workload: Workload, running: Running, names: Iterable[str]) -> Iterator[Figure]:
    """The figure of each named proxy for one round of `workload`.

    Raises RunError if nginx or Latimer lost something, for then no figure is worth anything; that a peer did is its
    figure.
    """
    direct = running["direct"]
    control(direct, scenario(workload))
    reading = _reading(workload, direct)
    for name in names:
        try:
            value, pace = reading(running[name])
        except RunError as error:
            if name in proxies.OURS:
                raise
            running.start(name)  # else it would go on with what nobody waits for, beside the next row
            _warm(running, [name])
            yield Figure(turn, key, name, None, failure=str(error))
        else:
            yield Figure(turn, key, name, value, pace, control(direct)["worst_lag"])
        control(direct, scenario(workload))


def _fresh(turn: int, names: list[str], workloads: dict[str, Workload]) -> Iterator[Figure]:
    """The figures that only a process which has done nothing yet can give."""
    with proxies.running(names) as running:
        time.sleep(IDLE_AFTER)
        for key, workload in workloads.items():
            if workload.measure == "start":
                yield from (Figure(turn, key, name, running[name].started * 1e3) for name in names)
            elif workload.measure == "start cpu":
                yield from (Figure(turn, key, name, running[name].started_cpu * 1e3) for name in names)
            elif workload.measure == "resident":
                yield from (Figure(turn, key, name, running[name].resident() / 1e6) for name in names)
            else:
                yield from one(turn, key, workload, running, names)


def _warm(running: Running, names: list[str]) -> None:
    for workload in _WARM:
        for name in names:
            control(running["direct"], scenario(workload))
            with contextlib.suppress(RunError):  # of a peer's first requests; the rows say what it cannot do
                put(workload, running[name])


def run(names: list[str], workloads: dict[str, Workload], rounds: int) -> Iterator[Figure]:
    """Measure every workload on every proxy, round by round; a peer that failed a workload is not asked again."""
    fresh = {key: workload for key, workload in workloads.items() if workload.measure in NEED_FRESH}
    loads = {key: workload for key, workload in workloads.items() if key not in fresh}
    failed: set[Key] = set()
    if loads:
        with proxies.running(names) as running:
            _warm(running, names)
            for turn in range(rounds):
                for key, workload in loads.items():
                    able = [name for name in names if (key, name) not in failed]
                    for figure in one(turn, key, workload, running, able):
                        if figure.value is None:
                            failed.add((key, figure.proxy))
                        yield figure
    for turn in range(rounds if fresh else 0):
        yield from _fresh(turn, names, fresh)


def collect(names: list[str], workloads: dict[str, Workload], rounds: int) -> Results:
    """`run` to its end, each figure said on standard error as it comes."""
    results = Results()
    for figure in run(names, workloads, rounds):
        results.add(figure)
        value = figure.failure if figure.value is None else f"{figure.value:.2f}"
        print(f"round {figure.turn + 1}: {figure.workload} {figure.proxy} {value}", file=sys.stderr)
    return results
