"""What has no place in Messages is reported, whichever event it comes in."""

import pytest

from latimer.dialects.asides import IMAGE
from latimer.dialects.responses.extras import Extras
from latimer.wire.responses import Item, Part


def test_an_ordinary_answer_loses_nothing() -> None:
    extras = Extras()
    extras.of_part(Part("output_text", "a", annotations=[], logprobs=[]))
    extras.of_item(Item("message", "m"))
    extras.incomplete("max_output_tokens", known=True)
    extras.transformed([])
    assert extras.losses == ()


def test_an_image_is_one_mark_however_often_it_is_told() -> None:
    extras = Extras()
    assert [extras.of_other(Item("image_generation_call", one)) for one in ("a", "b", "a")] == [IMAGE, IMAGE, ""]
    assert len(extras.losses) == 1


@pytest.mark.parametrize(("word", "known"), [("steered", True), ("max_messages", True), ("odd", False), ("", False)])
def test_reasons_that_messages_does_not_know(word: str, known: bool) -> None:
    extras = Extras()
    extras.incomplete(word, known=known)
    assert [loss.field for loss in extras.losses] == ["incomplete_details.reason"]
    assert repr(word) in extras.losses[0].why
