"""A parsed request written again."""

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from latimer.dialects.messages.native.rebuild import rebuild
from latimer.dialects.messages.request import AppliedEdit, Message, decode_request
from latimer.errors import Rejection
from latimer.wire import messages as wire
from tests.requests import encoded, requests

from .asking import BASH, CASES, HELLO, text

TOOLSET = json.loads((CASES / "client-tools-toolset" / "request.json").read_text())


def rebuilt(body: dict[str, Any], *, client_tools: bool = True) -> dict[str, Any]:
    out: dict[str, Any] = json.loads(rebuild(decode_request(json.dumps(body).encode()), client_tools=client_tools))
    return out


def as_blocks(body: dict[str, Any]) -> dict[str, Any]:
    """The body with every string of content as a block."""
    messages = [
        {
            **message,
            "content": [text(message["content"])] if isinstance(message["content"], str) else message["content"],
        }
        for message in body["messages"]
    ]
    return {**body, "messages": messages}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": [text("Be brief.")], "stream": True, "temperature": 0.5, "stop_sequences": ["x"]},
        {"tools": [{**BASH, "defer_loading": True, "strict": False}], "tool_choice": {"type": "tool", "name": "Bash"}},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "low"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"metadata": {"user_id": "u"}, "mcp_servers": [{"name": "x"}], "context_management": {"edits": []}},
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "web_search_20250305", "name": "web_search"}]},
        {"messages": [{"role": "system", "content": "x", "output_config": {"effort": "low"}, "clear_at": "never"}]},
    ],
)
def test_it_says_what_was_said(fields: dict[str, Any]) -> None:
    assert rebuilt(HELLO | fields) == as_blocks(HELLO | fields)


def test_toolsets_as_they_are_or_as_functions() -> None:
    assert rebuilt(TOOLSET)["tools"] == TOOLSET["tools"]
    functions = rebuilt(TOOLSET, client_tools=False)["tools"]
    assert len(functions) > len(TOOLSET["tools"])
    assert all("input_schema" in tool for tool in functions)


def test_what_the_gateway_changed_is_changed() -> None:
    request = decode_request(json.dumps(HELLO | {"context_management": {"edits": []}}).encode())
    changed = replace(
        request,
        messages=[Message(0, "user", [wire.TextBlock("summary")])],
        applied_edits=(AppliedEdit("clear_thinking_20251015", 3),),
    )
    body = json.loads(rebuild(changed, client_tools=True))
    assert body == HELLO | {"messages": [{"role": "user", "content": [text("summary")]}]}


@given(requests())
def test_parsed_again_it_is_the_same(asked: Any) -> None:
    try:
        request = decode_request(encoded(asked))
    except Rejection:
        return
    again = decode_request(rebuild(request, client_tools=True))
    assert again.messages == [replace(message, index=place) for place, message in enumerate(request.messages)]
    assert again.tools == request.tools
    assert again.tool_choice == request.tool_choice
    assert (again.thinking, again.output_config) == (request.thinking, request.output_config)
    assert [block for block in request.system if block.text] == again.system
    assert again.user_id == request.user_id
