"""Figures as text: aligned for a terminal, Markdown for a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.measure import KEEPS_UP, Results
from bench.workloads import UNITS, Workload

Rows = list[list[str]]  # the first is the head
NAMES = {"nginx": "nginx", "latimer": "Latimer", "ccr": "claude-code-router", "litellm": "LiteLLM"}
BASE, OWN = "nginx", "latimer"


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """The median, and the lowest and the highest behind it."""
    if not values:
        return "-"
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def cell(results: Results, key: str, name: str) -> str:
    """One proxy's figure in a row; where it could not keep up or failed, that is said."""
    if (key, name) in results.failures:
        return results.failures[key, name].rpartition("bench.client: ")[2].splitlines()[0][:60]
    text = spread(results.values.get((key, name), []))
    pace = results.pace(key, name)
    return text if pace >= KEEPS_UP else f"{text}, at {pace:.0%} of the pace"


def rows(results: Results, workloads: dict[str, Workload], names: list[str]) -> Rows:
    """A row a workload: every proxy's figure, then Latimer beside nginx, then each peer beside Latimer."""
    peers = [name for name in names if name not in (BASE, OWN)]
    ratios = [(OWN, BASE)] if {OWN, BASE} <= set(names) else []
    ratios += [(peer, OWN) for peer in peers if OWN in names]
    lines = [["row", "unit", *(NAMES[name] for name in names), *(f"{NAMES[a]} / {NAMES[b]}" for a, b in ratios)]]
    for key, workload in workloads.items():
        line = [workload.title, UNITS[workload.measure], *(cell(results, key, name) for name in names)]
        for name, base in ratios:
            comparable = workload.measure.startswith("cpu") or base == OWN
            line.append(spread(results.ratios(key, name, base)) if comparable else "")
        lines.append(line)
    return lines


def text(lines: Rows) -> str:
    """Columns of one width each."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def markdown(lines: Rows) -> str:
    """A table of GitHub's Markdown."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))
