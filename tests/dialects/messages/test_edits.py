"""Edits of the context: what goes, what stays, and what the client and the report are told of it."""

import json
from typing import Any

import pytest
from msgspec import json as typed

from latimer.dialects.messages.edits import CLEARED, apply_edits
from latimer.dialects.messages.request import Compact, Request
from latimer.dialects.messages.slots import native_slots
from latimer.errors import Rejection
from tests.dialects.chat.asking import Json, assistant, call, marked, parsed, result, system, text, user

TOKENS = 1000
KEEP_ALL = {"type": "clear_thinking_20251015", "keep": "all"}


def edited(*said: Any, edits: list[Any]) -> Request:
    """The request with its edits done; a token is a byte."""
    return apply_edits(parsed(*said, context_management={"edits": edits}), lambda: TOKENS, len)[0]


def cleared(**fields: Any) -> Json:
    """The edit of tool uses, which is triggered by any."""
    return {"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 0}, **fields}


def uses(value: int) -> Json:
    return {"type": "tool_uses", "value": value}


def tokens(value: int) -> Json:
    return {"type": "input_tokens", "value": value}


def thought(words: str) -> Json:
    return {"type": "thinking", "thinking": words, "signature": "s"}


def steps(*names: str) -> list[Any]:
    """A call of each tool and its result, after a first question."""
    said: list[Any] = ["go"]
    for place, name in enumerate(names):
        said += [assistant(call(f"toolu_{place}", name, at=place)), user(result(f"toolu_{place}", f"out {place}"))]
    return said


def results(request: Request) -> list[str]:
    blocks = json.loads(typed.encode([message.blocks for message in request.messages]))
    return ["-" if b["content"] == CLEARED else b["content"] for m in blocks for b in m if b["type"] == "tool_result"]


def inputs(request: Request) -> list[Json]:
    blocks = json.loads(typed.encode([message.blocks for message in request.messages]))
    return [block["input"] for blocks in blocks for block in blocks if block["type"] == "tool_use"]


def told(request: Request) -> list[Json]:
    """What the answer says of it."""
    found: list[Json] = json.loads(typed.encode(native_slots(request).ending["context_management"]["applied_edits"]))
    return found


@pytest.mark.parametrize("fields", [{}, {"context_management": None}])
def test_a_request_that_asks_for_nothing_is_the_same(fields: Json) -> None:
    request = parsed("hi", **fields)
    assert apply_edits(request, lambda: TOKENS, len) == (request, b"")
    assert native_slots(request).ending == {}


@pytest.mark.parametrize("edits", [[], [KEEP_ALL], [KEEP_ALL | {"keep": {"type": "all"}}], [cleared(trigger=uses(9))]])
def test_edits_with_nothing_to_do_say_so(edits: list[Json]) -> None:
    said = [*steps("A"), assistant(thought("hm"), text("a")), "b"]
    request = edited(*said, edits=edits)
    assert request.messages == parsed(*said).messages
    assert told(request) == []
    assert request.losses == []


@pytest.mark.parametrize(
    ("edit", "left"),
    [
        ({}, ["-", "out 1", "out 2", "out 3"]),
        ({"keep": uses(1)}, ["-", "-", "-", "out 3"]),
        ({"keep": uses(0)}, ["-", "-", "-", "-"]),
        ({"keep": uses(4)}, ["out 0", "out 1", "out 2", "out 3"]),
        ({"keep": uses(1), "trigger": uses(3)}, ["-", "-", "-", "out 3"]),
        ({"keep": uses(1), "trigger": uses(4)}, ["out 0", "out 1", "out 2", "out 3"]),
        ({"keep": uses(1), "trigger": tokens(TOKENS - 1)}, ["-", "-", "-", "out 3"]),
        ({"keep": uses(1), "trigger": tokens(TOKENS)}, ["out 0", "out 1", "out 2", "out 3"]),
        ({"keep": uses(1), "exclude_tools": ["A"]}, ["out 0", "-", "out 2", "out 3"]),
        ({"keep": uses(1), "clear_at_least": tokens(21)}, ["-", "-", "-", "out 3"]),
        ({"keep": uses(1), "clear_at_least": tokens(22)}, ["out 0", "out 1", "out 2", "out 3"]),
    ],
)
def test_the_oldest_results_are_cleared(edit: Json, left: list[str]) -> None:
    request = edited(*steps("A", "B", "A", "B"), edits=[cleared(**edit)])
    assert results(request) == left
    count = left.count("-")
    entry = {"type": "clear_tool_uses_20250919", "cleared_input_tokens": 7 * count, "cleared_tool_uses": count}
    assert told(request) == ([entry] if count else [])
    lost = {f"messages.{2 * place + 2}.content.0.content" for place, kept in enumerate(left) if kept == "-"}
    assert {(loss.field, loss.action) for loss in request.losses} == {(field, "emulated") for field in lost}


def test_the_default_trigger_waits_for_a_long_prompt() -> None:
    request = parsed(*steps(*"ABCDE"), context_management={"edits": [{"type": "clear_tool_uses_20250919"}]})
    assert results(apply_edits(request, lambda: 100_000, len)[0]).count("-") == 0
    assert results(apply_edits(request, lambda: 100_001, len)[0]).count("-") == 2


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(True, [{}, {}, {"at": 2}]), (False, [{"at": 0}, {"at": 1}, {"at": 2}]), (["B"], [{"at": 0}, {}, {"at": 2}])],
)
def test_inputs_are_cleared_where_that_is_asked(wanted: Any, left: list[Json]) -> None:
    request = edited(*steps("A", "B", "A"), edits=[cleared(keep=uses(1), clear_tool_inputs=wanted)])
    assert inputs(request) == left
    assert results(request) == ["-", "-", "out 2"]


def test_what_was_cleared_is_weighed() -> None:
    request = parsed(*steps("A", "B"), context_management={"edits": [cleared(keep=uses(1), clear_tool_inputs=True)]})
    assert apply_edits(request, lambda: TOKENS, len)[1] == b'"out 0"{"at":0}'


def test_a_result_that_brought_tools_in_stays_since_the_tool_list_comes_from_it() -> None:
    found = user(result("toolu_S", [{"type": "tool_reference", "tool_name": "B"}]))
    request = edited("go", assistant(call("toolu_S")), found, *steps("A")[1:], edits=[cleared(keep=uses(0))])
    assert results(request) == [[{"type": "tool_reference", "tool_name": "B"}], "-"]


def test_calls_without_result_and_results_without_call_do_not_count() -> None:
    said = ["go", assistant(call("toolu_A"), call("toolu_B")), user(result("toolu_B", "b"), result("toolu_X", "x"))]
    request = edited(*said, edits=[cleared(keep=uses(0))])
    assert results(request) == ["-", "x"]
    assert told(request)[0]["cleared_tool_uses"] == 1


def test_a_result_keeps_its_mark_and_its_error() -> None:
    said = ["go", assistant(call("toolu_A")), user(marked(result("toolu_A", "no", is_error=True)))]
    (block,) = edited(*said, edits=[cleared(keep=uses(0))]).messages[2].blocks
    assert json.loads(typed.encode(block)) == {
        **said[2]["content"][0],
        "content": CLEARED,
        "toolset_name": None,
    }


THINKING = [
    "go",
    assistant(thought("1"), call("toolu_A")),
    user(result("toolu_A"), text("reminder")),
    assistant(thought("2"), text("a")),
    "again",
    system("Environment."),
    assistant({"type": "redacted_thinking", "data": "3"}, text("b")),
    "more",
    assistant(text("c"), thought("4"), text("d")),
    "on",
]


@pytest.mark.parametrize(
    ("keep", "left", "turns"),
    [(None, "4", 2), (1, "4", 2), (2, "34", 1), (3, "1234", 0), (9, "1234", 0)],
)
def test_thinking_of_earlier_turns_is_cleared(keep: int | None, left: str, turns: int) -> None:
    """A turn is all that the model says to one question, the steps between its tools' results included."""
    edit: Json = {"type": "clear_thinking_20251015"}
    request = edited(*THINKING, edits=[edit | ({"keep": {"type": "thinking_turns", "value": keep}} if keep else {})])
    blocks = [block for message in request.messages for block in json.loads(typed.encode(message.blocks))]
    assert "".join(str(block.get("thinking", block.get("data", ""))) for block in blocks) == left
    assert [entry["cleared_thinking_turns"] for entry in told(request)] == ([turns] if turns else [])
    assert [message.index for message in request.messages] == list(range(len(THINKING)))
    assert [len(m.blocks) for m in request.messages] == [len(m.blocks) for m in parsed(*THINKING).messages]


def test_cleared_thinking_still_parts_the_texts_around_it() -> None:
    said = ["go", assistant(text("c"), thought("4"), text("d")), "on", assistant(thought("5"), text("e")), "end"]
    request = edited(*said, edits=[{"type": "clear_thinking_20251015"}])
    texts = [getattr(block, "text", None) for block in request.messages[1].blocks]
    assert texts == ["c", "\n\n", "d"]


def test_edits_are_done_one_after_the_other() -> None:
    said = [*THINKING, *steps("A", "B")[1:]]
    freed = edited(*said, edits=[{"type": "clear_thinking_20251015"}, cleared(keep=uses(1), trigger=tokens(900))])
    assert [entry["type"] for entry in told(freed)] == ["clear_thinking_20251015"], "what the first freed was enough"
    both = edited(*said, edits=[{"type": "clear_thinking_20251015"}, cleared(keep=uses(1), trigger=tokens(500))])
    assert len(told(both)) == 2


def test_an_edit_that_cannot_be_done_is_reported() -> None:
    request = edited(*steps("A"), edits=[{"type": "clear_everything_20270101"}, cleared(keep=uses(0), later=1)])
    assert [(loss.field, loss.action) for loss in request.losses] == [
        ("context_management.edits.0", "dropped"),
        ("context_management.edits.1.later", "dropped"),
        ("messages.2.content.0.content", "emulated"),
    ]


@pytest.mark.parametrize(
    ("management", "field"),
    [
        ([], "context_management"),
        ({"edits": {}}, "context_management.edits"),
        ({"edits": [cleared(keep=3)]}, "context_management.edits.0.keep"),
        ({"edits": [cleared(trigger={"type": "years", "value": 1})]}, "context_management.edits.0.trigger.type"),
        ({"edits": [cleared(keep=uses(-1))]}, "context_management.edits.0.keep.value"),
        ({"edits": [{"type": "clear_thinking_20251015", "keep": "none"}]}, "context_management.edits.0.keep"),
        ({"edits": [{"type": "compact_20260112", "trigger": uses(1)}]}, "context_management.edits.0.trigger.type"),
        ({"edits": [{"type": "compact_20260112", "instructions": 1}]}, "context_management.edits.0.instructions"),
    ],
)
def test_a_wrong_value_is_refused_by_name(management: Any, field: str) -> None:
    with pytest.raises(Rejection) as raised:
        apply_edits(parsed("hi", context_management=management), lambda: TOKENS, len)
    assert raised.value.failure.message.startswith(f"{field}: ")


def test_a_compaction_is_due_above_its_trigger() -> None:
    """What other edits cleared before counts no longer."""
    at = {"type": "compact_20260112", "trigger": tokens(TOKENS)}
    below = {"type": "compact_20260112", "trigger": tokens(TOKENS - 1), "instructions": "Be brief."}
    assert edited(*steps("A"), edits=[at]).compact is None
    assert edited(*steps("A"), edits=[{"type": "compact_20260112"}]).compact is None
    due = edited(*steps("A"), edits=[at, below, {**below, "pause_after_compaction": True}])
    assert due.compact == Compact("context_management.edits.1", "Be brief.", pause=False)
    assert [(loss.field, loss.action) for loss in due.losses] == [("context_management.edits.1", "emulated")]
    assert edited(*steps("A"), edits=[cleared(keep=uses(0)), below]).compact is None
    asked = parsed("hi", context_management={"edits": [{"type": "compact_20260112"}]})
    assert apply_edits(asked, lambda: 150_000, len)[0].compact is None
    assert apply_edits(asked, lambda: 150_001, len)[0].compact is not None
