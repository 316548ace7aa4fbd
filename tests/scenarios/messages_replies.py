"""A `Say` in the Anthropic Messages form: the whole body, and its events."""

import json
from collections.abc import Iterator, Mapping

from tests.scenarios.checking import Json
from tests.scenarios.replies import Say, Wire, pieces

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def blocks(say: Say, signature: str) -> list[Json]:
    """The content of the answer; `signature` is that of its thinking."""
    found: list[Json] = []
    if say.reasoning:
        found.append({"type": "thinking", "thinking": say.reasoning, "signature": signature})
    if say.text or say.refusal:
        found.append({"type": "text", "text": say.text or say.refusal, "citations": None})
    tool = {"type": "tool_use"}
    return found + [{**tool, "id": call.id, "name": call.name, "input": json.loads(call.text)} for call in say.calls]


def whole(say: Say, model: str, number: int, signature: str) -> Wire:
    """The reply as one JSON body."""
    ending = {"stop_reason": _stop(say), "usage": _usage(say.usage or {})}
    return Wire((json.dumps({**_message(model, number), "content": blocks(say, signature), **ending}).encode(),))


def streamed(say: Say, model: str, number: int, signature: str) -> Wire:
    """The reply as server-sent events, one write for each."""
    writes = []
    for event in _events(say, model, number, signature):
        data = json.dumps(event, ensure_ascii=False)
        writes.append(f"event: {event['type']}\ndata: {data}\n\n".encode())
    return Wire(tuple(writes), headers=STREAM)


def failure(status: int, kind: str, message: str, *, headers: Mapping[str, str] | None = None) -> Wire:
    """An error in Anthropic's envelope."""
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    headers = {"content-type": "application/json", **(headers or {})}
    return Wire((json.dumps(body).encode(),), status=status, headers=headers)


def _stop(say: Say) -> str:
    return "refusal" if say.refusal else STOPS.get(say.finish_reason, say.finish_reason)


def _message(model: str, number: int) -> Json:
    empty: Json = {"content": [], "stop_reason": None, "stop_sequence": None}
    return {"id": f"msg_{number:024d}", "type": "message", "role": "assistant", "model": model, **empty}


def _usage(usage: Json) -> Json:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        "input_tokens": usage["prompt_tokens"] - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage["completion_tokens"],
    }


def _events(say: Say, model: str, number: int, signature: str) -> Iterator[Json]:
    usage = _usage(say.usage or {})
    yield {"type": "message_start", "message": {**_message(model, number), "usage": {**usage, "output_tokens": 1}}}
    yield {"type": "ping"}
    for index, block in enumerate(blocks(say, signature)):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block, say.piece):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ending = {"stop_reason": _stop(say), "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": usage}
    yield {"type": "message_stop"}


def _empty(block: Json) -> Json:
    empty: dict[str, Json] = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}}
    return {**block, **empty.get(block["type"], {"input": {}})}


def _deltas(block: Json, size: int) -> Iterator[Json]:
    if block["type"] == "thinking":
        for piece in pieces(block["thinking"], size):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        for piece in pieces(block["text"], size):
            yield {"type": "text_delta", "text": piece}
    else:
        yield {"type": "input_json_delta", "partial_json": ""}
        for piece in pieces(json.dumps(block["input"], ensure_ascii=False), size):
            yield {"type": "input_json_delta", "partial_json": piece}
