"""The load itself: can the scripted upstream and the client keep the pace with nothing between them?"""

from __future__ import annotations

from bench import measure, proxies
from bench.process import Process
from bench.table import Rows, number, spread
from bench.workloads import Workload

PACES = ((32, 100), (512, 20), (512, 50), (512, 100))  # streams, tokens per second and stream
_TOKENS = 200


def lines(rounds: int) -> Rows:
    """A row a pace: seconds that a stream took beside those the pace makes, the latest token, CPU of the two ends."""
    found = [["streams", "paced, s", "taken, s", "latest token, ms", "upstream, us CPU/token", "client, us CPU/token"]]
    with proxies.running([]) as running:
        for streams, rate in PACES:
            workload = Workload("", "cpu per token", connections=streams, tokens=_TOKENS, rate=rate)
            whole, late, upstream, client = _rounds(workload, running["direct"], rounds)
            title, paced = f"{streams} at {rate} tokens/s", number(workload.paced_seconds)
            found.append([title, paced, spread(whole), spread(late), spread(upstream), spread(client)])
    return found


def _rounds(workload: Workload, direct: Process, rounds: int) -> tuple[list[float], ...]:
    whole, late, upstream, client = [], [], [], []
    for _ in range(rounds):
        measure.control(direct, measure.scenario(workload))
        before = direct.cpu()
        result = measure.put(workload, direct)
        tokens = workload.units(direct)
        upstream.append((direct.cpu() - before) * 1e6 / tokens)
        client.append(result["cpu"] * 1e6 / tokens)
        whole.append(result["whole"])
        late.append(measure.control(direct)["worst_lag"] * 1e3)
    return whole, late, upstream, client
