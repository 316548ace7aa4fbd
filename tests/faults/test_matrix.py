"""Every fault, in every dialect and form, before and after the first token, always and once: as docs/faults.md says."""

import asyncio
import logging

import pytest

from tests.faults.matrix import COLUMNS, PHASES, play
from tests.faults.page import PAGE, lines
from tests.faults.table import FAULTS, Fault
from tests.shell.harness import KEY, PROMPT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_comes_out_stands_in_the_docs(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rows, messages = lines(fault, asyncio.run(play(fault)))
    known = PAGE.read_text("utf-8").splitlines()
    for line in [*rows, *messages]:
        found = [each for each in known if each.startswith("|".join(line.split("|")[:2]))]
        assert line in known, "docs/faults.md says otherwise (python docs/generate.py):\n" + "\n".join(found)
    assert not [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert KEY not in caplog.text
    assert PROMPT not in caplog.text


def test_the_table_is_complete_and_no_cell_is_empty() -> None:
    rows = [line.strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert all(all(row) for row in cells)
    table = [row for row in cells if row[1] in PHASES]
    assert [(row[0], row[1]) for row in table] == [(fault.name, phase) for fault in FAULTS for phase in PHASES]
    assert all(len(row) == 2 + len(COLUMNS) for row in table)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
