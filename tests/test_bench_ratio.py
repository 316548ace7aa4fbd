"""A guard on what Latimer costs: CPU time beside nginx passing the same bytes through, in one run.

Ratios, because absolute times differ from machine to machine; of each side the best of the rounds, because noise from
other processes only ever adds. `python -m bench` measures properly; this only notices when something got much worse.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROUNDS = 3
# Row of `python -m bench` -> the most that Latimer may cost there, as a multiple of what nginx costs in another row. To
# be lowered with the cost. The large requests are held against nginx's small one: its own few are too short to measure.
WORST = {
    "paced32": ("paced32", 3.5),
    "tools32": ("tools32", 3.5),
    "unpaced": ("unpaced", 4.0),
    "whole": ("whole", 28.0),
    "cpu50": ("whole", 120.0),
    "cpu500": ("whole", 350.0),
}


@pytest.mark.timeout(150)
def test_the_cost_beside_nginx_has_not_risen() -> None:
    rows = ["--only", ",".join(WORST), "--rounds", str(ROUNDS), "--quick", "--json"]
    run = subprocess.run([sys.executable, "-m", "bench", *rows], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    best: dict[tuple[str, str], float] = {}
    for row in json.loads(run.stdout)["rows"]:
        assert len(row["values"]) == ROUNDS
        best[row["row"], row["proxy"]] = min(row["values"])
    ratios = {row: best[row, "latimer"] / best[base, "nginx"] for row, (base, _) in WORST.items()}
    risen = {row: f"{ratio:.2f} > {WORST[row][1]}" for row, ratio in ratios.items() if ratio > WORST[row][1]}
    assert not risen, f"CPU time as a multiple of nginx's has risen: see `python -m bench`; all: {ratios}"
