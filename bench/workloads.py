"""What is measured, as data: a new row is a new entry of WORKLOADS, a new curve one of CURVES."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.bodies import TOOLS, TURNS
from bench.client import Load
from bench.process import Process

Measure = Literal[
    "cpu per token",
    "cpu per request",
    "added first token",
    "worst stall",
    "resident per stream",
    "start",
    "start cpu",
    "resident",
]
UNITS: dict[Measure, str] = {
    "cpu per token": "us CPU/token",
    "cpu per request": "us CPU/request",
    "added first token": "ms added",
    "worst stall": "ms worst",
    "resident per stream": "KB/stream",
    "start": "ms to ready",
    "start cpu": "ms CPU to ready",
    "resident": "MB resident",
}


@dataclass(frozen=True)
class Workload:
    """One row of the table: a load, the upstream's pace in tokens per second and stream (0: unpaced), and a measure."""

    title: str
    measure: Measure
    connections: int = 1
    requests: int = 1
    tokens: int = 1
    rate: float = 0
    shape: Literal["text", "tool"] = "text"
    stream: bool = True
    body_bytes: int = 0
    tools: int = TOOLS
    turns: int = TURNS
    count: bool = False
    usual: bool = True  # part of a run that names no rows
    time_limit: float = 90  # seconds

    def load(self, process: Process) -> Load:
        """The load to put on `process`."""
        return Load(
            process.port,
            process.dialect,
            self.connections,
            self._requests(process),
            self.tokens,
            self.shape,
            self.stream,
            self.body_bytes,
            self.tools,
            self.turns,
            self.count,
            self.time_limit,
        )

    def _requests(self, process: Process) -> int:
        return max(self.requests // process.lighter, 1)

    def quick(self) -> Workload:
        """The same at about a third of the time: good for a look, not for a claim."""
        if self.rate:
            return replace(self, tokens=max(self.tokens // 3, 2))
        return replace(self, requests=max(self.requests // 3, 1))

    def units(self, process: Process) -> int:
        """How many of what the measure is "per" the load on `process` makes."""
        streams = self.connections * self._requests(process)
        return streams * self.tokens if self.measure == "cpu per token" else streams

    @property
    def paced_seconds(self) -> float:
        """How long the upstream takes over its answer, if nobody holds it up; 0 for one without a pace."""
        return (self.tokens - 1) / self.rate if self.rate else 0.0


WORKLOADS: dict[str, Workload] = {
    "paced32": Workload("32 streams at 100 tokens/s", "cpu per token", connections=32, tokens=300, rate=100),
    "paced512": Workload(
        "512 streams at 20 tokens/s", "cpu per token", connections=512, tokens=150, rate=20, time_limit=180
    ),
    "full512": Workload("512 streams at 100 tokens/s", "cpu per token", connections=512, tokens=300, rate=100),
    "unpaced": Workload("32 streams, unpaced", "cpu per token", connections=32, requests=6, tokens=300),
    "tools32": Workload(
        "32 tool-argument streams at 100 tokens/s", "cpu per token", connections=32, tokens=300, rate=100, shape="tool"
    ),
    "whole": Workload(
        "small requests, not streamed", "cpu per request", connections=8, requests=200, tokens=10, stream=False
    ),
    "count": Workload(
        "count_tokens, 32 at a time, 50 KB",
        "cpu per request",
        connections=32,
        requests=12,
        body_bytes=50_000,
        count=True,
    ),
    "body50": Workload("50 KB request: first token", "added first token", requests=60, tokens=2, body_bytes=50_000),
    "body500": Workload("500 KB request: first token", "added first token", requests=30, tokens=2, body_bytes=500_000),
    "stall": Workload(
        "GET /health while 500 KB requests run", "worst stall", requests=150, tokens=2, body_bytes=500_000
    ),
    "cpu50": Workload("50 KB request: CPU", "cpu per request", requests=60, tokens=2, body_bytes=50_000),
    "cpu500": Workload("500 KB request: CPU", "cpu per request", requests=30, tokens=2, body_bytes=500_000),
    "start": Workload("exec to ready", "start"),
    "startcpu": Workload("exec to ready: CPU", "start cpu"),
    "idle": Workload("resident, idle", "resident"),
    "memory": Workload("memory of 256 open streams", "resident per stream", connections=256, tokens=30, rate=10),
}


def _streams(count: int) -> Workload:
    return Workload(f"{count}", "cpu per token", connections=count, tokens=100, rate=20)


def _sized(title: str, size: int, tools: int = TOOLS, turns: int = TURNS) -> Workload:
    return Workload(title, "cpu per request", requests=20, tokens=2, body_bytes=size, tools=tools, turns=turns)


CURVES: dict[str, dict[str, Workload]] = {
    "streams at 20 tokens/s": {f"s{count}": _streams(count) for count in (1, 8, 32, 128, 512)},
    "KB of request (60 tools, 40 turns)": {
        f"b{kilobytes}": _sized(f"{kilobytes}", kilobytes * 1000) for kilobytes in (50, 150, 500, 1500)
    },
    "tools (150 KB, 40 turns)": {f"t{count}": _sized(f"{count}", 150_000, tools=count) for count in (1, 15, 60, 120)},
    "turns (150 KB, 60 tools)": {f"m{count}": _sized(f"{count}", 150_000, turns=count) for count in (4, 40, 160, 400)},
}
"""What the cost is followed along -> a point of the curve each; a point's title is its place on that axis."""
