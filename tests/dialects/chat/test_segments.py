"""Which call a fragment belongs to, and the parts that reasoning comes in."""

from typing import Any

import pytest
from msgspec import Raw, json

from latimer.dialects.chat.segments import CallFinder, merge_details, part_texts
from latimer.dialects.segments import Segment
from latimer.wire.chat import FunctionDelta, ToolCallDelta

Fragment = tuple[int | None, str | int | None, str | None, str]
"""index, id, name, arguments"""


def found(fragments: list[Fragment]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of the calls that the fragments make."""
    finder = CallFinder()
    calls: list[Segment] = []
    for index, given_id, name, arguments in fragments:
        call, new = finder.find(ToolCallDelta(index, given_id, FunctionDelta(name, arguments)))
        calls += [call] if new else []
        if arguments:
            call.parts.append(arguments)
    return [(call.id, call.name, call.text) for call in calls]


A, B = ("a", "f", "{}"), ("b", "g", "{}")


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        ([(0, "a", "f", "{"), (0, None, None, "}")], [A]),
        ([(0, "a", "f", "{}"), (1, "b", "g", "{}")], [A, B]),
        ([(0, "a", "f", "{}"), (0, "b", "g", "{}")], [A, B]),
        ([(0, "a", "f", "{"), (0, "b", "g", "{}")], [("a", "f", "{"), B]),
        ([(None, "a", "f", "{"), (None, None, None, "}"), (None, "b", "g", "{}")], [A, B]),
        ([(None, "a", "f", "{"), (None, "b", "g", "{}"), (None, "a", None, "}")], [A, B]),
        ([(None, None, "f", "{}"), (None, None, "g", "{}")], [("", "f", "{}"), ("", "g", "{}")]),
        ([(0, None, "f", "{}"), (0, None, "f", "{}")], [("", "f", "{}"), ("", "f", "{}")]),
        ([(0, "a", "f", "{"), (0, "a", "f", "}")], [A]),
        ([(0, "a", "Re", ""), (0, None, "ad", "{}")], [("a", "Read", "{}")]),
        ([(0, "a", "Read", ""), (0, "a", "Read", "{}")], [("a", "Read", "{}")]),
        ([(0, "", "f", ""), (0, "a", "", "{}")], [A]),
        ([(0, 7, "f", "{}")], [("7", "f", "{}")]),
        ([(5, "a", "f", "{}"), (2, "b", "g", "{}")], [A, B]),
        ([(0, "a", "f", "{"), (1, "b", "g", "{"), (0, None, None, "}"), (1, None, None, "}")], [A, B]),
    ],
)
def test_fragments_find_their_call(fragments: list[Fragment], calls: list[tuple[str, str, str]]) -> None:
    assert found(fragments) == calls


@pytest.mark.parametrize(
    ("kind", "name", "parts", "complete"),
    [
        ("text", "", [], True),
        ("reasoning", "", ["half"], True),
        ("call", "f", ['{"a"', ":1}"], True),
        ("call", "f", ['{"a"'], False),
        ("call", "", ["{}"], False),
        ("call", "f", [], False),
    ],
)
def test_only_a_whole_call_gives_way(kind: Any, name: str, parts: list[str], complete: bool) -> None:
    segment = Segment(kind)
    segment.name, segment.parts = name, parts
    assert segment.complete == complete


def detail(index: int | None, kind: str = "t", **more: Any) -> dict[str, Any]:
    return {"type": kind, **more} | ({} if index is None else {"index": index})


@pytest.mark.parametrize(
    ("fragments", "entries"),
    [
        ([detail(0, text="a"), detail(0, text="b")], [detail(0, text="ab")]),
        ([detail(0, text="a"), detail(0, text=None, signature="s")], [detail(0, text="a", signature="s")]),
        ([detail(0, text="a"), detail(1, text="b")], [detail(0, text="a"), detail(1, text="b")]),
        ([detail(None, text="a"), detail(None, text="b")], [detail(None, text="a"), detail(None, text="b")]),
        ([detail(0, "e", data="x"), detail(0, text="a")], [detail(0, "e", data="x"), detail(0, text="a")]),
        ([detail(0, summary="a"), detail(0, summary="b")], [detail(0, summary="ab")]),
    ],
)
def test_details_streamed_in_fragments_are_whole_again(fragments: list[Any], entries: list[Any]) -> None:
    details: list[Any] = []
    for fragment in fragments:
        merge_details(details, [fragment])
    assert details == entries


@pytest.mark.parametrize(
    ("part", "piece"),
    [
        ({"type": "text", "text": "a"}, ("text", "a")),
        (
            {"type": "thinking", "thinking": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ("reasoning", "ab"),
        ),
        ({"type": "thinking", "thinking": "a"}, ("reasoning", "a")),
        ({"type": "reference", "reference_ids": [1]}, ("text", "")),
    ],
)
def test_parts_of_content(part: Any, piece: tuple[str, str]) -> None:
    assert part_texts([Raw(json.encode(part))]) == [piece]
