"""Blocks of Anthropic's own servers, told as text."""

import json
from typing import Any

import pytest

from latimer.dialects.server_blocks import told
from latimer.wire.messages import UnknownBlock
from tests.scenarios import files

FILE = {"type": "code_execution_output", "file_id": "f"}


def says(block: dict[str, Any]) -> str | None:
    return told(UnknownBlock(block["type"], json.dumps(block).encode()))


def fetched(pdf: bytes) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": files.coded(pdf)}
    return {"type": "web_fetch_result", "url": "u", "content": {"type": "document", "source": source}}


def result(kind: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "tool_use_id": "srvtoolu_1", "content": content, **more}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            '[web_search {"query":"q"}]',
        ),
        ({"type": "mcp_tool_use", "id": "m", "name": "find", "server_name": "srv", "input": {}}, "[mcp__srv__find {}]"),
        ({"type": "mcp_tool_listing", "mcp_server_name": "srv", "tools": []}, "[the tools of MCP server srv]"),
        (result("web_search_tool_result", []), "[search results]\n(no output)"),
        (
            result(
                "text_editor_code_execution_tool_result",
                {"type": "text_editor_code_execution_create_result", "is_file_update": False},
            ),
            "[output]\nfile created",
        ),
        (
            result(
                "text_editor_code_execution_tool_result",
                {"type": "text_editor_code_execution_str_replace_result", "lines": ["-a", "+b"]},
            ),
            "[output]\n-a\n+b",
        ),
        (
            result(
                "bash_code_execution_tool_result", {"stdout": "a", "stderr": "", "return_code": 0, "content": [FILE]}
            ),
            "[output]\na",
        ),
        (result("mcp_tool_result", "plain", is_error=True), "[error]\nplain"),
        (result("mcp_tool_result", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "[result]\na\nb"),
        (
            result("advisor_tool_result", {"type": "advisor_redacted_result", "encrypted_content": "x"}),
            "[advice]\n(no output)",
        ),
        (
            {
                "type": "browser_state",
                "tabs": [{"tab_id": "1", "title": "T", "url": "u", "active": True}, {"tab_id": "2"}, 3],
            },
            "[browser tabs]\n* 1: T u\n- 2:\n",
        ),
        (result("web_fetch_tool_result", fetched(files.pdf("A cargo"))), "[fetched page]\nu\n[page 1 of 1]\nA cargo"),
        (
            result("web_fetch_tool_result", fetched(b"%PDF")),
            "[fetched page]\nu\n[document left out: the PDF cannot be read: Stream has ended unexpectedly]",
        ),
        ({"type": "compaction", "content": "Before."}, "<conversation_summary>\nBefore.\n</conversation_summary>"),
        ({"type": "compaction", "content": None}, ""),
        ({"type": "fallback", "from": {}, "to": {}}, ""),
        ({"type": "hologram"}, None),
        ({"type": "server_tool_use"}, None),
    ],
)
def test_words(block: dict[str, Any], words: str | None) -> None:
    assert says(block) == words


@pytest.mark.parametrize(
    "content", [None, 1, [], {}, [1, [2]], {"content": {"content": None}}, {"stdout": 1, "stderr": None}]
)
def test_any_shape_of_result_is_read(content: Any) -> None:
    assert says(result("code_execution_tool_result", content)) == "[output]\n(no output)"
