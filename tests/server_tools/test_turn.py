"""The rounds of one answer: whatever the model says, the client gets one answer that obeys the grammar."""

from typing import Any

from hypothesis import given
from msgspec import json

from latimer import events
from latimer.dialects.messages.decoder import StreamDecoder, decode_response
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.request import Request, decode_request
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Failure,
    Finish,
    Opaque,
    OpaqueDelta,
    Start,
    Text,
    ToolCall,
    Usage,
)
from latimer.server_tools.plan import Abilities, prepare
from latimer.server_tools.results import ToolFailure, error_content
from latimer.server_tools.turn import MAX_CALLS, MAX_ROUNDS, ServerCall, Turn
from latimer.wire.messages import ToolResultBlock, ToolUseBlock
from tests.strategies import answers

HEADING = Heading("msg_1", "claude", "req_1")
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
START, USED = Start("c1", "m"), Usage(10, 2)


def turn(tools: list[Any] | None = None, search: str = "searxng", **fields: Any) -> Turn:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": tools or [SEARCH]}
    request, plan = prepare(decode_request(json.encode({**body, **fields})), Abilities(search))
    assert plan is not None
    return Turn(request, plan, HEADING)


def call(name: str = "web_search", arguments: str = '{"query":"q"}', index: int = 0) -> list[Event]:
    return [BlockStart(index, ToolCall(f"call_{index}", name)), Delta(index, arguments), BlockStop(index)]


def one_round(made: Turn, *said: Event) -> list[Event]:
    stage = made.begin()
    return [out for event in said for out in stage.pass_on(event)]


def test_two_rounds_are_one_answer() -> None:
    made = turn()
    shown = one_round(made, START, *call(), Finish("tool_call", USED))
    (asked,) = made.settle()
    assert (asked.text("query"), asked.tool.name) == ("q", "web_search")
    shown += made.show(asked, [])
    following = made.go_on()
    assert isinstance(following, Request)
    called, found = following.messages[-2].blocks[0], following.messages[-1].blocks[0]
    assert isinstance(called, ToolUseBlock)
    assert isinstance(found, ToolResultBlock)
    assert called.id == found.tool_use_id == asked.id
    text = [BlockStart(0, Text()), Delta(0, "done"), BlockStop(0)]
    shown += one_round(made, START, *text, Finish("stop", USED))
    assert made.settle() == []
    events.check(shown)
    assert shown[-1] == Finish("stop", Usage(20, 4, web_searches=1))


@given(answers(), answers())
def test_any_two_rounds_obey_the_grammar(first: list[Event], second: list[Event]) -> None:
    made = turn()
    last = first[-1]
    index = sum(isinstance(event, BlockStart) for event in first)
    cut = any(isinstance(event, Failure) for event in first)
    shown = one_round(made, *(first if cut else [*first[:-1], *call(index=index), last]))
    if calls := made.settle():
        for each in calls:
            shown += made.show(each, error_content("web_search", "unavailable"))
        following = made.go_on()
        shown += [following] if isinstance(following, Finish) else one_round(made, *second)
    events.check(shown)


def test_streamed_and_whole_are_the_same_message() -> None:
    made = turn()
    shown = one_round(made, START, *call(arguments='{"query": "é"}'), Finish("tool_call", USED))
    for each in made.settle():
        shown += made.show(each, [])
    used = Usage(10, 2, web_searches=1, web_fetches=2)
    shown.append(Finish("pause", used))
    stream, whole, decoder = StreamEncoder(HEADING), WholeEncoder(HEADING), StreamDecoder()
    streamed = [event for each in shown for event in decoder.decode(stream.encode(each))]
    folded = decode_response(b"".join([whole.encode(each) for each in shown]))
    assert isinstance(streamed[-1], Finish)
    assert streamed[-1] == folded[-1] == Finish("pause", used)
    (block,) = (event.block for event in folded[:2] if isinstance(event, BlockStart))
    assert isinstance(block, Opaque)
    assert json.decode(block.raw)["input"] == {"query": "é"}
    start, delta = streamed[1], streamed[2]
    assert isinstance(start, BlockStart)
    assert isinstance(start.block, Opaque)
    assert isinstance(delta, OpaqueDelta)
    assert json.decode(start.block.raw)["input"] == {}
    assert json.decode(delta.raw) == {"type": "input_json_delta", "partial_json": '{"query": "é"}'}


def test_reasoning_of_a_round_goes_back_to_the_model() -> None:
    made = turn()
    thought = [BlockStart(0, events.Reasoning()), Delta(0, "hm"), events.Signature(0, "sig"), BlockStop(0)]
    one_round(made, START, *thought, *call(index=1), Finish("tool_call", USED))
    for each in made.settle():
        made.show(each, [])
    kept = made.so_far().messages[1].blocks
    assert [type(block).__name__ for block in kept] == ["ThinkingBlock", "ToolUseBlock"]


def test_an_attempt_that_failed_leaves_nothing_behind() -> None:
    made = turn()
    one_round(made, START, *call())
    assert made.settle() == []
    shown = one_round(made, START, *call(), Finish("tool_call", USED))
    assert made.round_usage == USED
    assert len(made.settle()) == 1
    assert isinstance(shown[1], BlockStart)
    assert shown[1].index == 0


def test_the_rounds_are_bounded() -> None:
    made = turn()
    for number in range(MAX_ROUNDS):
        one_round(made, START, *call(), Finish("tool_call", USED))
        for each in made.settle():
            made.show(each, [])
        following = made.go_on()
        assert isinstance(following, Finish) is (number == MAX_ROUNDS - 1)
    assert following == Finish("pause", Usage(10 * MAX_ROUNDS, 2 * MAX_ROUNDS, web_searches=MAX_ROUNDS))


def test_calls_are_bounded() -> None:
    made = turn()
    asked = ServerCall("s", made.plan.tools["web_search"], {})
    for _ in range(MAX_CALLS):
        made.admit(asked)
    try:
        made.admit(asked)
    except ToolFailure as failure:
        assert failure.code == "max_uses_exceeded"
    else:
        raise AssertionError("one call too many")


def test_a_call_that_is_no_json_is_shown_empty_and_answered_with_an_error() -> None:
    made = turn()
    shown = one_round(made, START, *call(arguments='{"query": "q'), Finish("tool_call", USED))
    (asked,) = made.settle()
    assert asked.input is None
    assert OpaqueDelta(0, b'{"type":"input_json_delta","partial_json":"{}"}') in shown


def test_declining() -> None:
    fetch = {"type": "web_fetch_20250910", "name": "web_fetch"}
    made = turn([SEARCH, fetch, SEARCH], search="")
    shown = made.decline()
    events.check(shown)
    blocks = [event.block for event in shown if isinstance(event, BlockStart)]
    kinds = [json.decode(block.raw)["type"] for block in blocks if isinstance(block, Opaque)]
    assert kinds == ["server_tool_use", "web_search_tool_result", "server_tool_use", "web_fetch_tool_result"]
    assert blocks[-1] == Text()
