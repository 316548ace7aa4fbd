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
from latimer.dialects.messages.slots import FOREIGN_REASONING
from latimer.errors import invalid
from latimer.wire import messages as wire

from .content import INTERRUPTED, Part, ToolOutput, text_part, texts_only, tool_output, user_parts
from .context import Context
from .reasoning import Sealed, replay_fields, unseal
from .tools import CallIds, upstream_name

Item = tuple[str, wire.RequestBlock]
"""A block and its path in the client's request."""
ChatMessage = dict[str, Any]

EMPTY_TURN = "(no content)"
UNMARKED = "assistant messages carry no cache marks here"


class Turn(Struct, frozen=True):
    """Messages that are one to the upstream: Anthropic merges neighbouring assistant messages."""

    role: str
    items: list[Item]
    last_index: int


class Call(Struct, frozen=True):
    """A tool call of an assistant turn, with the id it has upstream."""

    path: str
    block: wire.ToolUseBlock
    id: str


class Results(Struct, frozen=True):
    """The results of an assistant turn's calls, by upstream id, and what else was said before the next one."""

    found: dict[str, tuple[str, wire.ToolResultBlock]]
    rest: list[Turn]
    bearer: Turn | None
    """The one of `rest` that the first result was taken from."""


def encode_messages(request: Request, context: Context) -> list[ChatMessage]:
    """The `messages` of the upstream's request."""
    messages = _leading_system(request, context)
    turns = _turns(request, context)
    ids = CallIds(context.profile.tools)
    place = 0
    while place < len(turns):
        following = place + 1
        if turns[place].role != "assistant":
            messages += _plain_turn(turns[place], [], context)
        else:
            while following < len(turns) and turns[following].role != "assistant":
                following += 1
            messages += _exchange(turns[place], turns[place + 1 : following], ids, context)
        place = following
    last = next((turn for turn in reversed(turns) if turn.items), None)
    if last and last.role == "assistant" and context.profile.messages.prefill == "reject":
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    if context.profile.messages.bridge:
        messages = _bridged(messages, context)
    return _merge_users(messages) if context.profile.messages.merge_users else messages


def _leading_system(request: Request, context: Context) -> list[ChatMessage]:
    parts: list[Part] = []
    for index, block in enumerate(request.system):
        parts += user_parts(block, f"system.{index}", context)
    return [{"role": context.profile.messages.system_role, "content": _content(parts, context)}] if parts else []


def _turns(request: Request, context: Context) -> list[Turn]:
    # Results of server tools stand inside the client's assistant messages: no user has spoken there.
    assistant = {m.index for m in request.messages if m.role == "assistant"}
    last_user = max((m.index for m in request.messages if m.role == "user" and m.index not in assistant), default=-1)
    turns: list[Turn] = []
    for message in request.messages:
        if message.clear_at == "next_user_message" and message.index < last_user:
            context.lose(f"messages.{message.index}.clear_at", "the message has served its turn", "emulated")
            continue
        items = [(message.path(place), block) for place, block in enumerate(message.blocks) if not _is_empty(block)]
        if message.role == "user" and not items:
            # Left out, it would put two assistant messages side by side, which chat templates refuse.
            context.lose(f"messages.{message.index}.content", "an empty message, sent as one that says so", "emulated")
            items = [(message.path(0), wire.TextBlock(EMPTY_TURN))]
        if turns and message.role == "assistant" == turns[-1].role:
            turns[-1] = Turn("assistant", turns[-1].items + items, message.index)
        else:
            turns.append(Turn(message.role, items, message.index))
    return turns


def _is_empty(block: wire.RequestBlock) -> bool:
    return isinstance(block, wire.TextBlock) and not block.text


def _exchange(turn: Turn, answers: list[Turn], ids: CallIds, context: Context) -> list[ChatMessage]:
    """An assistant turn, the results of its calls in call order, then whatever else was said before the next one."""
    calls = [
        Call(path, block, ids.take(block.id)) for path, block in turn.items if isinstance(block, wire.ToolUseBlock)
    ]
    messages = _assistant(turn, calls, context)
    results = _results(calls, answers)
    attached: list[Part] = []
    for call in calls if answers else ():
        if call.id in results.found:
            path, block = results.found[call.id]
            output = tool_output(block, path, call.id, context)
        else:
            context.lose(call.path, "the call has no result, so one that says so is added", "emulated")
            output = ToolOutput(INTERRUPTED, [])
        messages.append(_tool_message(call.id, output, context))
        if context.profile.media.tool_images == "next_user":
            attached += output.attached
    for answer in results.rest:
        messages += _plain_turn(answer, attached if answer is results.bearer else [], context)
    return messages


def _results(calls: list[Call], answers: list[Turn]) -> Results:
    """Each call's first result; a repeated id is answered in the order of its calls."""
    waiting = list(calls)
    found: dict[str, tuple[str, wire.ToolResultBlock]] = {}
    rest: list[Turn] = []
    bearer: Turn | None = None
    for answer in answers:
        others: list[Item] = []
        before = len(found)
        for path, block in answer.items:
            call = None
            if isinstance(block, wire.ToolResultBlock):
                call = next((call for call in waiting if call.block.id == block.tool_use_id), None)
            if call is None or not isinstance(block, wire.ToolResultBlock):
                others.append((path, block))
            else:
                waiting.remove(call)
                found[call.id] = (path, block)
        rest.append(Turn(answer.role, others, answer.last_index))
        if bearer is None and len(found) > before:
            bearer = rest[-1]
    return Results(found, rest, bearer)


def _tool_message(call_id: str, output: ToolOutput, context: Context) -> ChatMessage:
    native = output.attached and context.profile.media.tool_images == "native"
    content: Any = output.text
    if native or context.marks_caches:
        content = [text_part(output.text) | output.mark, *(output.attached if native else ())]
    return {"role": "tool", "tool_call_id": call_id, "content": content}


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
    text = "\n\n".join(texts_only(parts, f"messages.{turn.last_index}.content", context))
    marks = {key: value for part in parts for key, value in part.items() if key == "cache_control"}
    reminder = text_part(f"<system-reminder>\n{text}\n</system-reminder>") | marks
    return {"role": "user", "content": _content([reminder], context)}


def _content(parts: list[Part], context: Context) -> str | list[Part]:
    """Text alone becomes a string, which every server takes, whether the client sent a string or blocks.

    Where cache marks are passed on it is always a list, since the marks move from turn to turn and the rest must not.
    """
    rules = context.profile.messages
    plain = all(part["type"] == "text" for part in parts)
    if rules.content == "parts" or context.marks_caches or not plain:
        return parts
    return "\n\n".join(part["text"] for part in parts)


def _assistant(turn: Turn, calls: list[Call], context: Context) -> list[ChatMessage]:
    """An assistant turn as one message; [] when nothing is left of it."""
    reasoning: list[tuple[Sealed, str]] = []
    texts: list[str] = []
    follows_text = False
    for path, block in turn.items:
        said = ""
        match block:
            case wire.ThinkingBlock() | wire.RedactedThinkingBlock():
                reasoning += _thinking(path, block, context)
            case wire.ToolUseBlock():
                pass
            case wire.TextBlock(text=text):
                context.lose_if_given(f"{path}.cache_control", block.cache_control, UNMARKED)
                context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
                said = text
            case _:
                said = "\n\n".join(texts_only(user_parts(block, path, context), path, context))
        if said:
            texts.append(said if (follows_text and isinstance(block, wire.TextBlock)) or not texts else f"\n\n{said}")
        follows_text = isinstance(block, wire.TextBlock)
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


def _thoughtful(text: str, reasoning: list[tuple[Sealed, str]]) -> str | list[Part]:
    """The content, with reasoning that came inside the content put back into it."""
    thoughts = "".join(thought for sealed, thought in reasoning if sealed.field == "think")
    parts = [thought for sealed, thought in reasoning if sealed.field == "parts"]
    if parts:
        thinking = [{"type": "thinking", "thinking": [text_part(thought)]} for thought in parts]
        return [*thinking, *([text_part(text)] if text else [])]
    return f"<think>{thoughts}</think>\n\n{text}" if thoughts else text


def _thinking(
    path: str, block: wire.ThinkingBlock | wire.RedactedThinkingBlock, context: Context
) -> list[tuple[Sealed, str]]:
    signature = block.signature if isinstance(block, wire.ThinkingBlock) else block.data
    sealed = unseal(signature, context.route)
    if sealed is None:
        context.lose(path, FOREIGN_REASONING)
        return []
    if context.profile.reasoning.replay == "never" and not sealed.calls:
        context.lose(path, "this model takes no reasoning of earlier turns")
        return []
    shown = block.thinking if isinstance(block, wire.ThinkingBlock) else ""
    return [(sealed, sealed.text if sealed.text is not None else shown)]


def _call(call: Call, context: Context) -> dict[str, Any]:
    """A call in wire form."""
    path, block = call.path, call.block
    context.lose_if_given(f"{path}.cache_control", block.cache_control, UNMARKED)
    if wire.given(block.caller) and b'"direct"' not in bytes(block.caller):
        context.lose(f"{path}.caller", "the provider has only direct calls")
    name = block.name
    if block.toolset_name:
        context.lose(f"{path}.toolset_name", "the provider has no toolsets, so it is part of the name", "approximated")
        name = f"{block.toolset_name}__{name}"
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        context.lose(f"{path}.input", "arguments must be an object", "approximated")
        arguments = '{"value":' + arguments + "}"
    return {"id": call.id, "type": "function", "function": {"name": upstream_name(name), "arguments": arguments}}


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


def _joined(first: str | list[Part], second: str | list[Part]) -> str | list[Part]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*(_as_parts(first)), *(_as_parts(second))]


def _as_parts(content: str | list[Part]) -> list[Part]:
    return [text_part(content)] if isinstance(content, str) else content
