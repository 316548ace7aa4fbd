"""History: the client's messages as chat messages, in an order that every server takes.

Chat Completions wants each assistant message with tool calls followed at once by one `tool` message per call. Anthropic
puts the results into the next user message, beside other content; Claude Code may put system messages after them, and
Esc or a compaction may leave calls without results. Each function here depends on the messages alone, so the same
beginning of a conversation gives the same bytes every turn.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from latimer.dialects.messages.request import Request
from latimer.errors import invalid
from latimer.wire import messages as wire

from .content import INTERRUPTED, Part, ToolOutput, text_part, tool_output, unknown_part, user_parts
from .context import Context
from .reasoning import Sealed, replay_fields, unseal
from .tools import upstream_id, upstream_name

Item = tuple[str, wire.RequestBlock]
"""A block and its path in the client's request."""
ChatMessage = dict[str, Any]


class Turn(Struct, frozen=True):
    """Messages that are one to the upstream: Anthropic merges neighbouring assistant messages."""

    role: str
    items: list[Item]
    last_index: int


def encode_messages(request: Request, context: Context) -> list[ChatMessage]:
    """The `messages` of the upstream's request."""
    messages = _leading_system(request, context)
    turns = _turns(request, context)
    replay_from = _replay_start(turns, context)
    place = 0
    while place < len(turns):
        turn = turns[place]
        following = place + 1
        if turn.role != "assistant":
            messages += _plain_turn(turn, [], context)
        else:
            while following < len(turns) and turns[following].role != "assistant":
                following += 1
            replay = turn.last_index >= replay_from
            messages += _exchange(turn, turns[place + 1 : following], replay=replay, context=context)
        place = following
    if turns and turns[-1].role == "assistant" and context.profile.messages.prefill == "reject":
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    return _merge_users(messages) if context.profile.messages.merge_users else messages


def _leading_system(request: Request, context: Context) -> list[ChatMessage]:
    parts: list[Part] = []
    for index, block in enumerate(request.system):
        parts += user_parts(block, f"system.{index}", context)
    return [{"role": context.profile.messages.system_role, "content": _content(parts, context)}] if parts else []


def _turns(request: Request, context: Context) -> list[Turn]:
    last_user = max((m.index for m in request.messages if m.role == "user"), default=-1)
    turns: list[Turn] = []
    for message in request.messages:
        if message.clear_at == "next_user_message" and message.index < last_user:
            context.lose(f"messages.{message.index}.clear_at", "the message has served its turn", "emulated")
            continue
        items = [(message.path(place), block) for place, block in enumerate(message.blocks)]
        if turns and message.role == "assistant" == turns[-1].role:
            turns[-1] = Turn("assistant", turns[-1].items + items, message.index)
        else:
            turns.append(Turn(message.role, items, message.index))
    return turns


def _replay_start(turns: list[Turn], context: Context) -> int:
    """The first message whose reasoning goes back: all, none, or those of the running tool loop."""
    match context.profile.reasoning.replay:
        case "all":
            return 0
        case "never":
            return turns[-1].last_index + 1 if turns else 0
        case "tool_turns":
            spoken = (t.last_index for t in turns if t.role == "user" and not _only_results(t))
            return max(spoken, default=0)


def _only_results(turn: Turn) -> bool:
    return all(isinstance(block, wire.ToolResultBlock) for _, block in turn.items)


def _exchange(turn: Turn, answers: list[Turn], *, replay: bool, context: Context) -> list[ChatMessage]:
    """An assistant turn, the results of its calls in call order, then whatever else was said before the next one."""
    messages = _assistant(turn, replay=replay, context=context)
    results, rest = _split_results(turn, answers)
    attached: list[Part] = []
    for path, block in turn.items:
        if not isinstance(block, wire.ToolUseBlock):
            continue
        if block.id in results:
            output = tool_output(results[block.id][1], results[block.id][0], context)
        elif answers:
            context.lose(path, "the call has no result, so one that says so is added", "emulated")
            output = ToolOutput(INTERRUPTED, [])
        else:
            continue
        messages.append(_tool_message(block.id, output, context))
        if context.profile.media.tool_images == "next_user":
            attached += output.attached
    if attached and not any(answer.role == "user" for answer in rest):
        rest.insert(0, Turn("user", [], turn.last_index))
    for answer in rest:
        messages += _plain_turn(answer, attached if answer.role == "user" else [], context)
        attached = [] if answer.role == "user" else attached
    return messages


def _split_results(turn: Turn, answers: list[Turn]) -> tuple[dict[str, tuple[str, wire.ToolResultBlock]], list[Turn]]:
    """The first result of each call, and the turns without these results."""
    calls = {block.id for _, block in turn.items if isinstance(block, wire.ToolUseBlock)}
    results: dict[str, tuple[str, wire.ToolResultBlock]] = {}
    rest: list[Turn] = []
    for answer in answers:
        others: list[Item] = []
        for path, block in answer.items:
            if isinstance(block, wire.ToolResultBlock) and block.tool_use_id in calls - results.keys():
                results[block.tool_use_id] = (path, block)
            else:
                others.append((path, block))
        if others or not answer.items:
            rest.append(Turn(answer.role, others, answer.last_index))
    return results, rest


def _tool_message(call_id: str, output: ToolOutput, context: Context) -> ChatMessage:
    native = output.attached and context.profile.media.tool_images == "native"
    content: Any = [text_part(output.text), *output.attached] if native else output.text
    return {"role": "tool", "tool_call_id": upstream_id(call_id, context.profile.tools), "content": content}


def _plain_turn(turn: Turn, attached: list[Part], context: Context) -> list[ChatMessage]:
    """A user or system turn; [] when nothing is left of it."""
    parts = list(attached)
    for path, block in turn.items:
        parts += user_parts(block, path, context)
    if not parts:
        return []
    if turn.role == "system":
        return [_mid_system(parts, turn, context)]
    return [{"role": "user", "content": _content(parts, context)}]


def _mid_system(parts: list[Part], turn: Turn, context: Context) -> ChatMessage:
    """A system message in mid-conversation, in its place either way: moving it would break the cached prefix."""
    rules = context.profile.messages
    if rules.mid_system == "native":
        return {"role": rules.system_role, "content": _content(parts, context)}
    why = "this model takes only one leading system message, so it is marked user text"
    context.lose(f"messages.{turn.last_index}.role", why, "approximated")
    text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
    return {"role": "user", "content": _content([text_part(f"<system-reminder>\n{text}\n</system-reminder>")], context)}


def _content(parts: list[Part], context: Context) -> str | list[Part]:
    """Text alone becomes a string, which every server takes, whether the client sent a string or blocks."""
    plain = all(part.keys() == {"type", "text"} for part in parts)
    match context.profile.messages.content:
        case "string_if_text" if plain:
            return "\n\n".join(part["text"] for part in parts)
        case "string_only":
            return "\n\n".join(part.get("text", f"[{part['type']} left out]") for part in parts)
        case _:
            return parts


def _assistant(turn: Turn, *, replay: bool, context: Context) -> list[ChatMessage]:
    """An assistant turn as one message; [] when nothing is left of it."""
    reasoning: list[tuple[Sealed, str]] = []
    calls: list[dict[str, Any]] = []
    texts: list[str] = []
    follows_text = False
    for path, block in turn.items:
        match block:
            case wire.ThinkingBlock() | wire.RedactedThinkingBlock():
                reasoning += _thinking(path, block, replay=replay, context=context)
            case wire.ToolUseBlock():
                calls.append(_call(path, block, context))
            case wire.TextBlock(text=text) if text:
                _ = context.cache_control(path, block.cache_control)
                context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
                texts.append(text if follows_text or not texts else f"\n\n{text}")
            case wire.TextBlock():
                continue
            case _:
                texts.append(unknown_part(block, path, context)["text"])
        follows_text = isinstance(block, wire.TextBlock)
    return _assistant_message("".join(texts), calls, reasoning, context)


def _assistant_message(
    text: str, calls: list[dict[str, Any]], reasoning: list[tuple[Sealed, str]], context: Context
) -> list[ChatMessage]:
    rules = context.profile
    fields = replay_fields(reasoning)
    if rules.reasoning.replay_missing == "empty" and not fields:
        fields = {"reasoning_content": ""}
    content: Any = _thoughtful(text, reasoning)
    if not content and not calls:
        return [{"role": "assistant", "content": "", **fields}] if reasoning and fields else []
    message: ChatMessage = {"role": "assistant", "content": content or None}
    if not content and rules.messages.assistant_null == "empty":
        message["content"] = ""
    elif not content and rules.messages.assistant_null == "omit":
        del message["content"]
    if calls:
        extras = {key: value for sealed, _ in reasoning for key, value in (sealed.calls or {}).items()}
        message["tool_calls"] = [_with_extra(call, extras, context) for call in calls]
    return [message | fields]


def _thoughtful(text: str, reasoning: list[tuple[Sealed, str]]) -> str | list[Part]:
    """The content, with reasoning that came inside the content put back into it."""
    thoughts = "".join(thought for sealed, thought in reasoning if sealed.field == "think")
    parts = [thought for sealed, thought in reasoning if sealed.field == "parts"]
    if parts:
        thinking = [{"type": "thinking", "thinking": [text_part(thought)]} for thought in parts]
        return [*thinking, *([text_part(text)] if text else [])]
    return f"<think>{thoughts}</think>\n\n{text}" if thoughts else text


def _thinking(
    path: str, block: wire.ThinkingBlock | wire.RedactedThinkingBlock, *, replay: bool, context: Context
) -> list[tuple[Sealed, str]]:
    signature = block.signature if isinstance(block, wire.ThinkingBlock) else block.data
    sealed = unseal(signature, context.route)
    if sealed is None:
        context.lose(path, "the reasoning of another model, which this one cannot read")
        return []
    if not replay:
        context.lose(path, "this model takes no reasoning of earlier turns")
        return []
    shown = block.thinking if isinstance(block, wire.ThinkingBlock) else ""
    return [(sealed, sealed.text if sealed.text is not None else shown)]


def _call(path: str, block: wire.ToolUseBlock, context: Context) -> dict[str, Any]:
    context.lose_if_given(f"{path}.cache_control", block.cache_control, "tool calls carry no cache marks here")
    if wire.given(block.caller) and b'"direct"' not in bytes(block.caller):
        context.lose(f"{path}.caller", "the provider has only direct calls")
    if block.toolset_name:
        context.lose(f"{path}.toolset_name", "the provider has no toolsets")
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        context.lose(f"{path}.input", "arguments must be an object", "approximated")
        arguments = '{"value":' + arguments + "}"
    return {"id": block.id, "name": upstream_name(block.name), "arguments": arguments}


def _with_extra(call: dict[str, Any], extras: dict[str, Any], context: Context) -> dict[str, Any]:
    """The wire form of a call, with the provider's own data that came with it."""
    wired: dict[str, Any] = {
        "id": upstream_id(call["id"], context.profile.tools),
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"]},
    }
    return wired | ({"extra_content": extras[call["id"]]} if call["id"] in extras else {})


def _merge_users(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Neighbouring user messages as one, for chat templates that insist on alternation."""
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and message["role"] == "user" == merged[-1]["role"]:
            merged[-1] = {"role": "user", "content": _joined(merged[-1]["content"], message["content"])}
        else:
            merged.append(message)
    return merged


def _joined(first: str | list[Part], second: str | list[Part]) -> str | list[Part]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*(_as_parts(first)), *(_as_parts(second))]


def _as_parts(content: str | list[Part]) -> list[Part]:
    return [text_part(content)] if isinstance(content, str) else content
