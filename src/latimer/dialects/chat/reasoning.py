"""Reasoning: how much is asked for, and how it travels to the client and back.

A provider's reasoning comes back to us in the thinking block's signature, which clients return byte for byte (measured
with Claude Code 2.1.330: 20 kB, across turns, `--resume` and subagents). So Latimer keeps no state, and each provider
gets its reasoning back in the field it came in: the ones that demand it are satisfied, the others ignore or use it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from typing import Any, Literal

from msgspec import DecodeError, Struct, ValidationError, json

from latimer.dialects.messages.request import Request
from latimer.profile import Effort

from .context import Context

PREFIX = "ltm1."
MAX_SEALED_BYTES = 16 * 1024 * 1024

Field = Literal["reasoning_content", "reasoning", "reasoning_text", "reasoning_details", "think", "parts"]


class Sealed(Struct, frozen=True, omit_defaults=True):
    """What a signature holds. `text` only when the block itself does not show it."""

    route: str
    field: Field = "reasoning_content"
    text: str | None = None
    details: list[dict[str, Any]] | None = None
    calls: dict[str, Any] | None = None
    """Provider data that belongs to tool calls, by tool call id (Gemini's `extra_content`)."""


def route_mark(route: str) -> str:
    """A short mark of "provider/model": reasoning of one model means nothing to another."""
    return hashlib.sha256(route.encode()).hexdigest()[:8]


def seal(sealed: Sealed) -> str:
    """A signature: letters, digits, `-`, `_` and `.` only."""
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(json.encode(sealed))).decode().rstrip("=")


def unseal(signature: str, route: str) -> Sealed | None:
    """What a signature holds, None when it is not Latimer's or of another route."""
    if not signature.startswith(PREFIX):
        return None
    text = signature.removeprefix(PREFIX)
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        raw = zlib.decompressobj().decompress(packed, MAX_SEALED_BYTES)
        sealed = json.decode(raw, type=Sealed)
    except (binascii.Error, zlib.error, DecodeError, ValidationError, ValueError):
        return None
    return sealed if sealed.route == route_mark(route) else None


def replay_fields(blocks: list[tuple[Sealed, str]]) -> dict[str, Any]:
    """The fields of an assistant message that carry its reasoning back. `think` and `parts` are content, not fields."""
    fields: dict[str, Any] = {}
    for sealed, text in blocks:
        if sealed.details:
            fields.setdefault("reasoning_details", []).extend(sealed.details)
        elif sealed.field not in ("think", "parts") and text:
            fields[sealed.field] = fields.get(sealed.field, "") + text
    return fields


def requested_effort(request: Request) -> Effort | None:
    """How hard the model should think, None when the client leaves it to the provider.

    A message of the running turn may set it anew (per-turn control); a budget is read as the nearest word.
    """
    thinking = request.thinking
    if thinking and thinking.type in ("disabled", "between_tools"):
        return "none"
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        if message.effort:
            return _word(message.effort)
    if request.output_config.effort:
        return request.output_config.effort
    if thinking and thinking.type == "enabled" and thinking.budget_tokens:
        return _from_budget(thinking.budget_tokens)
    return None


def _word(effort: str) -> Effort:
    words: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
    return words.get(effort, "medium")


def _from_budget(tokens: int) -> Effort:
    steps: tuple[tuple[int, Effort], ...] = ((4096, "low"), (16384, "medium"), (32768, "high"))
    return next((word for limit, word in steps if tokens < limit), "xhigh")


def control_fields(request: Request, context: Context) -> dict[str, Any]:
    """The top-level fields that steer reasoning, by the profile's `reasoning` rules."""
    rules = context.profile.reasoning
    effort = requested_effort(request)
    path = "thinking" if effort == "none" else "output_config.effort"
    if rules.control == "none":
        if effort:
            context.lose(path, "this model has no control of its reasoning")
        return {}
    word = rules.efforts.get(effort, "") if effort else ""
    if effort and word != effort:
        why = f"{effort} becomes {word}" if word else f"the provider has no word for {effort}"
        context.lose(path, why, "approximated" if word else "dropped")
    budget = request.thinking.budget_tokens if request.thinking and rules.budget_field else None
    fields: dict[str, Any] = {rules.budget_field: budget} if budget else {}
    match rules.control:
        case "effort":
            return fields | ({"reasoning_effort": word} if word else {})
        case "effort_object":
            return fields | ({"reasoning": {"effort": word}} if word else {})
        case "thinking_type":
            return fields | _thinking_type(request, effort, word)
        case "enable_thinking":
            return fields | ({"enable_thinking": effort != "none"} if request.thinking or effort else {})


def _thinking_type(request: Request, effort: Effort | None, word: str) -> dict[str, Any]:
    """DeepSeek, Moonshot, Z.ai: a switch, and an effort beside it only while it is on (else DeepSeek answers 400)."""
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    switch = {"thinking": {"type": "enabled"}} if request.thinking or effort else {}
    return switch | ({"reasoning_effort": word} if word else {})
