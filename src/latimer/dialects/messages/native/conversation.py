"""The system prompt and the messages on their way to an upstream that speaks Messages.

Each message changes by what stands in it alone, so the beginning of a conversation has the same bytes in every turn.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct, json

from latimer.dialects.context import Context
from latimer.dialects.history import EMPTY_TURN, Turn, said
from latimer.dialects.messages.request import BILLING_HEADER, Message, Request, unbilled
from latimer.dialects.sealing import PREFIX
from latimer.profile import ANYTHING
from latimer.wire import messages as wire
from latimer.wire.splice import items, members, splice, splice_items

from .blocks import NOT_TAKEN, as_blocks, carried_block, changed_mark, is_array, plainly_marked, without_new_members

PLACEHOLDER = "(The thinking of this step was not kept.)"
"""Stands for thinking that a provider insists on and that nobody has."""
_MESSAGE = frozenset({"role", "content"})
_SYSTEM = frozenset({"text"})


class Carried(Struct, frozen=True):
    """A message as it goes: `raw` None, if nothing is left of it. `calls`: it waits for results."""

    role: Literal["user", "assistant", "system"]
    raw: bytes | None
    changed: bool = False
    tagged: bool = False
    calls: bool = False


def carried_system(system: Raw | None, more: str, context: Context) -> bytes | None:
    """The system prompt with `more` at its end; None for none."""
    if system is None or system == wire.NULL:
        return json.encode(more) if more else None
    if not is_array(system):
        text = json.decode(system, type=str)
        kept = _unbilled(text, context)
        if kept == text and not more:
            return bytes(system)
        return json.encode("\n\n".join(part for part in (kept, more) if part)) if kept or more else None
    changes: dict[int, list[bytes]] = {}
    for place, raw in enumerate(items(system)):
        found = members(raw)
        path = f"system.{place}"
        changed = without_new_members(found, _SYSTEM, path, context) | changed_mark(found, path, context)
        text = json.decode(found["text"], type=str) if "text" in found else ""
        kept = _unbilled(text, context)
        if kept != text:
            changed["text"] = json.encode(kept)
        if changed:
            changes[place] = [splice(raw, changed)] if kept or not text else []
    out = splice_items(system, changes)
    if more:
        out = b"[" + b",".join([*map(bytes, items(out)), json.encode({"type": "text", "text": more})]) + b"]"
    return out if items(out) else None


def _unbilled(text: str, context: Context) -> str:
    if context.profile.native.billing_line == "pass" or not text.startswith(BILLING_HEADER):
        return text
    return unbilled(text)


def carried_messages(messages: Raw, request: Request, context: Context) -> bytes:
    """The messages. `request.messages` are the same ones, parsed."""
    if _all_taken(messages, context):
        return bytes(messages)
    raws = items(messages)
    pairs = list(zip(raws, request.messages, strict=True))
    last_user = max((message.index for message in request.messages if message.role == "user"), default=-1)
    carried = [_message(raw, message, last_user, request, context) for raw, message in pairs]
    moved = _after_results(carried)
    if moved is carried and not context.profile.messages.merge_users:
        changes = {place: [one.raw] if one.raw else [] for place, one in enumerate(carried) if one.changed}
        return splice_items(messages, changes)
    out = [one for one in moved if one.raw is not None]
    if context.profile.messages.merge_users:
        out = _merged(out)
    return b"[" + b",".join([one.raw or b"" for one in out]) + b"]"


def _all_taken(messages: Raw, context: Context) -> bool:
    """Whether nothing in any message can need a change, so that none has to be looked at."""
    profile, rules = context.profile, context.profile.native
    whole = rules.new_members and ANYTHING in rules.blocks and rules.mid_system == "native"
    marks = context.marks_caches and rules.cache_ttl
    images = profile.sees and profile.media.image_urls
    added = rules.thinking_in_calls or profile.messages.merge_users
    ours = not (added or context.foreign)
    return whole and marks and images and ours and PREFIX.encode() not in bytes(messages)


def _message(raw: Raw, message: Message, last_user: int, request: Request, context: Context) -> Carried:
    rules = context.profile.native
    path = f"messages.{message.index}"
    if message.clear_at == "next_user_message" and message.index < last_user and not rules.new_members:
        context.lose(f"{path}.clear_at", "the message has served its turn", "emulated")
        return Carried(message.role, None, changed=True)
    if message.role == "system" and rules.mid_system == "tagged":
        return _tagged(message, context)
    found = members(raw)
    changes: dict[str, bytes | None] = dict(_without_new_members(found, message, context))
    blocks = _content(found.get("content"), message, request, context)
    if blocks is not None:
        changes["content"] = blocks
        if not items(blocks) and message.role != "user":
            context.lose(path, "nothing is left of the message")
            return Carried(message.role, None, changed=True)
        if not items(blocks):
            context.lose(f"{path}.content", "an empty message, sent as one that says so", "emulated")
            changes["content"] = json.encode(EMPTY_TURN)
    calls = message.role == "assistant" and any(isinstance(block, wire.ToolUseBlock) for block in message.blocks)
    return Carried(message.role, splice(raw, changes), changed=bool(changes), calls=calls)


def _without_new_members(found: dict[str, Raw], message: Message, context: Context) -> dict[str, bytes | None]:
    """Changes to what stands beside the content. An effort is told for the whole request (`.thinking`)."""
    if context.profile.native.new_members:
        return {}
    changes: dict[str, bytes | None] = {}
    for name in [name for name in found if name not in _MESSAGE]:
        changes[name] = None
        if name not in ("output_config", "clear_at"):
            context.lose(f"messages.{message.index}.{name}", NOT_TAKEN)
    if found.get("role") != Raw(json.encode(message.role)):
        context.lose(f"messages.{message.index}.role", "unknown role, sent as a user message", "approximated")
        changes["role"] = json.encode(message.role)
    return changes


def _content(content: Raw | None, message: Message, request: Request, context: Context) -> bytes | None:
    """The content as it goes, None for the content as it is."""
    if content is None or not is_array(content):
        return None
    changes = {
        place: blocks
        for place, raw in enumerate(items(content))
        if (blocks := carried_block(raw, message.path(place), context)) is not None
    }
    thought = _thought(content, changes, message, request, context)
    if not changes and not thought:
        return None
    out = splice_items(content, changes)
    return b"[" + b",".join([thought, *map(bytes, items(out))]) + b"]" if thought else out


def _thought(
    content: Raw, changes: dict[int, list[bytes]], message: Message, request: Request, context: Context
) -> bytes:
    """A thinking block for a message that has calls and none, where the provider insists; b'' for none."""
    if not context.profile.native.thinking_in_calls or message.role != "assistant":
        return b""
    if request.thinking and request.thinking.type == "disabled":
        return b""
    calls = any(isinstance(block, wire.ToolUseBlock) for block in message.blocks)
    for place, block in enumerate(message.blocks):
        if not isinstance(block, wire.ThinkingBlock) or changes.get(place) == []:
            continue
        if block.thinking.strip():
            return b""
        if calls:
            changes[place] = [splice(changes.get(place, [bytes(items(content)[place])])[0], _PLACEHELD)]
            context.lose(message.path(place), "the thinking was not shown, so a word stands for it", "emulated")
            return b""
    if not calls:
        return b""
    context.lose(
        f"messages.{message.index}.content", "the provider insists on thinking, a word stands for it", "emulated"
    )
    return json.encode({"type": "thinking", "thinking": PLACEHOLDER, "signature": ""})


_PLACEHELD: dict[str, bytes | None] = {"thinking": json.encode(PLACEHOLDER)}


def _tagged(message: Message, context: Context) -> Carried:
    """A system message as marked user text, in its place."""
    turn_items = [(message.path(place), block) for place, block in enumerate(message.blocks)]
    _, texts = said(Turn("system", turn_items, message.index), context)
    parts = [plainly_marked(part, f"messages.{message.index}.content.*", context) for part in texts]
    raw = json.encode({"role": "user", "content": [Raw(block) for block in as_blocks(parts)]}) if parts else None
    return Carried("user", raw, changed=True, tagged=True)


def _after_results(carried: list[Carried]) -> list[Carried]:
    """Tagged messages behind the results of the calls that they would part from them; the same list if all are."""
    moved: list[Carried] = []
    held: list[Carried] = []
    calling = False
    for one in carried:
        if one.tagged and calling:
            held.append(one)
            continue
        moved.append(one)
        if one.raw is not None:
            calling = one.calls
            if one.role == "user":
                moved += held
                held = []
    moved += held
    return carried if all(a is b for a, b in zip(moved, carried, strict=True)) else moved


def _merged(messages: list[Carried]) -> list[Carried]:
    """Neighbouring user messages as one, for chat templates that insist on alternation."""
    merged: list[Carried] = []
    for one in messages:
        if merged and one.role == "user" == merged[-1].role and merged[-1].raw and one.raw:
            blocks = [*_blocks(merged[-1].raw), *_blocks(one.raw)]
            merged[-1] = Carried("user", splice(merged[-1].raw, {"content": b"[" + b",".join(blocks) + b"]"}))
        else:
            merged.append(one)
    return merged


def _blocks(message: bytes) -> list[bytes]:
    content = members(message).get("content", Raw(b"[]"))
    if is_array(content):
        return [bytes(raw) for raw in items(content)]
    text = json.decode(content)
    return [json.encode({"type": "text", "text": text})] if text else []
