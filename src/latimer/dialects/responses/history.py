"""History as the Responses API writes it: items, each thing that was said or done in its place.

https://platform.openai.com/docs/api-reference/responses/create, `input`.
"""

from __future__ import annotations

from typing import Any

from latimer.dialects.content import ToolOutput
from latimer.dialects.context import Context
from latimer.dialects.history import (
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
from latimer.dialects.parts import Part, TextPart
from latimer.dialects.sealing import Sealed
from latimer.wire import messages as wire

from .content import Content, encode_content, encode_part
from .reasoning_items import reasoning_item

Item = dict[str, Any]


def encode_input(request: Request, context: Context) -> list[Item]:
    """The `input` of the upstream's request."""
    items = _message(context.profile.messages.system_role, leading_system(request, context), context)
    spoken = 0
    for entry in arrange(request, context):
        if isinstance(entry, Exchange):
            turn = _Assistant(entry, spoken, context)
            items += turn.items
            spoken = turn.spoken
            items += _answers(entry, context)
        else:
            items += _plain_turn(entry, [], context)
    if context.profile.messages.bridge:
        items = _bridged(items, context)
    return _merge_users(items) if context.profile.messages.merge_users else items


def _message(role: str, parts: list[Part], context: Context) -> list[Item]:
    """[] when nothing is left of it."""
    return [{"type": "message", "role": role, "content": encode_content(parts, context)}] if parts else []


def _plain_turn(turn: Turn, attached: list[Part], context: Context) -> list[Item]:
    role, parts = said(turn, context)
    return _message(role, [*attached, *parts], context)


class _Assistant:
    """The items of one assistant turn. Reasoning waits for the item it led to: without one OpenAI refuses it."""

    def __init__(self, exchange: Exchange, spoken: int, context: Context) -> None:
        self.items: list[Item] = []
        self.spoken = spoken
        """Assistant messages of the conversation so far."""
        self._context = context
        self._phase = "commentary" if exchange.calls else "final_answer"
        self._reasoning: list[tuple[str, Item]] = []
        self._texts: list[str] = []
        calls = {call.path: call for call in exchange.calls}
        for path, block in exchange.turn.items:
            match block:
                case wire.ThinkingBlock() | wire.RedactedThinkingBlock():
                    self._think(path, block)
                case wire.ToolUseBlock():
                    name, arguments = name_and_arguments(calls[path], context)
                    call = {"type": "function_call", "call_id": calls[path].id, "name": name, "arguments": arguments}
                    self._flush()
                    self._add(call)
                case _:
                    self._say(said_by_assistant(path, block, context), is_text=isinstance(block, wire.TextBlock))
        self._flush()
        for path, _ in self._reasoning:
            context.lose(path, "nothing follows this reasoning, and providers refuse it alone")

    def _think(self, path: str, block: wire.ThinkingBlock | wire.RedactedThinkingBlock) -> None:
        opened = opened_reasoning(path, block, self._context, _is_item)
        if opened:
            self._flush()
            item = reasoning_item(*opened, self._context.profile.reasoning.item_ids)
            self._reasoning.append((path, item))

    def _say(self, words: str, *, is_text: bool) -> None:
        """Neighbouring text blocks are one text; other blocks are told in paragraphs of their own."""
        if words:
            self._texts.append(words if is_text or not self._texts else f"\n\n{words}")
        if not is_text:
            self._flush()

    def _flush(self) -> None:
        text, self._texts = "".join(self._texts), []
        if not text:
            return
        rules = self._context.profile.messages
        item: Item = {"type": "message", "role": "assistant"}
        if rules.output_ids:
            item |= {"id": f"msg_{self.spoken}", "status": "completed"}
        if rules.phase:
            item["phase"] = self._phase
        self.spoken += 1
        self._add(item | {"content": [{"type": "output_text", "text": text, "annotations": []}]})

    def _add(self, item: Item) -> None:
        self.items += [reasoning for _, reasoning in self._reasoning]
        self._reasoning = []
        self.items.append(item)


def _is_item(sealed: Sealed) -> bool:
    return sealed.is_item


def _answers(exchange: Exchange, context: Context) -> list[Item]:
    """The results of the calls in call order, then whatever else was said before the next assistant turn."""
    items: list[Item] = []
    attached: list[Part] = []
    native = context.profile.media.tool_images != "next_user"
    for call_id, output in outputs(exchange, context):
        content = _output(output, native=native)
        items.append({"type": "function_call_output", "call_id": call_id, "output": content})
        attached += [] if native else output.attached
    for answer in exchange.rest:
        items += _plain_turn(answer, attached if answer is exchange.bearer else [], context)
    return items


def _output(output: ToolOutput, *, native: bool) -> Content:
    """Text as a string, which every server takes; a list where it holds images."""
    if native and output.attached:
        parts = [part for part in output.parts if not (isinstance(part, TextPart) and not part.text)]
        return [encode_part(part) for part in parts]
    return output.text


def _bridged(items: list[Item], context: Context) -> list[Item]:
    """A word of the assistant's between a result and a user message, where one may not follow the other."""
    bridged: list[Item] = []
    for item in items:
        if bridged and item.get("role") == "user" and bridged[-1]["type"] == "function_call_output":
            context.lose("messages", "a user message may not follow a tool's, so the assistant says a word", "emulated")
            bridged.append({"type": "message", "role": "assistant", "content": context.profile.messages.bridge})
        bridged.append(item)
    return bridged


def _merge_users(items: list[Item]) -> list[Item]:
    """Neighbouring user messages as one, for chat templates that insist on alternation."""
    merged: list[Item] = []
    for item in items:
        if merged and item.get("role") == "user" == merged[-1].get("role"):
            merged[-1] = item | {"content": _joined(merged[-1]["content"], item["content"])}
        else:
            merged.append(item)
    return merged


def _joined(first: Content, second: Content) -> Content:
    """Both are parts, or both are strings."""
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    return f"{first}\n\n{second}"
