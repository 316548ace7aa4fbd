"""The stream decoder: blocks out of chunks that have none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, json

from latimer.dialects.chat.stream import FAILED, FINISH_REASON, OVERLOADED, StreamDecoder
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import BlockStart, Delta, Event, Finish, Reasoning, Signature, Start, Text, ToolCall, check
from latimer.wire.chat import Chunk
from latimer.wire.json_text import unparsed_input
from tests import strategies
from tests.dialects.chat.asking import Json
from tests.reading import ASKED, HIDDEN_READER, READER, TAG_READER

DONE = {"finish_reason": "stop"}


def chunk(**fields: Any) -> Chunk:
    return json.decode(json.encode(fields), type=Chunk)


def decode(*choices: Json, reader: Reader = READER, complete: bool = True) -> list[Event]:
    """The events of chunks with these choices; a choice without the key is a delta."""
    decoder = StreamDecoder(reader)
    events: list[Event] = []
    for choice in choices:
        whole = choice if choice.keys() & {"delta", "finish_reason"} else {"delta": choice}
        events += decoder.decode(chunk(id="x", model="m", choices=[whole]))
    events += decoder.flush(complete=complete)
    check(events)
    return events


def blocks(events: list[Event]) -> list[tuple[str, str]]:
    """(kind, words) of each block."""
    found: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, BlockStart):
            found.append((type(event.block).__name__, ""))
        elif isinstance(event, Delta):
            found[-1] = (found[-1][0], found[-1][1] + event.data)
    return found


def calls(events: list[Event]) -> list[ToolCall]:
    return [event.block for event in events if isinstance(event, BlockStart) and isinstance(event.block, ToolCall)]


def call(index: int | None, id: str | None, name: str | None, arguments: Any) -> Json:
    return {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}


def finish(events: list[Event]) -> Finish:
    assert isinstance(events[-1], Finish)
    return events[-1]


PLAIN: st.SearchStrategy[Json] = st.one_of(
    st.builds(lambda text: {"content": text}, strategies.TEXTS),
    st.builds(lambda text: {"content": "", "reasoning_content": text, "tool_calls": []}, strategies.TEXTS),
    st.builds(lambda text: {"content": None, "reasoning": text, "refusal": ""}, strategies.TEXTS),
    st.builds(
        call,
        st.sampled_from([None, 0, 0, 1]),
        st.sampled_from([None, "", "a", "b"]),
        st.sampled_from([None, None, "", "f"]),
        st.sampled_from(["", "{", '"k":', '"v', '"}', "{}"]),
    ),
)
"""Deltas that say one thing, as nearly all do."""
ASIDES: list[Json] = [
    {},
    {},
    {},
    {},
    {"service_tier": "flex"},
    {"usage": {"prompt_tokens": 1}},
    {"error": {"message": ""}},
]


@given(
    st.lists(st.tuples(PLAIN | st.just({"content": "a"}), st.sampled_from(ASIDES)) | strategies.CHUNKS, max_size=12),
    st.sampled_from([READER, TAG_READER, HIDDEN_READER]),
)
def test_the_short_way_comes_to_the_same(told: list[Any], reader: Reader) -> None:
    long, short = StreamDecoder(reader), StreamDecoder(reader)
    for one in told:
        raw = json.encode({"choices": [{"delta": one[0]}], **one[1]} if isinstance(one, tuple) else one)
        try:
            read = json.decode(raw, type=Chunk)
        except ValidationError:
            continue
        more = short.more(raw)
        assert long.decode(read) == (short.decode(read) if more is None else [more])
    assert long.flush(complete=True) == short.flush(complete=True)


@pytest.mark.parametrize(
    ("delta", "begun"),
    [
        ({"content": "b"}, {"content": "a"}),
        ({"role": "assistant", "content": "b", "reasoning_content": None, "tool_calls": []}, {"content": "a"}),
        ({"reasoning_content": "b"}, {"reasoning_content": "a"}),
        ({"content": "", "reasoning": "b"}, {"reasoning": "a"}),
        (call(0, None, None, "b"), call(0, "c", "f", "{")),
        (call(0, "c", "", "b"), call(0, "c", "f", "{")),
    ],
)
def test_more_of_a_block_takes_the_short_way(delta: Json, begun: Json) -> None:
    decoder = StreamDecoder(READER)
    decoder.decode(chunk(choices=[{"delta": begun}]))
    assert decoder.more(json.encode({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})) == Delta(
        0, "b"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"content": "b"}, "logprobs": {}}]},
        {"choices": [{"delta": {"content": "b", "refusal": "no"}}]},
        {"choices": [{"delta": {"content": "b", "annotations": [{}]}}]},
        {"choices": [{"delta": {"content": "b"}}], "usage": {"completion_tokens": 2}},
        {"choices": [{"delta": {"content": "b"}}], "error": {"message": "slow down"}},
        {"choices": [{"delta": {"content": "b"}}], "service_tier": "flex"},
        {"choices": [{"delta": {"content": "b"}}, {"delta": {"content": "c"}, "index": 1}]},
        {"choices": [{"delta": {"reasoning_content": "b"}}]},
        {"choices": [{"delta": call(0, "c", "f", "{")}]},
        {"choices": []},
    ],
)
def test_what_says_more_than_more_of_a_block_does_not(more: Json) -> None:
    decoder = StreamDecoder(READER)
    decoder.decode(chunk(choices=[{"delta": {"content": "a"}}]))
    assert decoder.more(json.encode(more)) is None


@pytest.mark.parametrize(("word", "reason"), sorted(FINISH_REASON.items()))
@pytest.mark.parametrize("called", [True, False])
def test_every_word_for_the_end(word: str, reason: str, called: bool) -> None:
    said = [call(0, "c", "f", "{}")] if called else [{"content": "a"}]
    expected = {"stop": "tool_call" if called else "stop", "tool_call": "tool_call" if called else "stop"}
    for spelling in (word, word.upper()):
        assert finish(decode(*said, {"finish_reason": spelling})).reason == expected.get(reason, reason)


@pytest.mark.parametrize("word", sorted(FAILED | OVERLOADED))
def test_words_that_mean_failure(word: str) -> None:
    end = decode({"content": "a"}, {"finish_reason": word})[-1]
    assert isinstance(end, Failure)
    assert end.type == ("overloaded_error" if word in OVERLOADED else "api_error")
    assert ASKED.route in end.message


def test_an_unknown_word_is_an_ordinary_end() -> None:
    assert finish(decode({"content": "a"}, {"finish_reason": "fin"})).reason == "stop"


@pytest.mark.parametrize(
    ("said", "complete", "whole"),
    [
        ([{"content": "a"}, DONE], False, True),
        ([{"content": "a"}], True, True),
        ([{"content": "a"}], False, False),
        ([call(0, "c", "f", "{}")], True, True),
        ([call(0, "c", "f", "{}")], False, False),
        ([], True, False),
        ([DONE], False, True),
        ([{"content": ""}], True, False),
    ],
)
def test_an_end_must_be_proved(said: list[Json], complete: bool, whole: bool) -> None:
    assert isinstance(decode(*said, complete=complete)[-1], Finish) == whole


CALLED = call(0, "c", "f", "{}")
ENCRYPTED = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([{"content": "a"}, {"content": ""}, {"content": None}, {"content": "b"}], [("Text", "ab")]),
        ([{"reasoning_content": "r", "content": "a"}], [("Reasoning", "r"), ("Text", "a")]),
        ([{"reasoning": {"content": "r"}}], [("Reasoning", "r")]),
        ([{"reasoning": {"summary": "r"}}], [("Reasoning", "r")]),
        ([{"reasoning_text": "r"}], [("Reasoning", "r")]),
        ([{"reasoning_content": "", "reasoning": "r"}], [("Reasoning", "r")]),
        ([{"reasoning_details": [{"type": "reasoning.summary", "summary": "r"}]}], [("Reasoning", "r")]),
        ([ENCRYPTED, {"content": "a"}], [("Reasoning", ""), ("Text", "a")]),
        ([{"content": "a"}, CALLED, {"content": "b"}], [("Text", "a"), ("ToolCall", "{}"), ("Text", "b")]),
        ([call(0, "c", "f", ""), {"content": "a"}], [("ToolCall", "{}"), ("Text", "a")]),
        ([call(0, "c", "f", ""), call(1, "d", "g", "{}")], [("ToolCall", "{}"), ("ToolCall", "{}")]),
        ([{"content": "a"}, {"index": 1, "delta": {"content": "other"}}], [("Text", "a")]),
        ([{"refusal": "no"}], [("Text", "no")]),
        ([{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]}], [("Text", "a")]),
    ],
)
def test_blocks(said: list[Json], expected: list[tuple[str, str]]) -> None:
    assert blocks(decode(*said, DONE)) == expected


def test_words_are_passed_on_as_they_come() -> None:
    decoder = StreamDecoder(READER)
    first = decoder.decode(chunk(choices=[{"delta": {"content": "a"}}]))
    assert [type(event) for event in first] == [Start, BlockStart, Delta]
    decoder.decode(chunk(choices=[{"delta": call(0, "c", "f", '{"a"')}]))
    assert decoder.decode(chunk(choices=[{"delta": call(0, None, None, ":")}])) == [Delta(1, ":")]


def test_nothing_more_is_said_after_a_failure() -> None:
    decoder = StreamDecoder(READER)
    failure = Failure("timeout_error", "late")
    assert decoder.fail(failure) == [failure]
    assert decoder.decode(chunk(choices=[{"delta": {"content": "a"}}])) == []
    assert decoder.flush(complete=True) == decoder.fail(failure) == []


@pytest.mark.parametrize("given", ["functions.Bash:0", "", "x" * 65, "call|fc", "taken"])
def test_ids_a_client_cannot_use_are_replaced(given: str) -> None:
    reader = Reader(ASKED, "msg_1", {}, frozenset({"taken"}))
    (made,) = calls(decode(call(0, given, "f", "{}"), DONE, reader=reader))
    assert made.id.startswith("toolu_")
    assert made.id != given


def test_made_up_ids_differ_between_answers() -> None:
    made = {
        calls(decode(call(0, None, "f", "{}"), DONE, reader=Reader(ASKED, message, {})))[0].id
        for message in ("msg_1", "msg_2")
    }
    assert len(made) == 2


def test_names_come_back_as_the_client_knows_them() -> None:
    reader = Reader(ASKED, "msg_1", {"short": "a.long.name"})
    assert [
        made.name for made in calls(decode(call(0, "c", "short", "{}"), call(1, "d", "g", "{}"), reader=reader))
    ] == [
        "a.long.name",
        "g",
    ]


@pytest.mark.parametrize(
    "said",
    [
        [call(0, "c", None, "{}")],
        [call(0, "c", "f", "{}"), call(1, "d", "g", "{}"), call(0, None, None, '{"more":1}')],
        [call(0, "c", "f", "{]")],
    ],
)
def test_a_call_nobody_can_be_sure_of_ends_the_answer(said: list[Json]) -> None:
    end = decode(*said, DONE)[-1]
    assert isinstance(end, Failure)
    assert end.type == "api_error"


def test_a_call_cut_off_by_the_limit_stays_cut() -> None:
    events = decode(call(0, "c", "f", '{"command":"rm -rf /tmp'), {"finish_reason": "length"})
    assert finish(events).reason == "length"
    assert blocks(events) == [("ToolCall", '{"command":"rm -rf /tmp')]


def test_every_thought_is_sealed_once() -> None:
    events = decode({"reasoning_content": "a"}, {"content": "b"}, {"reasoning_content": "c"}, DONE)
    assert sum(isinstance(event, Signature) for event in events) == 2
    assert [event.block for event in events if isinstance(event, BlockStart)] == [Reasoning(), Text(), Reasoning()]


def test_an_error_chunk_is_the_end() -> None:
    decoder = StreamDecoder(READER)
    decoder.decode(chunk(choices=[{"delta": {"content": "a"}}]))
    events = decoder.decode(chunk(error={"message": "slow down", "code": "rate_limit_exceeded"}))
    assert [event.type for event in events if isinstance(event, Failure)] == ["rate_limit_error"]


def test_space_that_only_python_knows_does_not_begin_an_object() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "Bash", "arguments": "\u2028{}"}}
    told = blocks(decode({"tool_calls": [call]}, {"delta": {}, "finish_reason": "length"}))
    assert [(kind, json.decode(words)) for kind, words in told] == [("ToolCall", unparsed_input("\u2028{}"))]
