"""Compaction: a conversation goes on from a summary of itself.

https://docs.anthropic.com/en/docs/build-with-claude/compaction. The summary is a block of the answer. The client sends
it back with all the rest, and what stands before the newest one is no longer read.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw, json
from msgspec.structs import replace

from latimer.report import Loss
from latimer.wire import messages as wire
from latimer.wire.json_text import UNREADABLE

from .request import Compacted, Message, Request

BLOCK = "compaction"
LEAST_SUMMARY = 8192
"""Tokens that a summary may take, with the thinking before it, whatever the client allows its answers."""

INSTRUCTIONS = """\
This conversation has become too long and will go on from a summary. Write that summary now; whoever goes on has \
nothing else to read. Say what the user wants and has asked for, in their own words where the wording counts; what has \
been done and decided, and why; every file, name, number, command and error that is still needed, exactly; what was \
tried without success; and what is unfinished, with the next step. Call no tools and do not answer the user here: \
write the summary alone."""

_NOT_GIVEN = re.compile(rb',"[a-z_]+":null')
_TOOL_CHANGES = frozenset({"tool_addition", "tool_removal"})


def told_summary(summary: str) -> str:
    """How the model is told of a summary."""
    return f"<conversation_summary>\n{summary}\n</conversation_summary>"


def resumed(request: Request) -> tuple[Request, bytes]:
    """The request from its newest summary on, and what was left out, as JSON. A block without content does nothing."""
    for at in range(len(request.messages) - 1, -1, -1):
        message = request.messages[at]
        for place in range(len(message.blocks) - 1, -1, -1):
            found = message.blocks[place]
            if isinstance(found, wire.UnknownBlock) and (block := _summary(found)):
                return _from(request, at, place, block)
    return request, b""


def _summary(block: wire.UnknownBlock) -> dict[str, Any] | None:
    if block.type != BLOCK:
        return None
    value = json.decode(block.raw)
    return value if isinstance(value.get("content"), str) and value["content"].strip() else None


def _from(request: Request, at: int, place: int, block: dict[str, Any]) -> tuple[Request, bytes]:
    message = request.messages[at]
    before = [*request.messages[:at], replace(message, blocks=message.blocks[:place])]
    mark = block.get("cache_control")
    first = _summarized(before, message.index, block["content"], Raw(json.encode(mark)) if mark else wire.NULL)
    rest = replace(message, blocks=message.blocks[place + 1 :])
    messages = [first, *([rest] if rest.blocks else []), *request.messages[at + 1 :]]
    loss = Loss(message.path(place), "emulated", "the conversation goes on from this summary")
    return replace(request, messages=messages, losses=[*request.losses, loss]), _json(before)


def _summarized(before: list[Message], index: int, summary: str, mark: Raw = wire.NULL) -> Message:
    """The message in place of others; what those did to the tool list stays done."""
    changes = [
        block
        for message in before
        for block in message.blocks
        if isinstance(block, wire.UnknownBlock) and block.type in _TOOL_CHANGES
    ]
    return Message(index, "user", [*changes, wire.TextBlock(told_summary(summary), mark)])


def question(request: Request) -> Request | None:
    """The request for the summary that is due; None where there is nothing to sum up."""
    if request.compact is None or not _turn_start(request.messages) or not request.body.max_tokens:
        return None
    words = request.compact.instructions or ""
    asked = wire.TextBlock(words if words.strip() else INSTRUCTIONS)
    body = replace(
        request.body,
        max_tokens=max(request.body.max_tokens, LEAST_SUMMARY),
        stop_sequences=None,
        tools=None,
        tool_choice=wire.NULL,
        context_management=wire.NULL,
    )
    return replace(
        request,
        body=body,
        messages=[*request.messages, Message(request.messages[-1].index + 1, "user", [asked])],
        tools=[],
        tool_choice=None,
        output_config=replace(request.output_config, format=None),
        losses=[],
        applied_edits=None,
        compact=None,
    )


def read_summary(answer: bytes) -> Compacted | None:
    """The summary in a whole message; None where there is none, or only the beginning of one."""
    try:
        message = json.decode(answer)
    except UNREADABLE:
        return None
    match message:
        case {"content": list(content), "stop_reason": "end_turn", "usage": dict(usage)}:
            texts = [block["text"] for block in content if block.get("type") == "text"]
            summary = "\n\n".join(texts).strip()
            return Compacted(summary, usage) if summary else None
        case _:
            return None


def compacted(request: Request, done: Compacted) -> tuple[Request, bytes]:
    """The request with the summary in place of all before the last turn, and what it replaced, as JSON."""
    start = _turn_start(request.messages)
    before, turn = request.messages[:start], request.messages[start:]
    messages = [_summarized(before, before[-1].index, done.summary), *turn]
    return replace(request, messages=messages, compact=None, compacted=done), _json(before)


def given_up(request: Request, why: str) -> Request:
    """The request without its compaction, which could not be had."""
    due = request.compact
    if due is None:
        return request
    losses = [loss for loss in request.losses if loss.field != due.path]
    return replace(request, compact=None, losses=[*losses, Loss(due.path, "dropped", why)])


def _turn_start(messages: list[Message]) -> int:
    """Where the last turn begins: the user's words, an answer begun after them, the calls whose results they are."""
    start = _run(messages, len(messages), assistant=True)
    start = _run(messages, start, assistant=False)
    if any(isinstance(block, wire.ToolResultBlock) for message in messages[start:] for block in message.blocks):
        start = _run(messages, start, assistant=True)
    return start


def _run(messages: list[Message], end: int, *, assistant: bool) -> int:
    """Where the messages of one side begin that end there."""
    while end and (messages[end - 1].role == "assistant") == assistant:
        end -= 1
    return end


def _json(messages: list[Message]) -> bytes:
    """About as the client sent it: fields that were not given weigh nothing."""
    blocks = (block for message in messages for block in message.blocks)
    encoded = [Raw(block.raw) if isinstance(block, wire.UnknownBlock) else block for block in blocks]
    return _NOT_GIVEN.sub(b"", json.encode(encoded)) if encoded else b""
