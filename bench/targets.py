"""What the figures should be (docs/performance.md), and whether they are."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from bench.measure import Results
from bench.table import BASE, NAMES, OWN, Rows, number
from bench.workloads import UNITS, WORKLOADS, Workload


@dataclass(frozen=True)
class Target:
    """The median of `of` in a row, by itself or divided by that of `per`, is at most `limit` (or at least)."""

    row: str
    limit: float
    of: str = OWN
    per: str = ""
    bound: Literal["at most", "at least"] = "at most"

    def value(self, results: Results) -> float | None:
        """The figure; None if the run did not measure it."""
        if self.per:
            ratios = results.ratios(self.row, self.of, self.per)
            return statistics.median(ratios) if ratios else None
        return results.median(self.row, self.of)

    def met(self, value: float) -> bool:
        """Whether `value` is within the limit."""
        return value <= self.limit if self.bound == "at most" else value >= self.limit


TARGETS = (
    Target("paced32", 1.9, per=BASE),
    Target("unpaced", 4, per=BASE),
    Target("whole", 4, per=BASE),
    Target("tools32", 1.9, per=BASE),
    Target("body50", 1.5),
    Target("body500", 8),
    Target("stall", 10),
    Target("start", 250),
    Target("idle", 45),
    Target("memory", 60),
    Target("paced32", 3, of="ccr", per=OWN, bound="at least"),
    Target("paced32", 20, of="litellm", per=OWN, bound="at least"),
)

_NOISE = 1.05  # a ratio of ratios that is no more than this is "no more"


def _line(target: Target, results: Results) -> list[str]:
    workload = WORKLOADS[target.row]
    unit = f"times {NAMES[target.per]}" if target.per else UNITS[workload.measure]
    who = NAMES[target.of]
    value = target.value(results)
    wanted = f"{target.bound} {target.limit:g} {unit}"
    if value is None:
        return [f"{who}: {workload.title}", wanted, "-", "not measured"]
    return [f"{who}: {workload.title}", wanted, number(value), "yes" if target.met(value) else "**no**"]


def _scales(results: Results, key: str) -> list[str]:
    few, many = results.ratios("paced32", OWN), results.ratios(key, OWN)
    title, wanted = f"Latimer / nginx, {WORKLOADS[key].title}", "no more than with 32"
    if not few or not many:
        return [title, wanted, "-", "not measured"]
    ratio = statistics.median(many) / statistics.median(few)
    return [title, wanted, f"{number(ratio)} times that", "yes" if ratio <= _NOISE else "**no**"]


def _ahead(results: Results, workloads: dict[str, Workload], peer: str) -> list[str]:
    behind, rows = [], 0
    for key, workload in workloads.items():
        own, other = results.median(key, OWN), results.median(key, peer)
        if own is None or other is None:
            continue
        rows += 1
        if own >= other:
            behind.append(workload.title)
    title, wanted = f"Latimer ahead of {NAMES[peer]}", "in every row that both have"
    if not rows:
        return [title, wanted, "-", "not measured"]
    found = f"{rows - len(behind)} of {rows} rows"
    return [title, wanted, found, "**no**: " + "; ".join(behind) if behind else "yes"]


def lines(results: Results, workloads: dict[str, Workload], names: list[str]) -> Rows:
    """A row a target: what is wanted, what was measured, whether it is met."""
    peers = [name for name in names if name not in (BASE, OWN)]
    found = [_line(target, results) for target in TARGETS if target.of in names and target.row in workloads]
    return [
        ["target", "wanted", "measured", "met"],
        *found,
        *(_scales(results, key) for key in ("full512", "paced512") if {"paced32", key} <= workloads.keys()),
        *(_ahead(results, workloads, peer) for peer in peers),
    ]
