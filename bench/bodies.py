"""Requests in both dialects: the smallest one, and one the size and shape of Claude Code's."""

from __future__ import annotations

import json
from typing import Any

_TOOLS = 60
_TURNS = 40
_PROSE = "Prefer small, reversible steps; read a file before you edit it, and say plainly what you could not check. "


def _prose(size: int) -> str:
    return (_PROSE * (size // len(_PROSE) + 1))[:size]


def _schema(size: int) -> dict[str, Any]:
    properties = {
        "file_path": {"type": "string", "description": _prose(size // 2)},
        "limit": {"type": "integer", "minimum": 1, "description": _prose(size // 4)},
        "mode": {"type": "string", "enum": ["content", "files", "count"], "description": _prose(size // 4)},
    }
    return {"type": "object", "properties": properties, "required": ["file_path"], "additionalProperties": False}


def messages(stream: bool, size: int) -> dict[str, Any]:
    """An Anthropic request of about `size` bytes: 60 tools, 40 turns, a third of it each in system, tools and turns."""
    body: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 4096, "stream": stream}
    if not size:
        return body | {"messages": [{"role": "user", "content": "Say hello."}]}
    overhead = 28_000  # bytes of keys, names and ids, which do not grow with `size`
    prose = max(size - overhead, 0)
    per_tool, per_turn = prose // 3 // _TOOLS, prose // 3 // _TURNS
    tools = [
        {"name": f"tool_{n}", "description": _prose(per_tool // 2), "input_schema": _schema(per_tool // 2)}
        for n in range(_TOOLS)
    ]
    turns: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": _prose(40)}]}]
    for n in range(_TURNS // 2):
        call = {"type": "tool_use", "id": f"toolu_{n:024}", "name": f"tool_{n}", "input": {"file_path": f"src/{n}.py"}}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": _prose(2 * per_turn - 40)}
        turns.append({"role": "assistant", "content": [{"type": "text", "text": _prose(40)}, call]})
        turns.append({"role": "user", "content": [result]})
    turns[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    system = {"type": "text", "text": _prose(prose // 3), "cache_control": {"type": "ephemeral"}}
    return body | {"system": [system], "tools": tools, "messages": turns}


def chat(stream: bool, size: int) -> dict[str, Any]:
    """The same request as a Chat Completions client would send it."""
    source = messages(stream, size)
    body: dict[str, Any] = {"model": "m", "max_tokens": source["max_tokens"], "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    if not size:
        return body | {"messages": source["messages"]}
    turns: list[dict[str, Any]] = [{"role": "system", "content": source["system"][0]["text"]}]
    for turn in source["messages"]:
        *texts, last = turn["content"]
        if last["type"] == "text":
            turns.append({"role": turn["role"], "content": last["text"]})
        elif last["type"] == "tool_result":
            turns.append({"role": "tool", "tool_call_id": last["tool_use_id"], "content": last["content"]})
        else:
            function = {"name": last["name"], "arguments": json.dumps(last["input"])}
            call = {"id": last["id"], "type": "function", "function": function}
            turns.append({"role": "assistant", "content": texts[0]["text"], "tool_calls": [call]})
    tools = [
        {
            "type": "function",
            "function": {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]},
        }
        for tool in source["tools"]
    ]
    return body | {"messages": turns, "tools": tools}


def http(dialect: str, stream: bool, size: int) -> bytes:
    """The HTTP request, head and body, that the load client writes."""
    if dialect == "chat":
        path, body = "/v1/chat/completions", chat(stream, size)
        headers = "Authorization: Bearer none\r\n"
    else:
        path, body = "/v1/messages?beta=true", messages(stream, size)
        headers = "x-api-key: none\r\nanthropic-version: 2023-06-01\r\n"
    data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data
