"""A `Say` in OpenAI's Responses form: the whole body, and its full sequence of events."""

import json
from collections.abc import Iterator
from typing import Any

from tests.scenarios.checking import Json
from tests.scenarios.replies import Say, Wire, pieces

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
ENDINGS = {"length": ("incomplete", "max_output_tokens"), "content_filter": ("incomplete", "content_filter")}


def output(say: Say, number: int, token: str) -> list[Json]:
    """The items of the answer; `token` is the encrypted content of its reasoning."""
    items: list[Json] = []
    if say.reasoning:
        summary = [{"type": "summary_text", "text": say.reasoning}]
        items.append({"id": f"rs_{number}", "type": "reasoning", "summary": summary, "encrypted_content": token})
    content: list[Json] = []
    if say.text:
        content.append({"type": "output_text", "text": say.text, "annotations": [], "logprobs": []})
    if say.refusal:
        content.append({"type": "refusal", "refusal": say.refusal})
    if content:
        message = {"id": f"msg_{number}", "type": "message", "status": "completed", "role": "assistant"}
        items.append({**message, "content": content})
    for place, call in enumerate(say.calls):
        named = {"name": call.name, "arguments": call.text, "call_id": call.id}
        items.append({"id": f"fc_{number}_{place}", "type": "function_call", "status": "completed", **named})
    return items


def whole(say: Say, model: str, number: int, token: str) -> Wire:
    """The reply as one JSON body."""
    return Wire((json.dumps(_response(say, model, number, output(say, number, token))).encode(),))


def streamed(say: Say, model: str, number: int, token: str) -> Wire:
    """The reply as server-sent events, one write for each."""
    writes = []
    for sequence, (kind, fields) in enumerate(_events(say, model, number, token)):
        data = json.dumps({"type": kind, "sequence_number": sequence, **fields}, ensure_ascii=False)
        writes.append(f"event: {kind}\ndata: {data}\n\n".encode())
    return Wire(tuple(writes), headers=STREAM)


def _response(say: Say, model: str, number: int, items: list[Json], *, done: bool = True) -> Json:
    status, reason = ENDINGS.get(say.finish or "", ("completed", None)) if done else ("in_progress", None)
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "model": model,
        "output": items if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "store": False,
        "usage": _usage(say.usage or {}) if done else None,
    }


def _usage(usage: Json) -> Json:
    details = usage.get("prompt_tokens_details") or {}
    thought = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": details.get("cached_tokens", 0)},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": thought.get("reasoning_tokens", 0)},
        "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"],
    }


def _events(say: Say, model: str, number: int, token: str) -> Iterator[tuple[str, Json]]:
    items = output(say, number, token)
    begun = _response(say, model, number, [], done=False)
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for place, item in enumerate(items):
        here = {"output_index": place, "item_id": item["id"]}
        yield "response.output_item.added", {"output_index": place, "item": _bare(item)}
        if item["type"] == "reasoning":
            yield from _summary(say, here)
        elif item["type"] == "message":
            yield from _content(say, item, here)
        else:
            for piece in pieces(item["arguments"], say.piece):
                yield "response.function_call_arguments.delta", {**here, "delta": piece}
            named = {"name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", {**here, **named}
        yield "response.output_item.done", {"output_index": place, "item": item}
    response = _response(say, model, number, items)
    yield f"response.{response['status']}", {"response": response}


def _bare(item: Json) -> Json:
    """An item as it is announced. Its encrypted content may still be another one (the SDK's note on the event)."""
    begun: Json = {"status": "in_progress"} if item["type"] != "reasoning" else {"encrypted_content": "unfinished"}
    empty: dict[str, Any] = {"summary": [], "content": [], "arguments": ""}
    return {**item, **{name: value for name, value in empty.items() if name in item}, **begun}


def _summary(say: Say, here: Json) -> Iterator[tuple[str, Json]]:
    here = {**here, "summary_index": 0}
    yield "response.reasoning_summary_part.added", {**here, "part": {"type": "summary_text", "text": ""}}
    for piece in pieces(say.reasoning, say.piece):
        yield "response.reasoning_summary_text.delta", {**here, "delta": piece}
    yield "response.reasoning_summary_text.done", {**here, "text": say.reasoning}
    yield "response.reasoning_summary_part.done", {**here, "part": {"type": "summary_text", "text": say.reasoning}}


def _content(say: Say, item: Json, here: Json) -> Iterator[tuple[str, Json]]:
    for place, part in enumerate(item["content"]):
        where = {**here, "content_index": place}
        word = "text" if part["type"] == "output_text" else "refusal"
        extra: Json = {"logprobs": []} if word == "text" else {}
        yield "response.content_part.added", {**where, "part": {**part, word: ""}}
        for piece in pieces(part[word], say.piece):
            yield f"response.{part['type']}.delta", {**where, **extra, "delta": piece}
        yield f"response.{part['type']}.done", {**where, **extra, word: part[word]}
        yield "response.content_part.done", {**where, "part": part}
