"""Stop sequences and single calls, as a client sees them."""

from collections.abc import Callable

import pytest
from hypothesis import given

from latimer.dialects.tools import upstream_name
from latimer.events import (
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Member,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Usage,
    check,
)
from latimer.repair.arguments import Arguments
from latimer.repair.tools import Tools
from latimer.repair.written_calls import WrittenCalls
from latimer.stages import OneCall, Stage, StopSequences, Toolsets, VisibleLimit
from tests import strategies

START, END = Start("m", "model"), Finish("stop", Usage(9, 9))


STAGES: dict[str, Callable[[], Stage]] = {
    "stop": lambda: StopSequences(["b"], 1),
    "limit": lambda: VisibleLimit(3, 1),
    "toolsets": lambda: Toolsets({"f": Member("family", "f")}),
    "one call": OneCall,
    "arguments": lambda: Arguments(Tools(list, upstream_name), "r"),
    "written": lambda: WrittenCalls(Tools(list, upstream_name), str),
}


@pytest.mark.parametrize("make", STAGES.values(), ids=STAGES)
@given(strategies.answers())
def test_an_idle_stage_need_not_see_more_of_a_block(make: Callable[[], Stage], events: list[Event]) -> None:
    asked, spared = make(), make()
    for event in events:
        passed = [event] if spared.idle and isinstance(event, Delta) else spared.pass_on(event)
        assert asked.pass_on(event) == passed
        assert asked.idle == spared.idle


def block(index: int, kind: Block, *parts: str) -> list[Event]:
    return [BlockStart(index, kind), *(Delta(index, part) for part in parts), BlockStop(index)]


def stopped(parts: list[str], sequences: list[str], kind: Block = Text()) -> tuple[list[str], str | None]:  # noqa: B008
    stage = StopSequences(sequences, 11)
    events = [out for event in [START, *block(0, kind, *parts), END] for out in stage.pass_on(event)]
    check(events)
    last = events[-1]
    assert isinstance(last, Finish)
    return [event.data for event in events if isinstance(event, Delta)], last.stop_sequence


@pytest.mark.parametrize(
    ("parts", "sequences", "shown", "matched"),
    [
        (["hello"], ["</block>"], ["hello"], None),
        (["yes</block>no"], ["</block>"], ["yes"], "</block>"),
        (["yes</", "blo", "ck>", "no"], ["</block>"], ["yes"], "</block>"),
        (["</block>"], ["</block>"], [], "</block>"),
        (["a < b", " and c"], ["</block>"], ["a < b", " and c"], None),
        (["a <", " b"], ["</block>"], ["a ", "< b"], None),
        (["end </blo"], ["</block>"], ["end ", "</blo"], None),
        (["one two"], ["two", "one"], [], "one"),
        (["abcd"], ["abcd", "bc"], ["a"], "bc"),
        (["xabc"], ["bc", "abc"], ["x"], "abc"),
        (["text"], [""], ["text"], None),
        (["text"], [], ["text"], None),
        (["你", "好吗"], ["好"], ["你"], "好"),
    ],
)
def test_stop_sequences(parts: list[str], sequences: list[str], shown: list[str], matched: str | None) -> None:
    assert stopped(parts, sequences) == (shown, matched)


@pytest.mark.parametrize("kind", [Reasoning(), ToolCall("t", "Bash")])
def test_only_text_is_searched(kind: Block) -> None:
    assert stopped(["STOP"], ["STOP"], kind) == (["STOP"], None)


def test_a_sequence_does_not_reach_over_two_blocks() -> None:
    stage = StopSequences(["ab"], 0)
    events = [START, *block(0, Text(), "a"), *block(1, Text(), "b"), END]
    assert [out for event in events for out in stage.pass_on(event)] == events


def test_after_a_match_nothing_follows_and_usage_is_an_estimate() -> None:
    stage = StopSequences(["END"], input_estimate=100)
    events = [out for event in [START, *block(0, Text(), "12345678END", "more"), END] for out in stage.pass_on(event)]
    assert stage.done
    assert events[-1] == Finish("stop", Usage(100, 3), "END")
    assert stage.pass_on(Delta(0, "still more")) == []


def test_one_call_keeps_text_after_a_second_call_and_its_index() -> None:
    stage = OneCall()
    given = [
        START,
        *block(0, ToolCall("a", "Bash"), "{}"),
        *block(1, ToolCall("b", "Bash"), "{}"),
        *block(2, Text(), "done"),
        *block(3, ToolCall("c", "Bash"), "{}"),
        END,
    ]
    events = [out for event in given for out in stage.pass_on(event)]
    assert events[:-1] == [START, *block(0, ToolCall("a", "Bash"), "{}"), *block(1, Text(), "done")]
    assert isinstance(events[-1], Finish)
    assert not stage.done


# --- VisibleLimit ---


def limited(tokens: int, *events: Event) -> list[Event]:
    stage = VisibleLimit(tokens, 11)
    told = [out for event in [START, *events, END] for out in stage.pass_on(event)]
    check(told)
    return told


def test_what_is_within_the_limit_passes() -> None:
    events = [*block(0, Reasoning(), "x" * 999), *block(1, Text(), "four", "more"), *block(2, ToolCall("a", "b"), "{}")]
    assert limited(3, *events) == [START, *events, END]


@pytest.mark.parametrize("parts", [["abcdefghij"], ["abcdefgh", "ij"], ["a"] * 9, ["abcd", "efghi"]])
def test_text_ends_at_the_limit(parts: list[str]) -> None:
    told = limited(2, *block(0, Text(), *parts), *block(1, Text(), "more"))
    assert len("".join(event.data for event in told if isinstance(event, Delta))) == 8
    assert told[-1] == Finish("length", Usage(11, 2))


def test_a_character_is_not_divided() -> None:
    told = limited(1, *block(0, Text(), "你好"))
    assert [event.data for event in told if isinstance(event, Delta)] == ["你"]


def test_a_call_that_is_cut_off_says_so() -> None:
    told = limited(1, *block(0, ToolCall("a", "b"), '{"command": "make"}'))
    assert told[-1] == Finish("length", Usage(11, 1))


def test_a_members_call_gets_the_clients_name_for_it() -> None:
    stage = Toolsets({"computer__key": Member("computer", "key")})
    given = [*block(0, ToolCall("a", "computer__key"), "{}"), *block(1, ToolCall("b", "Bash"), "{}"), END]
    expected = [*block(0, ToolCall("a", "key", "computer"), "{}"), *block(1, ToolCall("b", "Bash"), "{}"), END]
    assert [out for event in given for out in stage.pass_on(event)] == expected
