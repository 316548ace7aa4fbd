"""What is measured, as data: a new row is a new entry of WORKLOADS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.client import Load
from bench.proxies import Process

Measure = Literal[
    "cpu per token", "cpu per request", "added first token", "resident per stream", "start", "start cpu", "resident"
]
UNITS: dict[Measure, str] = {
    "cpu per token": "us CPU/token",
    "cpu per request": "us CPU/request",
    "added first token": "ms added",
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
    usual: bool = True  # part of a run that names no rows

    def load(self, process: Process) -> Load:
        """The load to put on `process`."""
        return Load(
            process.port,
            process.dialect,
            self.connections,
            self.requests,
            self.tokens,
            self.shape,
            self.stream,
            self.body_bytes,
        )

    def quick(self) -> Workload:
        """The same at about a third of the time: good for a look, not for a claim."""
        if self.rate:
            return replace(self, tokens=max(self.tokens // 3, 2))
        return replace(self, requests=max(self.requests // 3, 1))

    @property
    def units(self) -> int:
        """How many of what the measure is "per" the load makes."""
        streams = self.connections * self.requests
        return streams * self.tokens if self.measure == "cpu per token" else streams


WORKLOADS: dict[str, Workload] = {
    "paced32": Workload("32 streams at 100 tokens/s", "cpu per token", connections=32, tokens=300, rate=100),
    "paced512": Workload(
        "512 streams at 20 tokens/s", "cpu per token", connections=512, tokens=200, rate=20, usual=False
    ),
    "unpaced": Workload("32 streams, unpaced", "cpu per token", connections=32, requests=6, tokens=300),
    "tools32": Workload(
        "32 tool-argument streams at 100 tokens/s",
        "cpu per token",
        connections=32,
        tokens=300,
        rate=100,
        shape="tool",
        usual=False,
    ),
    "whole": Workload(
        "small requests, not streamed", "cpu per request", connections=8, requests=200, tokens=10, stream=False
    ),
    "body50": Workload("50 KB request: first token", "added first token", requests=60, tokens=2, body_bytes=50_000),
    "body500": Workload("500 KB request: first token", "added first token", requests=30, tokens=2, body_bytes=500_000),
    "cpu50": Workload("50 KB request: CPU", "cpu per request", requests=60, tokens=2, body_bytes=50_000),
    "cpu500": Workload("500 KB request: CPU", "cpu per request", requests=30, tokens=2, body_bytes=500_000),
    "start": Workload("exec to ready", "start"),
    "startcpu": Workload("exec to ready: CPU", "start cpu"),
    "idle": Workload("resident, idle", "resident"),
    "memory": Workload(
        "memory of 256 open streams", "resident per stream", connections=256, tokens=20, rate=10, usual=False
    ),
}
