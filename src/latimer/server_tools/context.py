"""Which URLs a model may have fetched: those that stand in the conversation already.

A model under the influence of a page could otherwise carry what it knows to any server, in the URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from msgspec import Raw, json

from latimer.dialects.messages.request import Message, Request
from latimer.wire import messages as wire

from .plan import ServerTool

TOOL_RESULTS = {True: "server_tool_results", False: "client_tool_results"}


def mentions(request: Request, url: str, sources: Raw, server_tools: Mapping[str, ServerTool]) -> bool:
    """Whether the URL occurs where the tool's `url_sources` look for it; by default anywhere but in the model's words.

    Its scheme and a last slash do not matter: users write `example.com/docs`.
    """
    chosen = json.decode(sources) if wire.given(sources) else {}
    bare = url.partition("#")[0].partition("://")[2].rstrip("/")
    spellings = {bare, unquote(bare)}
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(spelling)}" for spelling in spellings), re.IGNORECASE)
    return any(
        pattern.search(text) for text in _texts(request, chosen if isinstance(chosen, dict) else {}, server_tools)
    )


def _texts(request: Request, chosen: dict[str, Any], server_tools: Mapping[str, ServerTool]) -> Iterator[str]:
    users = _kind(chosen.get("user_input")) != "none"
    if users:
        yield from (block.text for block in request.system)
    callers = _callers(request.messages)
    for message in request.messages:
        for block in message.blocks if message.role != "assistant" else ():
            if isinstance(block, wire.ToolResultBlock):
                name = callers.get(block.tool_use_id, "")
                served = server_tools.get(name)
                rule = chosen.get(TOOL_RESULTS[served is not None])
                if _contributes(rule, served.name if served else name):
                    yield from _strings(_decoded(block.content))
            elif users:
                yield from _strings(json.decode(json.encode(block)) if not isinstance(block, wire.UnknownBlock) else "")


def _callers(messages: list[Message]) -> dict[str, str]:
    blocks = (block for message in messages for block in message.blocks)
    return {block.id: block.name for block in blocks if isinstance(block, wire.ToolUseBlock)}


def _kind(rule: Any) -> str:
    return str(rule.get("type")) if isinstance(rule, dict) else str(rule)


def _contributes(rule: Any, name: str) -> bool:
    listed = rule.get("tools") if isinstance(rule, dict) else None
    named = any(isinstance(tool, dict) and tool.get("name") == name for tool in listed or ())
    return {"none": False, "only": named, "except": not named}.get(_kind(rule), True)


def _decoded(content: str | list[Raw] | None) -> Any:
    return [json.decode(raw) for raw in content] if isinstance(content, list) else content


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for key, item in value.items():
                if key != "data" or value.get("type") == "text":  # base64 holds no URL
                    yield from _strings(item)
