"""The grammar of events, against its own table."""

import pytest

from latimer.errors import Failure
from latimer.events import (
    TRANSITIONS,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    GrammarError,
    OpaqueDelta,
    Signature,
    Start,
    Text,
    Usage,
    check,
)

START, STOP = Start("m", "model"), Finish("stop", Usage())
OPEN, SAID, CLOSE = BlockStart(0, Text()), Delta(0, "hi"), BlockStop(0)
LOST = Failure("api_error", "lost")

ANSWERS: dict[str, list[Event]] = {
    "nothing said": [START, STOP],
    "a text": [START, OPEN, SAID, SAID, CLOSE, STOP],
    "every kind of delta": [START, OPEN, SAID, Signature(0, "s"), OpaqueDelta(0, b"{}"), CLOSE, STOP],
    "two blocks": [START, OPEN, CLOSE, BlockStart(1, Text()), BlockStop(1), STOP],
    "failed before it began": [LOST],
    "failed at once": [START, LOST],
    "failed in a block": [START, OPEN, SAID, LOST],
}
NO_ANSWERS: dict[str, tuple[list[Event], str]] = {
    "nothing": ([], "ended while IDLE"),
    "no end": ([START, OPEN, CLOSE], "ended while OPEN"),
    "an open block": ([START, OPEN, STOP], "Finish while BLOCK"),
    "a block in a block": ([START, OPEN, OPEN], "BlockStart while BLOCK"),
    "words outside of a block": ([START, SAID], "Delta while OPEN"),
    "no start": ([OPEN, CLOSE, STOP], "BlockStart while IDLE"),
    "two starts": ([START, START], "Start while OPEN"),
    "more after the end": ([START, STOP, LOST], "Failure while DONE"),
    "a gap": ([START, BlockStart(1, Text()), BlockStop(1), STOP], "BlockStart for block 1 while block 0 is open"),
    "another block's words": ([START, OPEN, Delta(1, "x"), CLOSE, STOP], "Delta for block 1 while block 0 is open"),
}


@pytest.mark.parametrize("events", ANSWERS.values(), ids=ANSWERS)
def test_an_answer(events: list[Event]) -> None:
    check(events)


@pytest.mark.parametrize(("events", "why"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_no_answer(events: list[Event], why: str) -> None:
    with pytest.raises(GrammarError, match=why):
        check(events)


def test_a_failure_may_come_at_any_point_and_nothing_after_the_end() -> None:
    assert all(Failure in moves for state, moves in TRANSITIONS.items() if state != "DONE")
    assert not TRANSITIONS["DONE"]


def test_every_event_has_its_place() -> None:
    placed = {kind for moves in TRANSITIONS.values() for kind in moves}
    assert placed == set(Event.__args__)
