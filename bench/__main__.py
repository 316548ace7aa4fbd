"""`python -m bench`: run the workloads side by side and print the table."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys

from bench import measure, proxies
from bench.measure import Results
from bench.workloads import UNITS, WORKLOADS, Workload

ROUNDS = 3


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    usual = ",".join(key for key, workload in WORKLOADS.items() if workload.usual)
    parser.add_argument("--proxies", default="nginx,latimer", help=f"of {', '.join(proxies.PROXIES)}")
    parser.add_argument("--only", default=usual, help=f"rows, of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of every row (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="a third of the load: for a look, not for a claim")
    parser.add_argument("--json", action="store_true", help="every round's figures as JSON instead of a table")
    arguments = parser.parse_args()
    for given, known in ((arguments.proxies, proxies.PROXIES), (arguments.only, WORKLOADS)):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    return arguments


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def _table(results: Results, workloads: dict[str, Workload], names: list[str]) -> str:
    lines = [["row", "unit", *names, *(f"{name}/nginx" for name in names if name != "nginx")]]
    for key, workload in workloads.items():
        line = [workload.title, UNITS[workload.measure]]
        for name in names:
            values = results.values[key, name]
            line.append(_spread(values, _digits(statistics.median(values))))
        for name in names:
            ratios = results.ratios(key, name) if workload.measure.startswith("cpu") else []
            if name != "nginx":
                line.append(_spread(ratios, 2) if ratios else "")
        lines.append(line)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _json(results: Results, workloads: dict[str, Workload], names: list[str]) -> str:
    rows = [
        {
            "row": key,
            "proxy": name,
            "unit": UNITS[workload.measure],
            "values": results.values[key, name],
            "ratios": results.ratios(key, name),
        }
        for key, workload in workloads.items()
        for name in names
    ]
    return json.dumps({"python": platform.python_version(), "worst_lag": results.worst_lag, "rows": rows})


def main() -> int:
    """Run, and say the figures; 1 if anything was lost or did not start."""
    arguments = _arguments()
    names: list[str] = arguments.proxies.split(",")
    workloads = {key: WORKLOADS[key] for key in arguments.only.split(",")}
    if arguments.quick:
        workloads = {key: workload.quick() for key, workload in workloads.items()}
    results = Results()
    try:
        for turn, key, name, value, lag in measure.run(names, workloads, arguments.rounds):
            results.add(key, name, value)
            results.worst_lag = max(results.worst_lag, lag)
            print(f"round {turn + 1}: {key} {name} {value:.1f} {UNITS[workloads[key].measure]}", file=sys.stderr)
    except (measure.RunError, proxies.StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print((_json if arguments.json else _table)(results, workloads, names))
    if not arguments.json:
        print(f"\nmedian (lowest-highest) of {arguments.rounds} rounds; ratios are taken within a round.")
        print(f"The upstream's latest paced token was {results.worst_lag * 1e3:.0f} ms late.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
