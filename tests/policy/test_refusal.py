"""Only an answer that says nothing but no is a failure."""

from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Finish, Start, Text, Usage
from latimer.policy.refusal import Refusals

START, NO = Start("a", "m"), Finish("content_filter", Usage(), explanation="not that")


def test_an_empty_refusal_is_a_failure() -> None:
    stage = Refusals("p0/m")
    assert stage.pass_on(START) == [START]
    assert stage.pass_on(NO) == [Failure("invalid_request_error", "p0/m refused to answer: not that", cause="refusal")]
    assert not stage.done


def test_a_refusal_after_words_stays_what_it_is() -> None:
    stage = Refusals("p0/m")
    for event in (START, BlockStart(0, Text()), Delta(0, "I "), BlockStop(0), NO):
        assert stage.pass_on(event) == [event]


def test_an_empty_answer_is_no_refusal() -> None:
    stage = Refusals("p0/m")
    done = Finish("stop", Usage())
    assert stage.pass_on(done) == [done]
