"""Requests in both dialects: the smallest one, and one of the size and shape of Claude Code's."""

from __future__ import annotations

import json
from typing import Any

TOOLS = 60
TURNS = 40
_ANTHROPIC = "x-api-key: none\r\nanthropic-version: 2023-06-01\r\n"
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


def _conversation(prose: int, tool_count: int, turn_count: int) -> dict[str, Any]:
    """System, tools and turns with a third of `prose` characters in each."""
    per_tool, per_turn = prose // 3 // tool_count, prose // 3 // turn_count
    tools = [
        {"name": f"tool_{n}", "description": _prose(per_tool // 2), "input_schema": _schema(per_tool // 2)}
        for n in range(tool_count)
    ]
    turns: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": _prose(40)}]}]
    for n in range(turn_count // 2):
        name = f"tool_{n % tool_count}"
        call = {"type": "tool_use", "id": f"toolu_{n:024}", "name": name, "input": {"file_path": f"src/{n}.py"}}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": _prose(2 * per_turn)}
        turns.append({"role": "assistant", "content": [{"type": "text", "text": _prose(40)}, call]})
        turns.append({"role": "user", "content": [result]})
    turns[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    system = {"type": "text", "text": _prose(prose // 3), "cache_control": {"type": "ephemeral"}}
    return {"system": [system], "tools": tools, "messages": turns}


def messages(stream: bool, size: int, tools: int = TOOLS, turns: int = TURNS) -> dict[str, Any]:
    """An Anthropic request of about `size` bytes, or of what `tools` and `turns` need at least; 0: the smallest one."""
    body: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 4096, "stream": stream}
    if not size:
        return body | {"messages": [{"role": "user", "content": "Say hello."}]}
    bare = len(_compact(_conversation(0, tools, turns)))  # keys, names and ids, which do not grow with `size`
    return body | _conversation(max(size - bare, 0), tools, turns)


def chat(stream: bool, size: int, tools: int = TOOLS, turns: int = TURNS) -> dict[str, Any]:
    """The same request as a Chat Completions client would send it."""
    source = messages(stream, size, tools, turns)
    body: dict[str, Any] = {"model": "m", "max_tokens": source["max_tokens"], "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    if not size:
        return body | {"messages": source["messages"]}
    said: list[dict[str, Any]] = [{"role": "system", "content": source["system"][0]["text"]}]
    for turn in source["messages"]:
        *texts, last = turn["content"]
        if last["type"] == "text":
            said.append({"role": turn["role"], "content": last["text"]})
        elif last["type"] == "tool_result":
            said.append({"role": "tool", "tool_call_id": last["tool_use_id"], "content": last["content"]})
        else:
            function = {"name": last["name"], "arguments": json.dumps(last["input"])}
            call = {"id": last["id"], "type": "function", "function": function}
            said.append({"role": "assistant", "content": texts[0]["text"], "tool_calls": [call]})
    functions = [
        {
            "type": "function",
            "function": {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]},
        }
        for tool in source["tools"]
    ]
    return body | {"messages": said, "tools": functions}


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def http(dialect: str, stream: bool, size: int, tools: int = TOOLS, turns: int = TURNS) -> bytes:
    """The HTTP request, head and body, that the load client writes."""
    if dialect == "chat":
        return _post("/v1/chat/completions", "Authorization: Bearer none\r\n", chat(stream, size, tools, turns))
    return _post("/v1/messages?beta=true", _ANTHROPIC, messages(stream, size, tools, turns))


def count_http(size: int) -> bytes:
    """The HTTP request that asks how many tokens a request has."""
    body = messages(False, size)
    del body["max_tokens"], body["stream"]
    return _post("/v1/messages/count_tokens?beta=true", _ANTHROPIC, body)


def _post(path: str, headers: str, body: dict[str, Any]) -> bytes:
    data = _compact(body)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data
