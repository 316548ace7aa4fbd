"""The stage: calls stream while they are well-formed; what is not is decided at the end of the answer."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, Start, Text, ToolCall, Usage, check
from latimer.repair import argument_text as kinds
from latimer.repair.arguments import Arguments
from latimer.wire.json_text import unparsed_input
from tests import strategies
from tests.repair.written import TOOLS

START = Start("", "")
DONE = Finish("tool_call", Usage())
CUT = Finish("length", Usage())
LOST = Failure("api_error", "lost")


def call(index: int, *parts: str, name: str = "Bash") -> list[Event]:
    return [
        BlockStart(index, ToolCall(f"c{index}", name)),
        *(Delta(index, part) for part in parts),
        BlockStop(index),
    ]


def passed(*events: Event) -> list[Event]:
    stage = Arguments(TOOLS, "p/m")
    out = [each for event in events for each in stage.pass_on(event)]
    check(out)
    return out


def inputs(events: list[Event]) -> list[str]:
    """The arguments of each call, as text."""
    texts: list[str] = []
    for event in events:
        if isinstance(event, BlockStart):
            texts.append("")
        elif isinstance(event, Delta):
            texts[-1] += event.data
    return texts


def test_well_formed_calls_pass_as_they_come() -> None:
    events = [START, *call(0, '{"command": "l', "s -", 'la"}'), *call(1, "{}", name="Unknown"), DONE]
    assert passed(*events) == events


def test_a_call_is_mended_when_the_answer_has_ended() -> None:
    stage = Arguments(TOOLS, "p/m")
    events = [START, *call(0, "{'command': 'ls'}"), *call(1, '{"command": "a"}')]
    assert [each for event in events for each in stage.pass_on(event)] == [START]
    out = stage.pass_on(DONE)
    assert inputs([START, *out]) == ['{"command":"ls"}', '{"command": "a"}']
    assert [(loss.field, loss.why) for loss in stage.repairs] == [("content.0.input", kinds.SYNTAX)]


def test_several_malformed_calls() -> None:
    out = passed(
        START, *call(0, "{'command': 'ls'}"), *call(1, "{'command': 'a'}"), *call(2, '{"command": "b",}'), DONE
    )
    assert inputs(out) == ['{"command":"ls"}', '{"command":"a"}', '{"command": "b"}']


def test_a_call_without_one_meaning_fails_the_answer() -> None:
    out = passed(START, *call(0, '{"command": "rm -rf /tmp/x'), DONE)
    assert out == [
        START,
        BlockStart(0, ToolCall("c0", "Bash")),
        Delta(0, '{"command": "rm -rf /tmp/x'),
        Failure("api_error", "p/m: malformed arguments for tool 'Bash': it ends inside a value"),
    ]


def test_before_its_first_argument_a_failure_can_still_be_an_honest_status() -> None:
    out = passed(START, *call(0, "ls -la"), DONE)
    assert [type(event) for event in out] == [Start, Failure]


def test_a_call_that_the_limit_cut_stays_as_it_came() -> None:
    for text in ['{"command": "rm -rf /tmp/x', '{"command": "x", "timeout": 1', ""]:
        out = passed(START, *call(0, text), CUT)
        assert inputs(out) == [text or "{}"]
        assert out[-1] == CUT


def test_a_call_that_the_limit_cut_and_no_reader_takes_is_told_as_the_client_tells_it() -> None:
    texts = ["{'command': 'ls'}", "{'command': 'l", "```"]
    out = passed(START, *(event for place, text in enumerate(texts) for event in call(place, text)), CUT)
    assert [json.loads(told) for told in inputs(out)] == [unparsed_input(text) for text in texts]
    assert out[-1] == CUT


def test_a_complete_call_before_the_cut_is_mended() -> None:
    assert inputs(passed(START, *call(0, '{"cmd": "ls"}'), CUT)) == ['{"command":"ls"}']


def test_a_lost_connection_fails_the_answer_at_once() -> None:
    assert passed(START, *call(0, "{'command': 'ls'}"), LOST) == [START, LOST]


def test_text_and_reasoning_pass() -> None:
    events = [START, BlockStart(0, Text()), Delta(0, '{"a": '), BlockStop(0), DONE]
    assert passed(*events) == events


@given(st.data(), st.lists(strategies.arguments() | st.text("{}[]\",:'abc\\n ", max_size=12), max_size=3))
def test_whatever_is_called_the_client_gets_objects_or_a_failure(data: st.DataObject, texts: list[str]) -> None:
    calls: list[Event] = []
    for index, text in enumerate(texts):
        parts: Any = data.draw(strategies.pieces(text)) if len(text) > 1 else [text]
        calls += call(index, *parts)
    out = passed(START, *calls, DONE)
    whole = passed(START, *(event for index, text in enumerate(texts) for event in call(index, text)), DONE)
    assert type(out[-1]) is type(whole[-1])
    if isinstance(out[-1], Finish):
        assert inputs(out) == inputs(whole)
        assert all(isinstance(json.loads(said), dict) for said in inputs(out))
