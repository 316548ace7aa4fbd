"""A guard on what a streamed token costs: CPU time beside nginx passing the same bytes through, in one run.

A ratio, because absolute times differ from machine to machine; the best of three short rounds, because noise from
other processes only ever adds. `python -m bench` measures properly; this only notices when something got much worse.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORST_RATIO = 4.0


@pytest.mark.timeout(60)
def test_a_streamed_token_costs_at_most_four_times_nginx() -> None:
    command = [sys.executable, "-m", "bench", "--only", "paced32", "--rounds", "3", "--quick", "--json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    ratios = next(row["ratios"] for row in json.loads(run.stdout)["rows"] if row["proxy"] == "latimer")
    assert len(ratios) == 3
    assert min(ratios) <= WORST_RATIO, f"CPU per streamed token is {ratios} times nginx's: see `python -m bench`"
