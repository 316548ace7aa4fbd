"""An assistant message with server tools becomes the messages that the model said and heard."""

from typing import Any

from msgspec import json

from latimer.dialects.messages.admit import admit_block
from latimer.dialects.messages.request import Message
from latimer.server_tools.history import unfold
from latimer.wire import messages as wire

FUNCTIONS = {"web_search": "web_search"}
HIT = {"type": "web_search_result", "title": "T", "url": "https://a.example", "encrypted_content": "latimer:Words."}


def text(words: str) -> Any:
    return {"type": "text", "text": words}


def call(identity: str, name: str = "web_search") -> Any:
    return {"type": "server_tool_use", "id": identity, "name": name, "input": {"query": "q"}}


def result(identity: str) -> Any:
    return {"type": "web_search_tool_result", "tool_use_id": identity, "content": [HIT]}


def shape(*blocks: Any, functions: dict[str, str] = FUNCTIONS, role: Any = "assistant") -> list[tuple[str, list[str]]]:
    message = Message(3, role, [admit_block(json.encode(block), "", []) for block in blocks])
    pieces = unfold([message], functions)
    assert {piece.index for piece in pieces} <= {3}
    return [(piece.role, [_named(block) for block in piece.blocks]) for piece in pieces]


def _named(block: wire.RequestBlock) -> str:
    match block:
        case wire.ToolUseBlock(id=identity):
            return f"call {identity}"
        case wire.ToolResultBlock(tool_use_id=identity):
            return f"result {identity}"
        case wire.TextBlock(text=words):
            return words
        case wire.UnknownBlock(type=kind):
            return kind
        case _:
            return type(block).__name__


def test_rounds() -> None:
    assert shape(text("a"), call("1"), result("1"), text("b"), call("2"), result("2"), text("c")) == [
        ("assistant", ["a", "call 1"]),
        ("user", ["result 1"]),
        ("assistant", ["b", "call 2"]),
        ("user", ["result 2"]),
        ("assistant", ["c"]),
    ]


def test_calls_side_by_side() -> None:
    both = [("assistant", ["call 1", "call 2"]), ("user", ["result 1", "result 2"])]
    assert shape(call("1"), call("2"), result("1"), result("2")) == both
    assert shape(call("1"), result("1"), call("2"), result("2")) == [
        ("assistant", ["call 1"]),
        ("user", ["result 1"]),
        ("assistant", ["call 2"]),
        ("user", ["result 2"]),
    ]


def test_a_call_of_the_clients_beside_one_of_ours() -> None:
    use = {"type": "tool_use", "id": "u", "name": "Bash", "input": {}}
    assert shape(call("1"), use, result("1")) == [("assistant", ["call 1", "call u"]), ("user", ["result 1"])]


def test_a_call_without_its_result_stays_open() -> None:
    assert shape(text("a"), call("1")) == [("assistant", ["a", "call 1"])]


def test_a_result_without_its_call_stays_what_it_was() -> None:
    assert shape(call("1"), result("2")) == [("assistant", ["call 1", "web_search_tool_result"])]


def test_tools_that_are_not_offered_stay_what_they_were() -> None:
    blocks = ["server_tool_use", "web_search_tool_result"]
    assert shape(call("1"), result("1"), functions={}) == [("assistant", blocks)]
    assert shape(call("1", "code_execution"), result("1")) == [("assistant", blocks)]


def test_messages_without_server_tools_are_the_same_objects() -> None:
    messages = [Message(0, "user", [wire.TextBlock("hi")]), Message(1, "assistant", [wire.TextBlock("ho")])]
    assert all(mine is its for mine, its in zip(unfold(messages, FUNCTIONS), messages, strict=True))


def test_users_have_no_server_tools() -> None:
    assert shape(call("1"), result("1"), role="user") == [("user", ["server_tool_use", "web_search_tool_result"])]
