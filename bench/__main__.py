"""`python -m bench`: measure side by side, print the tables, draw the chart, write the page.

Without a section it measures the rows; with `--write` and no section, all of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import chart, curves, generator, llama, measure, page, proxies, table, targets
from bench.measure import Results
from bench.process import StartError
from bench.table import Rows
from bench.workloads import UNITS, WORKLOADS, Workload

ROUNDS = 3
SECTIONS = ("rows", "curves", "generator", "llama")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    usual = ",".join(key for key, workload in WORKLOADS.items() if workload.usual)
    parser.add_argument("--proxies", default="nginx,latimer", help=f"all, or of {', '.join(proxies.PROXIES)}")
    parser.add_argument("--only", default=usual, help=f"rows, of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of everything (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="a third of the load: for a look, not for a claim")
    parser.add_argument("--json", action="store_true", help="every round's figures of the rows as JSON, and no table")
    parser.add_argument("--rows", action="store_true", help="the rows: every proxy beside nginx")
    parser.add_argument("--curves", action="store_true", help="cost along streams, request size, tools and turns")
    parser.add_argument("--generator", action="store_true", help="what the load itself can do, with no proxy")
    parser.add_argument("--llama", action="store_true", help="latency added to a real llama.cpp server")
    parser.add_argument("--svg", type=Path, help="draw the rows' CPU time into this file")
    parser.add_argument("--write", type=Path, help="rewrite the tables of this page, and NAME.svg beside it")
    arguments = parser.parse_args()
    if arguments.proxies == "all":
        arguments.proxies = ",".join(proxies.PROXIES)
    for given, known in ((arguments.proxies, proxies.PROXIES), (arguments.only, WORKLOADS)):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    if arguments.write and not arguments.svg:
        arguments.svg = arguments.write.with_suffix(".svg")
    return arguments


def _json(results: Results, workloads: dict[str, Workload], names: list[str]) -> str:
    rows = [
        {
            "row": key,
            "proxy": name,
            "unit": UNITS[workload.measure],
            "values": results.values.get((key, name), []),
            "ratios": results.ratios(key, name),
            "pace": results.pace(key, name),
            "failure": results.failures.get((key, name), ""),
        }
        for key, workload in workloads.items()
        for name in names
    ]
    return json.dumps({"python": platform.python_version(), "worst_lag": results.worst_lag, "rows": rows})


def _rows(arguments: argparse.Namespace) -> Iterator[tuple[str, Rows | str]]:
    names: list[str] = arguments.proxies.split(",")
    workloads = {key: WORKLOADS[key] for key in arguments.only.split(",")}
    if arguments.quick:
        workloads = {key: workload.quick() for key, workload in workloads.items()}
    results = measure.collect(names, workloads, arguments.rounds)
    if arguments.json:
        yield "json", _json(results, workloads, names)
        return
    stamp = page.stamp(names)
    if arguments.svg:
        arguments.svg.write_text(chart.svg(results, workloads, names, stamp))
    yield "rows", table.rows(results, workloads, names)
    rounds = f"Median (lowest to highest) of {arguments.rounds} rounds"
    late = f"the upstream's latest paced token was {results.worst_lag * 1e3:.0f} ms late"
    yield "rows-notes", f"{stamp}. {rounds}; {late}."
    yield "targets", targets.lines(results, workloads, names)


def _sections(arguments: argparse.Namespace) -> Iterator[tuple[str, Rows | str]]:
    """(name of the place in the page, what to write there) of what was asked for, as it is measured."""
    asked = [name for name in SECTIONS if getattr(arguments, name)]
    if not asked:
        asked = list(SECTIONS) if arguments.write else ["rows"]
    if "rows" in asked:
        yield from _rows(arguments)
    others: dict[str, tuple[Callable[[], Rows], list[str]]] = {
        "curves": (lambda: curves.lines(arguments.rounds), ["nginx", "latimer"]),
        "generator": (lambda: generator.lines(arguments.rounds), []),
        "llama": (llama.lines, ["latimer", "llama.cpp"]),
    }
    for name in (name for name in asked if name in others):
        lines, versions = others[name]
        yield name, lines()
        yield f"{name}-notes", page.stamp(versions) + "."


def main() -> int:
    """Run, and say the figures; 1 if anything was lost or did not start."""
    arguments = _arguments()
    try:
        for name, found in _sections(arguments):
            print(found if isinstance(found, str) else table.text(found), end="\n\n", flush=True)
            if arguments.write:
                page.write(arguments.write, name, found if isinstance(found, str) else table.markdown(found))
    except (measure.RunError, StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
