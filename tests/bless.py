"""Write the expected files of the cases as the code has them now: `python -m tests.bless [CASE…]`.

Only for a change that is meant: the difference is to be read before it is committed. A CASE is a part of its path.
"""

import sys
from pathlib import Path

from tests.case_runner import BLESSED, Case, all_cases, name_of


def bless(path: Path) -> list[str]:
    """Rewrite one case; the names of the files that changed."""
    expected = dict(Case(path).blessed())
    for stale in BLESSED - expected.keys():
        (path / stale).unlink(missing_ok=True)
    changed = []
    for name, content in expected.items():
        file = path / name
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)
            changed.append(name)
    return changed


def main(wanted: list[str]) -> int:
    """Bless the cases whose path has one of these parts; all without any."""
    chosen = [path for path in all_cases() if not wanted or any(part in name_of(path) for part in wanted)]
    for path in chosen:
        for name in bless(path):
            print(f"{name_of(path)}/{name}")
    return 0 if chosen else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
