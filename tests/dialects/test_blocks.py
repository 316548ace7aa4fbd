"""Blocks: one open at a time, in the order in which they were begun, each with all that arrived for it."""

import pytest
from msgspec import Raw

from latimer.dialects.blocks import Blocks, BrokenAnswer
from latimer.dialects.reader import Reader
from latimer.dialects.sealing import Sealed, route_mark, unseal
from latimer.dialects.segments import Kind, Segment
from latimer.events import BlockStart, BlockStop, Delta, Reasoning, Signature, Text, ToolCall
from tests.reading import ASKED, HIDDEN_READER, READER, ROUTE


def begun(blocks: Blocks, kind: Kind, name: str = "", id: str = "", *, held: bool = False) -> Segment:
    segment = Segment(kind, held=held)
    segment.name, segment.id = name, id
    blocks.queue(segment)
    return segment


def test_text_and_reasoning_are_streamed_and_give_way() -> None:
    blocks = Blocks(READER)
    assert not blocks.any
    thought, words = begun(blocks, "reasoning"), begun(blocks, "text")
    assert blocks.newest is words
    blocks.add(thought, "hm")
    blocks.add(words, "a")
    blocks.add(words, "b")
    blocks.finish(cut=False)
    events = blocks.taken()
    assert [event for event in events if not isinstance(event, Signature)] == [
        BlockStart(0, Reasoning()),
        Delta(0, "hm"),
        BlockStop(0),
        BlockStart(1, Text()),
        Delta(1, "a"),
        Delta(1, "b"),
        BlockStop(1),
    ]
    assert (blocks.chars, blocks.calls, blocks.any, blocks.taken()) == (4, 0, True, [])


def test_an_open_call_waits_for_its_end_and_others_wait_for_it() -> None:
    blocks = Blocks(READER)
    first, second = begun(blocks, "call", "f", "1"), begun(blocks, "call", "g", "2")
    blocks.add(first, '{"a"')
    blocks.add(second, "{}")
    assert blocks.taken() == [BlockStart(0, ToolCall("1", "f")), Delta(0, '{"a"')]
    blocks.add(first, ":1}")
    assert blocks.taken() == [Delta(0, ":1}"), BlockStop(0), BlockStart(1, ToolCall("2", "g")), Delta(1, "{}")]
    blocks.add(first, " ")
    with pytest.raises(BrokenAnswer, match="after it was complete"):
        blocks.add(first, "x")


def test_a_held_segment_waits_for_its_end() -> None:
    blocks = Blocks(READER)
    thought, words = begun(blocks, "reasoning", held=True), begun(blocks, "text")
    blocks.add(words, "a")
    assert blocks.taken() == [BlockStart(0, Reasoning())]
    thought.ended = True
    blocks.advance()
    assert BlockStart(1, Text()) in blocks.taken()


@pytest.mark.parametrize(("said", "told"), [("", "{}"), ("null", "{}"), ("[1]", '{"value":[1]}'), ('"{}"', "{}")])
def test_arguments_that_are_no_object_are_told_at_the_end(said: str, told: str) -> None:
    blocks = Blocks(READER)
    blocks.add(begun(blocks, "call", "f", "1"), said)
    assert blocks.taken() == []
    blocks.finish(cut=False)
    assert Delta(0, told) in blocks.taken()


def test_malformed_arguments() -> None:
    for reader, cut, told in (
        (READER, True, "__unparsedToolInput"),
        (Reader(ASKED, "m", {}, raw_arguments=True), False, "x"),
    ):
        blocks = Blocks(reader)
        blocks.add(begun(blocks, "call", "f", "1"), "x")
        blocks.finish(cut=cut)
        assert any(isinstance(event, Delta) and told in event.data for event in blocks.taken())
    blocks = Blocks(READER)
    blocks.add(begun(blocks, "call", "f", "1"), "x")
    with pytest.raises(BrokenAnswer, match="malformed arguments for tool 'f'"):
        blocks.finish(cut=False)


def test_ids_are_legal_and_new() -> None:
    blocks = Blocks(Reader(ASKED, "msg_1", {"f": "theirs"}, frozenset({"taken"})))
    for upstream in ("a", "a", "b|c", "taken", ""):
        blocks.add(begun(blocks, "call", "f", upstream), "{}")
    blocks.finish(cut=False)
    calls = [event.block for event in blocks.taken() if isinstance(event, BlockStart)]
    assert {call.name for call in calls if isinstance(call, ToolCall)} == {"theirs"}
    ids = [call.id for call in calls if isinstance(call, ToolCall)]
    assert ids[0] == "a"
    assert len(set(ids)) == 5
    assert all(made.startswith("toolu_") for made in ids[1:])


def test_signatures_hold_what_belongs_to_the_block() -> None:
    blocks = Blocks(HIDDEN_READER)
    plain, own = begun(blocks, "reasoning"), begun(blocks, "reasoning")
    plain.field = "reasoning"
    own.seal = lambda: Sealed(route_mark(ROUTE), id="rs")
    blocks.add(plain, "hm")
    call = begun(blocks, "call", "f", "1")
    call.extra = Raw(b'{"s":1}')
    blocks.add(call, "{}")
    blocks.finish(cut=False)
    signed = [unseal(event.data, ROUTE) for event in blocks.taken() if isinstance(event, Signature)]
    assert [(one.field, one.text, one.id, one.calls) for one in signed if one] == [
        ("reasoning", "hm", "", None),
        ("reasoning_content", None, "rs", None),
        ("reasoning_content", None, "", {"1": {"s": 1}}),
    ]
