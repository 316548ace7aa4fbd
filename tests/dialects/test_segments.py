"""When a segment gives way to the next."""

import pytest

from latimer.dialects.segments import Kind, Segment


def segment(kind: Kind, text: str = "", name: str = "", *, held: bool = False) -> Segment:
    made = Segment(kind, held=held)
    made.name = name
    made.parts = [*text]
    return made


@pytest.mark.parametrize(
    ("one", "complete"),
    [
        (segment("text"), True),
        (segment("reasoning", "a"), True),
        (segment("reasoning", "a", held=True), False),
        (segment("call", "{}", "f"), True),
        (segment("call", "{", "f"), False),
        (segment("call", "{}"), False),
        (segment("call", "", "f"), False),
        (segment("call", "{}", "f", held=True), False),
    ],
)
def test_what_is_complete(one: Segment, complete: bool) -> None:
    assert one.complete == complete
    one.ended = True
    assert one.complete


def test_text_is_all_that_arrived() -> None:
    assert segment("text", "abc").text == "abc"
