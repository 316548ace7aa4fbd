"""The CPU rows as a picture: bars on a logarithmic scale, each proxy as a multiple of nginx."""

from __future__ import annotations

import math
import statistics
from html import escape

from bench.measure import Results
from bench.table import BASE, NAMES, number
from bench.workloads import Workload

_COLOURS = {"latimer": "#2563eb", "ccr": "#d97706", "litellm": "#9f1239"}
_LEFT, _WIDTH, _RIGHT = 290, 520, 90  # pixels: labels, bars, the figure behind the longest bar
_BAR, _GAP, _TOP, _BOTTOM = 16, 14, 64, 52
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937}.small{font-size:11px;fill:#6b7280}"
    ".title{font-size:15px;font-weight:600}.grid{stroke:#e5e7eb}.base{stroke:#6b7280}"
)


def _bars(results: Results, workloads: dict[str, Workload], names: list[str]) -> dict[str, dict[str, float]]:
    """Title of a row -> proxy -> its median multiple of nginx."""
    found: dict[str, dict[str, float]] = {}
    for key, workload in workloads.items():
        ratios = {name: results.ratios(key, name) for name in names if name != BASE}
        if workload.measure in ("cpu per token", "cpu per request") and all(ratios.get("latimer", [])):
            found[workload.title] = {name: statistics.median(values) for name, values in ratios.items() if values}
    return {title: bars for title, bars in found.items() if bars}


def svg(results: Results, workloads: dict[str, Workload], names: list[str], stamp: str) -> str:
    """An SVG document; `stamp` says when and on what the figures were taken."""
    rows = _bars(results, workloads, names)
    highest = max((value for bars in rows.values() for value in bars.values()), default=10.0)
    decades = max(math.ceil(math.log10(highest)), 1)
    scale = _WIDTH / decades
    body: list[str] = []
    y = _TOP
    for title, bars in rows.items():
        middle = y + len(bars) * _BAR / 2 + 4
        body.append(f'<text x="{_LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(title)}</text>')
        for name, value in bars.items():
            width = max(math.log10(value) * scale, 1)
            body.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{_COLOURS[name]}"/>')
            body.append(f'<text class="small" x="{_LEFT + width + 5:.1f}" y="{y + 11}">{number(value)}</text>')
            y += _BAR
        y += _GAP
    height, whole = y + _BOTTOM, _LEFT + _WIDTH + _RIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" width="{whole}">',
            f"<style>{_STYLE}</style>",
            f'<rect width="{whole}" height="{height}" fill="#fff"/>',
            f'<text class="title" x="{_LEFT}" y="22">CPU time as a multiple of nginx, less is better</text>',
            *_legend(names),
            *_grid(decades, scale, y),
            *body,
            *(
                f'<text class="small" x="10" y="{height - 26 + 14 * line}">{escape(part)}</text>'
                for line, part in enumerate(stamp.split("; "))
            ),
            "</svg>\n",
        ]
    )


def _legend(names: list[str]) -> list[str]:
    x, drawn = _LEFT, []
    for name in (name for name in names if name in _COLOURS):
        drawn.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{_COLOURS[name]}"/>')
        drawn.append(f'<text x="{x + 17}" y="45">{NAMES[name]}</text>')
        x += 40 + 8 * len(NAMES[name])
    return drawn


def _grid(decades: int, scale: float, bottom: int) -> list[str]:
    drawn = []
    for decade in range(decades + 1):
        x = _LEFT + decade * scale
        kind = "grid" if decade else "base"
        drawn.append(f'<line class="{kind}" x1="{x:.0f}" y1="{_TOP - 8}" x2="{x:.0f}" y2="{bottom - 6}"/>')
        label = f"{10**decade}x" if decade else "nginx"
        drawn.append(f'<text class="small" x="{x:.0f}" y="{bottom + 8}" text-anchor="middle">{label}</text>')
    return drawn
