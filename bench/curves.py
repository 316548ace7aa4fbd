"""How the cost moves: along the number of streams, and along a request's size, tools and turns."""

from __future__ import annotations

from bench import measure
from bench.table import BASE, NAMES, OWN, Rows, spread
from bench.workloads import CURVES, UNITS


def lines(rounds: int) -> Rows:
    """A row a point: nginx, Latimer, and their ratio."""
    names = [BASE, OWN]
    points = {key: point for curve in CURVES.values() for key, point in curve.items()}
    results = measure.collect(names, points, rounds)
    found = [["along", "at", "unit", *(NAMES[name] for name in names), f"{NAMES[OWN]} / {NAMES[BASE]}"]]
    for title, curve in CURVES.items():
        for key, point in curve.items():
            figures = [spread(results.values[key, name]) for name in names]
            found.append([title, point.title, UNITS[point.measure], *figures, spread(results.ratios(key, OWN))])
    return found
