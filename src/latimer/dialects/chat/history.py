"""History as Chat Completions writes it: each assistant message with tool calls, then one `tool` message per call."""

from __future__ import annotations

from typing import Any

from latimer.dialects.content import ToolOutput
from latimer.dialects.context import Context
from latimer.dialects.history import (
    Call,
    Exchange,
    Turn,
    arrange,
    leading_system,
    name_and_arguments,
    opened_reasoning,
    outputs,
    said,
    said_by_assistant,
)
from latimer.dialects.messages.request import Request
from latimer.dialects.parts import Part
from latimer.dialects.sealing import Sealed
from latimer.wire import messages as wire

from .content import Content, encode_content, encode_part
from .reasoning import replay_fields

ChatMessage = dict[str, Any]


def encode_messages(request: Request, context: Context) -> list[ChatMessage]:
    """The `messages` of the upstream's request."""
    system = leading_system(request, context)
    messages = _message(context.profile.messages.system_role, system, context)
    for entry in arrange(request, context):
        messages += _exchange(entry, context) if isinstance(entry, Exchange) else _plain_turn(entry, [], context)
    if context.profile.messages.bridge:
        messages = _bridged(messages, context)
    return _merge_users(messages) if context.profile.messages.merge_users else messages


def _message(role: str, parts: list[Part], context: Context) -> list[ChatMessage]:
    """[] when nothing is left of it."""
    return [{"role": role, "content": encode_content(parts, context)}] if parts else []


def _plain_turn(turn: Turn, attached: list[Part], context: Context) -> list[ChatMessage]:
    role, parts = said(turn, context)
    return _message(role, [*attached, *parts], context)


def _exchange(exchange: Exchange, context: Context) -> list[ChatMessage]:
    """An assistant turn, the results of its calls in call order, then whatever else was said before the next one."""
    messages = _assistant(exchange.turn, exchange.calls, context)
    attached: list[Part] = []
    for call_id, output in outputs(exchange, context):
        messages.append(_tool_message(call_id, output, context))
        if context.profile.media.tool_images != "native":
            attached += output.attached
    for answer in exchange.rest:
        messages += _plain_turn(answer, attached if answer is exchange.bearer else [], context)
    return messages


def _tool_message(call_id: str, output: ToolOutput, context: Context) -> ChatMessage:
    native = output.attached and context.profile.media.tool_images == "native"
    content: Any = output.text
    if native or context.marks_caches:
        mark = {} if output.mark is None else {"cache_control": output.mark}
        attached = [encode_part(part) for part in output.attached] if native else []
        content = [{"type": "text", "text": output.text} | mark, *attached]
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _assistant(turn: Turn, calls: list[Call], context: Context) -> list[ChatMessage]:
    """An assistant turn as one message; [] when nothing is left of it."""
    reasoning: list[tuple[Sealed, str]] = []
    texts: list[str] = []
    follows_text = False
    for path, block in turn.items:
        words = ""
        match block:
            case wire.ThinkingBlock() | wire.RedactedThinkingBlock():
                opened = opened_reasoning(path, block, context, lambda sealed: not sealed.is_item)
                if opened:
                    sealed, shown = opened
                    reasoning.append((sealed, shown if sealed.text is None else sealed.text))
            case wire.ToolUseBlock():
                pass
            case _:
                words = said_by_assistant(path, block, context)
        is_text = isinstance(block, wire.TextBlock)
        if words:
            texts.append(words if (follows_text and is_text) or not texts else f"\n\n{words}")
        follows_text = is_text
    return _assistant_message("".join(texts), [_call(call, context) for call in calls], reasoning, turn, context)


def _assistant_message(
    text: str, calls: list[dict[str, Any]], reasoning: list[tuple[Sealed, str]], turn: Turn, context: Context
) -> list[ChatMessage]:
    rules = context.profile
    fields = replay_fields(reasoning)
    content: Any = _thoughtful(text, reasoning)
    if not content and not calls:
        if fields:
            why = "providers refuse an assistant message that holds nothing but reasoning"
            context.lose(f"messages.{turn.last_index}", why)
        return []
    if rules.reasoning.replay_missing == "empty" and not fields:
        fields = {"reasoning_content": ""}
    message: ChatMessage = {"role": "assistant", "content": content or None}
    if not content and rules.messages.assistant_null == "empty":
        message["content"] = ""
    elif not content and rules.messages.assistant_null == "omit":
        del message["content"]
    if calls:
        extras = {key: value for sealed, _ in reasoning for key, value in (sealed.calls or {}).items()}
        owners = [block.id for _, block in turn.items if isinstance(block, wire.ToolUseBlock)]
        message["tool_calls"] = [
            call | ({"extra_content": extras[owner]} if owner in extras else {})
            for call, owner in zip(calls, owners, strict=True)
        ]
    return [message | fields]


def _thoughtful(text: str, reasoning: list[tuple[Sealed, str]]) -> Content:
    """The content, with reasoning that came inside the content put back into it."""
    thoughts = "".join(thought for sealed, thought in reasoning if sealed.field == "think")
    parts = [thought for sealed, thought in reasoning if sealed.field == "parts"]
    if parts:
        thinking = [{"type": "thinking", "thinking": [_text(thought)]} for thought in parts]
        return [*thinking, *([_text(text)] if text else [])]
    return f"<think>{thoughts}</think>\n\n{text}" if thoughts else text


def _call(call: Call, context: Context) -> dict[str, Any]:
    name, arguments = name_and_arguments(call, context)
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _bridged(messages: list[ChatMessage], context: Context) -> list[ChatMessage]:
    """A word of the assistant's between a tool message and a user message, where one may not follow the other."""
    bridged: list[ChatMessage] = []
    for message in messages:
        if bridged and message["role"] == "user" and bridged[-1]["role"] == "tool":
            context.lose("messages", "a user message may not follow a tool's, so the assistant says a word", "emulated")
            bridged.append({"role": "assistant", "content": context.profile.messages.bridge})
        bridged.append(message)
    return bridged


def _merge_users(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Neighbouring user messages as one, for chat templates that insist on alternation."""
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and message["role"] == "user" == merged[-1]["role"]:
            merged[-1] = {"role": "user", "content": _joined(merged[-1]["content"], message["content"])}
        else:
            merged.append(message)
    return merged


def _joined(first: Content, second: Content) -> Content:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*(_as_parts(first)), *(_as_parts(second))]


def _as_parts(content: Content) -> list[dict[str, Any]]:
    return [_text(content)] if isinstance(content, str) else content


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
