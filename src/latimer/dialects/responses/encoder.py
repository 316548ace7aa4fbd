"""Events as the Responses API, streamed or whole: the mirror of the decoder, which the laws hold it to."""

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

INCOMPLETE: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "context_window": "max_output_tokens",
    "content_filter": "content_filter",
}
"""`incomplete_details.reason`; with every other reason an answer is completed."""


class StreamEncoder:
    """Events in, bytes of an SSE stream out. A signature travels as `encrypted_content`; opaque blocks have no place.

    `response` is the answer as far as it is known.
    """

    def __init__(self) -> None:
        self.response: dict[str, Any] = {}
        self._items: list[dict[str, Any]] = []
        self._said: list[str] = []
        self._block: Block = Opaque("", b"")
        self._number = 0

    def encode(self, event: Event) -> bytes:
        """The bytes that say what the event says; b'' for what the dialect has no word for."""
        match event:
            case Start(id=id, model=model):
                self.response = _response(id, model)
                return self._event("response.created", response=self.response)
            case BlockStart(block=block):
                return self._open(block)
            case Delta(data=data):
                return self._delta(data)
            case Signature(data=data):
                if isinstance(self._block, Reasoning):
                    self._items[-1]["encrypted_content"] = data
                return b""
            case BlockStop():
                return self._close()
            case Finish():
                self.response |= _ending(event, self._items)
                return self._event(f"response.{self.response['status']}", response=self.response)
            case Failure(type=type, message=message):
                return self._event("error", code=type, message=message, param=None)
            case OpaqueDelta():
                return b""

    def _open(self, block: Block) -> bytes:
        self._block, self._said = block, []
        if isinstance(block, Opaque):
            return b""
        self._items.append(_item(block, len(self._items)))
        out = self._event("response.output_item.added", output_index=self._at, item=self._items[-1])
        match block:
            case Text():
                return out + self._of_item("response.content_part.added", content_index=0, part=_text(""))
            case Reasoning():
                part = {"type": "summary_text", "text": ""}
                return out + self._of_item("response.reasoning_summary_part.added", summary_index=0, part=part)
            case _:
                return out

    def _delta(self, data: str) -> bytes:
        self._said.append(data)
        match self._block:
            case Text():
                return self._of_item("response.output_text.delta", content_index=0, delta=data, logprobs=[])
            case Reasoning():
                return self._of_item("response.reasoning_summary_text.delta", summary_index=0, delta=data)
            case ToolCall():
                return self._of_item("response.function_call_arguments.delta", delta=data)
            case Opaque():
                return b""

    def _close(self) -> bytes:
        block, said = self._block, "".join(self._said)
        if isinstance(block, Opaque):
            return b""
        item = self._items[-1]
        _fill(item, block, said)
        match block:
            case Text():
                out = self._of_item("response.output_text.done", content_index=0, text=said, logprobs=[])
                out += self._of_item("response.content_part.done", content_index=0, part=_text(said))
            case Reasoning():
                part = {"type": "summary_text", "text": said}
                out = self._of_item("response.reasoning_summary_text.done", summary_index=0, text=said)
                out += self._of_item("response.reasoning_summary_part.done", summary_index=0, part=part)
            case ToolCall():
                out = self._of_item("response.function_call_arguments.done", arguments=said)
        return out + self._event("response.output_item.done", output_index=self._at, item=item)

    @property
    def _at(self) -> int:
        return len(self._items) - 1

    def _of_item(self, type: str, **fields: Any) -> bytes:
        return self._event(type, item_id=self._items[-1]["id"], output_index=self._at, **fields)

    def _event(self, type: str, **fields: Any) -> bytes:
        self._number += 1
        return sse.encode(json.encode({"type": type, "sequence_number": self._number} | fields), type)


def encode_response(events: Iterable[Event]) -> bytes:
    """A whole answer."""
    encoder = StreamEncoder()
    for event in events:
        if isinstance(event, Failure):
            return json.encode({"error": {"type": event.type, "code": None, "message": event.message, "param": None}})
        encoder.encode(event)
    return json.encode(encoder.response)


def _response(id: str, model: str) -> dict[str, Any]:
    """What the reference requires of every response."""
    return {
        "id": id,
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "usage": None,
    }


def _ending(finish: Finish, items: list[dict[str, Any]]) -> dict[str, Any]:
    cut = INCOMPLETE.get(finish.reason)
    end: dict[str, Any] = {"output": items, "usage": encode_usage(finish.usage)}
    end |= {"status": "incomplete", "incomplete_details": {"reason": cut}} if cut else {"status": "completed"}
    return end | ({"service_tier": finish.tier} if finish.tier else {})


def _item(block: Block, place: int) -> dict[str, Any]:
    """An item that has only begun."""
    begun = {"status": "in_progress"}
    match block:
        case Text():
            return {"id": f"msg_{place}", "type": "message", "role": "assistant", "content": []} | begun
        case Reasoning():
            return {"id": f"rs_{place}", "type": "reasoning", "summary": []} | begun
        case ToolCall(id=id, name=name, toolset=toolset):
            named = {"call_id": id, "name": function_name(name, toolset), "arguments": ""}
            return {"id": f"fc_{place}", "type": "function_call"} | named | begun
        case Opaque():
            return {}


def _fill(item: dict[str, Any], block: Block, said: str) -> None:
    item["status"] = "completed"
    match block:
        case Text():
            item["content"] = [_text(said)]
        case Reasoning():
            item["summary"] = [{"type": "summary_text", "text": said}] if said else []
        case _:
            item["arguments"] = said


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
