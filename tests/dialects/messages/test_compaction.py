"""What a summary replaces, and what stays."""

import json
from typing import Any

import pytest

from latimer.dialects.messages.compaction import (
    INSTRUCTIONS,
    compacted,
    given_up,
    question,
    read_summary,
    resumed,
    told_summary,
)
from latimer.dialects.messages.edits import apply_edits
from latimer.dialects.messages.request import Compacted, Request
from tests.dialects.chat.asking import (
    Asked,
    Json,
    assistant,
    call,
    parsed,
    result,
    system,
    text,
    tool,
    user,
)

DONE = Compacted("Before.", {})
TOLD = told_summary("Before.")
MARK = {"type": "ephemeral"}
LATER = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Later"}}


def due(*said: Any, instructions: str | None = None, **fields: Any) -> Request:
    edit = {"type": "compact_20260112", "instructions": instructions}
    return apply_edits(parsed(*said, context_management={"edits": [edit]}, **fields), lambda: 10**6, len)[0]


def summary(content: str | None = "Before.", **more: Any) -> Json:
    return {"type": "compaction", "content": content, **more}


def shape(request: Request) -> list[tuple[str, int, list[str]]]:
    """Roles, places in the client's request, and what the blocks are: the words of a text, else the type."""
    return [
        (
            message.role,
            message.index,
            [getattr(b, "text", None) or getattr(b, "type", type(b).__name__) for b in message.blocks],
        )
        for message in request.messages
    ]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (["a", assistant("b"), "c"], [("user", 2, ["c"])]),
        (["a", assistant("b"), "c", system("d")], [("user", 2, ["c"]), ("system", 3, ["d"])]),
        (["a", assistant("b"), "c", assistant("d")], [("user", 2, ["c"]), ("assistant", 3, ["d"])]),
        (
            ["a", assistant("b"), "c", assistant("d"), assistant(call("t")), user(result("t"), text("e"))],
            [
                ("assistant", 3, ["d"]),
                ("assistant", 4, ["ToolUseBlock"]),
                ("user", 5, ["ToolResultBlock", "e"]),
            ],
        ),
    ],
)
def test_the_last_turn_stays(said: list[Any], left: list[Any]) -> None:
    request, replaced = compacted(due(*said), DONE)
    assert shape(request)[0][2] == [TOLD]
    assert shape(request)[1:] == left
    assert b'"a"' in replaced
    assert request.compact is None
    assert request.compacted is DONE


@pytest.mark.parametrize("said", [["a"], ["a", "b"], ["a", assistant("b")], [assistant(call("t")), user(result("t"))]])
def test_there_may_be_nothing_to_sum_up(said: list[Any]) -> None:
    assert question(due(*said)) is None


def test_nothing_is_asked_unless_it_is_due() -> None:
    assert question(parsed("a", assistant("b"), "c")) is None
    assert question(due("a", assistant("b"), "c", max_tokens=0)) is None


@pytest.mark.parametrize(
    ("instructions", "words"), [(None, INSTRUCTIONS), (" \n", INSTRUCTIONS), ("Be brief.", "Be brief.")]
)
def test_the_question(instructions: str | None, words: str) -> None:
    choice = {"tool_choice": {"type": "any"}, "tools": [tool()], "stop_sequences": ["x"], "max_tokens": 5}
    formed = {"output_config": {"format": {"type": "json_schema", "schema": {}}, "effort": "low"}}
    asked = question(due("a", assistant("b"), "c", instructions=instructions, **choice, **formed))
    assert asked is not None
    assert shape(asked)[-1] == ("user", 3, [words])
    assert len(asked.messages) == 4
    assert (asked.tools, asked.tool_choice, asked.body.stop_sequences) == ([], None, None)
    assert asked.output_config.format is None
    assert asked.output_config.effort == "low"
    assert asked.body.max_tokens > 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "A. "),
        ({"stop_reason": "max_tokens"}, None),
        ({"stop_reason": "refusal"}, None),
        ({"content": []}, None),
        ({"content": [text(" \n")]}, None),
        ({"content": [{"type": "thinking", "thinking": "t", "signature": ""}]}, None),
        ({"type": "error", "content": None}, None),
    ],
)
def test_reading_a_summary(fields: Json, said: str | None) -> None:
    thought = {"type": "thinking", "thinking": "t", "signature": ""}
    message = {"content": [thought, text("A. ")], "stop_reason": "end_turn", "usage": {"input_tokens": 1}, **fields}
    found = read_summary(json.dumps(message).encode())
    assert found == (Compacted(said.strip(), {"input_tokens": 1}) if said else None)


def test_what_is_no_message_is_no_summary() -> None:
    assert read_summary(b"") is None
    assert read_summary(b"[]") is None


def test_giving_up_is_reported_instead() -> None:
    request = given_up(due("a", assistant("b"), "c"), "why")
    assert request.compact is None
    assert [(loss.action, loss.why) for loss in request.losses] == [("dropped", "why")]
    assert given_up(request, "again") is request


def test_a_conversation_resumes_from_its_newest_summary() -> None:
    said = [
        user(text("a")),
        assistant(summary("Older."), text("b")),
        "c",
        assistant(text("x"), summary(cache_control=MARK), text("d"), call("t")),
        user(result("t")),
        assistant(summary(None), text("e")),
        "f",
    ]
    request, dropped = resumed(parsed(*said))
    assert shape(request) == [
        ("user", 3, [TOLD]),
        ("assistant", 3, ["d", "ToolUseBlock"]),
        ("user", 4, ["ToolResultBlock"]),
        ("assistant", 5, ["compaction", "e"]),
        ("user", 6, ["f"]),
    ]
    assert json.loads(bytes(request.messages[0].blocks[0].cache_control)) == MARK  # type: ignore[union-attr]  # a text
    assert b"Older." in dropped
    assert [loss.field for loss in request.losses] == ["messages.3.content.1"]


def test_a_summary_alone_in_its_message() -> None:
    request, _ = resumed(parsed("a", assistant(summary())))
    assert shape(request) == [("user", 1, [TOLD])]


@pytest.mark.parametrize(
    "said", [["a", assistant("b")], ["a", assistant(summary(None), text("b"))], ["a", assistant(summary(""))]]
)
def test_nothing_else_is_touched(said: list[Any]) -> None:
    request = parsed(*said)
    assert resumed(request) == (request, b"")


def test_tools_that_were_brought_in_stay() -> None:
    tools = [tool(), tool("Later", defer_loading=True)]
    request = parsed("a", system(LATER), assistant(summary(), text("b")), "c", tools=tools)
    assert shape(resumed(request)[0])[0][2] == ["tool_addition", TOLD]
    said = Asked("a", system(LATER), assistant(summary(), text("b")), "c", tools=tools)
    assert [each["function"]["name"] for each in said.body["tools"]] == ["Bash", "Later"]
