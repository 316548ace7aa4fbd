"""One view of a conversation in any dialect, so that a script need not know in which one it is asked."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.scenarios.checking import Json


@dataclass(frozen=True)
class Turn:
    """One message. Tool results are turns of their own, of the role `tool`, in every dialect."""

    role: str
    text: str
    calls: tuple[str, ...] = ()
    reasoning: str | None = None
    parts: tuple[Json, ...] = ()
    call_id: str = ""
    """Of a tool result: the call it answers."""


def flat(content: Any) -> str:
    """The text of a message's content, whatever its form."""
    if isinstance(content, list):
        return "\n".join(_text_of(part) for part in content)
    return content or ""


def _text_of(part: Json) -> str:
    return part.get("text") or flat(part.get("content")) if part.get("type") != "thinking" else ""


def _parts(content: Any) -> tuple[Json, ...]:
    return tuple(content) if isinstance(content, list) else ()


def chat_turns(body: Json) -> list[Turn]:
    """The conversation of a Chat Completions request."""
    return [
        Turn(
            message["role"],
            flat(message.get("content")),
            tuple(call["function"]["name"] for call in message.get("tool_calls") or ()),
            _chat_reasoning(message),
            _parts(message.get("content")),
            message.get("tool_call_id", ""),
        )
        for message in body.get("messages", [])
    ]


def _chat_reasoning(message: Json) -> str | None:
    for name in ("reasoning_content", "reasoning", "reasoning_text"):
        if isinstance(message.get(name), str):
            return str(message[name])
    details = message.get("reasoning_details")
    if details:
        return "".join(detail.get("text", "") for detail in details)
    thoughts = [part for part in _parts(message.get("content")) if part.get("type") == "thinking"]
    return "".join(flat(part["thinking"]) for part in thoughts) if thoughts else None


def responses_turns(body: Json) -> list[Turn]:
    """The conversation of a Responses request: what the model said between two other items is one turn."""
    items = body.get("input", [])
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    turns = [Turn("system", body["instructions"])] if body.get("instructions") else []
    said: list[Json] = []
    for item in [*items, None]:
        if item is not None and _model_said(item):
            said.append(item)
            continue
        if said:
            turns.append(_model_turn(said))
            said = []
        if item is None:
            break
        if item.get("type") == "function_call_output":
            turns.append(
                Turn("tool", flat(item["output"]), parts=_parts(item["output"]), call_id=item.get("call_id", ""))
            )
        else:
            turns.append(Turn(item["role"], flat(item["content"]), parts=_parts(item["content"])))
    return turns


def _model_said(item: Json) -> bool:
    return item.get("type") in {"reasoning", "function_call"} or item.get("role") == "assistant"


def _model_turn(items: list[Json]) -> Turn:
    texts = [flat(item["content"]) for item in items if item.get("role") == "assistant"]
    calls = tuple(item["name"] for item in items if item.get("type") == "function_call")
    thoughts = [flat(item["summary"]) for item in items if item.get("type") == "reasoning"]
    return Turn("assistant", "\n".join(texts), calls, "\n".join(thoughts) if thoughts else None)


def messages_turns(body: Json) -> list[Turn]:
    """The conversation of a Messages request.

    The tool results of a user message come before its text, in the order of the calls: clients give them as they come.
    """
    turns = [Turn("system", flat(body["system"]))] if body.get("system") else []
    called: list[str] = []
    for message in body.get("messages", []):
        blocks = _blocks(message["content"])
        results = {block["tool_use_id"]: block.get("content") for block in blocks if block["type"] == "tool_result"}
        for identity in sorted(results, key=lambda one: called.index(one) if one in called else -1):
            content = results[identity]
            turns.append(Turn("tool", flat(content), parts=_parts(content), call_id=identity))
        rest = [block for block in blocks if block["type"] != "tool_result"]
        if rest:
            thoughts = [block["thinking"] for block in rest if block["type"] == "thinking"]
            calls = tuple(block["name"] for block in rest if block["type"] == "tool_use")
            reasoning = "".join(thoughts) if thoughts else None
            turns.append(Turn(message["role"], flat(rest), calls, reasoning, tuple(rest)))
        called = [block["id"] for block in rest if block["type"] == "tool_use"] or called
    return turns


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def tools_of(dialect: str, body: Json) -> dict[str, Json]:
    """The functions on offer, by name, in the order of the request; in every dialect their schema is `parameters`."""
    tools = body.get("tools") or []
    if dialect == "chat":
        tools = [tool["function"] for tool in tools]
    elif dialect == "messages":
        tools = [{**tool, "parameters": tool.get("input_schema")} for tool in tools]
    return {tool["name"]: tool for tool in tools}


def messages_of(dialect: str, body: Json) -> list[Json]:
    """The conversation as it stands in the request."""
    found = body.get("input" if dialect == "responses" else "messages", [])
    return [{"role": "user", "content": found}] if isinstance(found, str) else list(found)


def grows(dialect: str, bodies: Iterable[Json]) -> Iterator[tuple[int, int]]:
    """Where a request does not begin with the one before it: the numbers of request and message.

    Cache marks, which clients move from turn to turn, are no part of what is cached.
    """
    for number, (before, after) in enumerate(pairwise(bodies), start=1):
        earlier, later = (
            [json.dumps(_unmarked(each)) for each in messages_of(dialect, body)] for body in (before, after)
        )
        for place, message in enumerate(earlier):
            if later[place : place + 1] != [message]:
                yield number, place
                break


def _unmarked(value: Any) -> Any:
    """The same without cache marks; a lone text part is the same as its string."""
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _unmarked(each) for name, each in value.items() if name != "cache_control"}
    content = kept.get("content")
    if isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}:
        kept["content"] = content[0]["text"]
    return kept


TURNS: Mapping[str, Any] = {"chat": chat_turns, "responses": responses_turns, "messages": messages_turns}
