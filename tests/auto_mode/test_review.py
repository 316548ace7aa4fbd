"""Requests for a review, and answers that wait for one."""

import json
from typing import Any

import pytest

from latimer.auto_mode.review import Call, Review, take_review
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.request import Request, decode_request
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Start,
    Text,
    ToolCall,
    Usage,
    Verdict,
)

HEADING = Heading("msg_1", "m", "req_1")
END = Finish("tool_call", Usage(1, 2))
VERDICTS = {
    "a": Verdict("not_flagged"),
    "b": Verdict("flagged", "deletes the home folder"),
    "c": Verdict("unavailable", "timeout"),
    "d": Verdict("unreviewed"),
}
RESULTS = [
    {
        "type": "dangerous_tool_use",
        "status": {
            "type": "available",
            "tool_uses": {
                "a": {"type": "evaluated", "outcome": "not_flagged"},
                "b": {"type": "evaluated", "outcome": "flagged", "explanation": "deletes the home folder"},
                "c": {"type": "unavailable", "reason": "timeout"},
                "d": {"type": "skipped"},
            },
        },
    }
]


def request(**fields: Any) -> Request:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    return decode_request(json.dumps(body).encode())


def call(index: int, id: str, *parts: str) -> list[Event]:
    return [BlockStart(index, ToolCall(id, "Bash")), *(Delta(index, part) for part in parts), BlockStop(index)]


def test_the_review_is_taken_out_of_the_request() -> None:
    context = {"permission_mode": "auto"}
    asked = request(safeguards=[{"type": "dangerous_tool_use", "classifier_context": context}])
    rest, review = take_review(asked, "p/m", delegated=True)
    assert review is not None
    assert review.context == context
    assert review.delegated
    assert bytes(rest.body.safeguards) == b"null"
    assert [(loss.field, loss.action) for loss in rest.losses] == [("safeguards", "emulated")]


@pytest.mark.parametrize("safeguards", [[], {}, "x", [{"type": "something_else"}], [7]])
def test_a_review_of_another_kind_is_left_to_the_report(safeguards: Any) -> None:
    asked = request(safeguards=safeguards)
    assert take_review(asked, "p/m", delegated=False) == (asked, None)


def test_a_context_that_is_none_is_an_empty_one() -> None:
    _, review = take_review(request(safeguards=[{"type": "dangerous_tool_use"}]), "p/m", delegated=False)
    assert review is not None
    assert review.context == {}


def test_a_stream_is_told_everything_but_its_end() -> None:
    review = Review(request(), {})
    encoder = review.watch(StreamEncoder(HEADING))
    events = [Start("u", "m"), BlockStart(0, Text()), Delta(0, "Hi"), BlockStop(0), *call(1, "a", '{"x"', ":1}")]
    told = b"".join(encoder.encode(event) for event in events)
    assert told.count(b"content_block_stop") == 4
    assert not review.due
    assert encoder.encode(END) == b""
    assert review.due
    assert review.calls == [Call("a", "Bash", review.calls[0].input)]
    assert review.calls[0].input is not None
    assert bytes(review.calls[0].input) == b'{"x":1}'
    end = review.settle(VERDICTS).decode()
    first = json.loads(end.split("\n")[1].removeprefix("data: "))
    assert first["type"] == "message_delta"
    assert first["delta"]["stop_reason"] == "tool_use"
    assert first["delta"]["safeguard_results"] == RESULTS
    assert end.endswith('{"type":"message_stop"}\n\n')
    assert not review.due
    assert review.settle(VERDICTS) == b""


def test_a_whole_message_carries_the_verdicts_at_its_top() -> None:
    review = Review(request(), {})
    encoder = review.watch(WholeEncoder(HEADING))
    assert not b"".join(encoder.encode(event) for event in [Start("u", "m"), *call(0, "a", "{}"), END])
    message = json.loads(review.settle(VERDICTS))
    assert message["safeguard_results"] == RESULTS
    assert message["content"] == [{"type": "tool_use", "id": "a", "name": "Bash", "input": {}}]


def test_an_answer_without_calls_is_not_held() -> None:
    review = Review(request(), {})
    encoder = review.watch(WholeEncoder(HEADING))
    message = json.loads(encoder.encode(Finish("stop", Usage())))
    assert not review.due
    assert "safeguard_results" not in message


@pytest.mark.parametrize("arguments", ['{"command": "rm -rf', "[1]", "nonsense", '"text"'])
def test_arguments_that_are_no_object_cannot_be_judged(arguments: str) -> None:
    review = Review(request(), {})
    encoder = review.watch(StreamEncoder(HEADING))
    for event in call(0, "a", arguments):
        encoder.encode(event)
    assert review.calls == [Call("a", "Bash", None)]


def test_a_new_attempt_begins_without_calls() -> None:
    review = Review(request(), {})
    encoder = review.watch(StreamEncoder(HEADING))
    for event in [*call(0, "a", "{}"), END]:
        encoder.encode(event)
    review.begin()
    assert not review.calls
    assert not review.due
