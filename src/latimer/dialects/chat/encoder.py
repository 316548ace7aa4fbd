"""Events as Chat Completions, streamed or whole: the mirror of the decoder, which the laws hold it to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import json

from latimer.dialects.client_tools import function_name
from latimer.errors import Failure
from latimer.events import (
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    Text,
    ToolCall,
)
from latimer.wire import sse

from .usage import encode_usage

FROM_FINISH_REASON: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_call": "tool_calls",
    "content_filter": "content_filter",
    "context_window": "length",
    "pause": "stop",
    "compaction": "stop",
}


class StreamEncoder:
    """Events in, bytes of an SSE stream out. Signatures and opaque blocks have no place in Chat Completions."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._block: Block = Text()
        self._calls = -1

    def encode(self, event: Event) -> bytes:
        """The bytes that say what the event says; b'' for what the dialect has no word for."""
        match event:
            case Start(id=id, model=model):
                self._head = {"id": id, "object": "chat.completion.chunk", "created": 0, "model": model}
                return self._delta({"role": "assistant", "content": ""})
            case BlockStart(block=block):
                self._block = block
                return self._call_start(block) if isinstance(block, ToolCall) else b""
            case Delta(data=data):
                return b"" if isinstance(self._block, Opaque) else self._delta(self._piece(data))
            case Finish(reason=reason, usage=usage, tier=tier):
                end = self._chunk([{"index": 0, "delta": {}, "finish_reason": FROM_FINISH_REASON[reason]}])
                more = {"usage": encode_usage(usage)} | ({"service_tier": tier} if tier else {})
                return end + self._chunk([], **more) + sse.encode(b"[DONE]")
            case Failure(type=type, message=message):
                return sse.encode(json.encode({"error": {"type": type, "message": message}}))
            case Signature() | OpaqueDelta() | BlockStop():
                return b""

    def _call_start(self, call: ToolCall) -> bytes:
        self._calls += 1
        function = {"name": function_name(call.name, call.toolset), "arguments": ""}
        return self._delta(
            {"tool_calls": [{"index": self._calls, "id": call.id, "type": "function", "function": function}]}
        )

    def _piece(self, data: str) -> dict[str, Any]:
        match self._block:
            case Text():
                return {"content": data}
            case Reasoning():
                return {"reasoning_content": data}
            case ToolCall():
                return {"tool_calls": [{"index": self._calls, "function": {"arguments": data}}]}
            case Opaque():
                return {}

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return sse.encode(json.encode(self._head | {"choices": choices} | more))


def encode_response(events: Iterable[Event]) -> bytes:
    """A whole answer. Texts of one kind are joined, since a chat message has one field for each kind."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    body: dict[str, Any] = {"object": "chat.completion", "created": 0}
    block: Block = Text()
    for event in events:
        match event:
            case Start(id=id, model=model):
                body |= {"id": id, "model": model}
            case BlockStart(block=block):
                if isinstance(block, ToolCall):
                    function = {"name": function_name(block.name, block.toolset), "arguments": ""}
                    message.setdefault("tool_calls", []).append(
                        {"id": block.id, "type": "function", "function": function}
                    )
            case Delta(data=data):
                _append(message, block, data)
            case Finish(reason=reason, usage=usage):
                choice = {"index": 0, "message": message, "finish_reason": FROM_FINISH_REASON[reason]}
                body |= {"choices": [choice], "usage": encode_usage(usage)}
                body |= {"service_tier": event.tier} if event.tier else {}
            case Failure(type=type, message=text):
                return json.encode({"error": {"type": type, "message": text}})
            case _:
                pass
    return json.encode(body)


def _append(message: dict[str, Any], block: Block, data: str) -> None:
    match block:
        case Text():
            message["content"] = (message["content"] or "") + data
        case Reasoning():
            message["reasoning_content"] = message.get("reasoning_content", "") + data
        case ToolCall():
            message["tool_calls"][-1]["function"]["arguments"] += data
        case Opaque():
            pass
