"""Search for bytes that a target does not stand: `python -m tests.fuzzing TARGET [--runs N] [--seconds S] [--seed N]`.

Guided by coverage: bytes that reach code which none have reached before are kept and changed further (Atheris on
libFuzzer). What is found is written to the folder `--found`, whose files are tried first in the next search.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["latimer", "tests.fuzzing"]):
    from tests.fuzzing.targets import TARGETS, planted, seeds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("target", choices=[*TARGETS, "planted"], nargs="?")
    parser.add_argument("--list", action="store_true", help="print the targets")
    parser.add_argument("--runs", type=int, default=-1, help="executions; -1: no limit")
    parser.add_argument("--seconds", type=int, default=0, help="time; 0: no limit")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers; 0 takes a new one")
    parser.add_argument("--found", type=Path, default=Path(".cache/fuzzing"), help="folder of what is found")
    said = parser.parse_args()
    if said.list:
        print(*TARGETS)
        return
    if said.target is None:
        parser.error("name a target; --list prints them")
    found = said.found / said.target
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(said.target)):
            Path(corpus, str(number)).write_bytes(seed)
        limits = [f"-runs={said.runs}", f"-max_total_time={said.seconds}", f"-seed={said.seed}", "-timeout=20"]
        quiet = ["-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={found}/", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *limits, *quiet, corpus, str(found)], TARGETS.get(said.target, planted))
        atheris.Fuzz()


main()
