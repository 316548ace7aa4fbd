"""Counts that mean the same whoever counted."""

import pytest
from msgspec.structs import replace

from latimer.dialects.asides import Asides
from latimer.dialects.counts import fills_window, final_usage, hub_usage
from latimer.events import Usage
from tests.reading import ASKED


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        ((10, 5, 15, 4, 2, 3), Usage(10, 5, 4, 2, 3)),
        ((10, 5, 18, 0, 0, 3), Usage(10, 8, 0, 0, 3)),  # reasoning beside the output
        ((10, 5, None, 40, 2, 0), Usage(52, 5, 40, 2, 0)),  # cached tokens beside the prompt
        ((10, 5, 15, 4, 9, 30), Usage(10, 5, 4, 6, 5)),  # parts are never more than the whole
    ],
)
def test_hub_usage(counted: tuple[int, int, int | None, int, int, int], usage: Usage) -> None:
    prompt, output, total, read, write, reasoning = counted
    assert hub_usage(prompt, output, total=total, read=read, write=write, reasoning=reasoning) == usage


def test_an_answer_that_was_not_counted_is_estimated_and_says_so() -> None:
    asides = Asides()
    assert final_usage(Usage(1, 2), ASKED, 100, asides) == Usage(1, 2)
    assert asides.losses == ()
    assert final_usage(None, ASKED, 9, asides) == Usage(ASKED.input_estimate, 3)
    assert [loss.field for loss in asides.losses] == ["usage"]


def test_the_window_is_full_when_both_sides_fill_it() -> None:
    known = replace(ASKED, context_window=10)
    assert fills_window(Usage(6, 4), known)
    assert not fills_window(Usage(6, 3), known)
    assert not fills_window(None, known)
    assert not fills_window(Usage(6, 4), ASKED)
