"""Reasoning: how much is asked for, and how it travels to the client and back.

A provider's reasoning comes back to us in the thinking block's signature, which clients return byte for byte (measured
with Claude Code 2.1.330: 20 kB, across turns, `--resume` and subagents). So Latimer keeps no state, and each provider
gets its reasoning back in the field it came in: the ones that demand it are satisfied, the others ignore or use it.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any, Literal

from msgspec import Struct, json

from latimer.dialects.messages.request import Request
from latimer.profile import Effort, Profile
from latimer.wire import messages as wire

from .context import Context

PREFIX = "ltm1."
ROOM = 1024
"""With fewer `max_tokens` than this a model that thinks may come to no answer; Claude's own budgets begin here."""
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
    except (zlib.error, ValueError, RecursionError):  # not base64, not deflated, not JSON of this form
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


class Wanted(Struct, frozen=True):
    """How hard the model should think, by whose word (`field`); `effort` None leaves it to the provider."""

    effort: Effort | None
    field: str


def requested_effort(request: Request) -> Wanted:
    """A message of the running turn may set the effort anew; a budget is read as the nearest word."""
    thinking = request.thinking
    if thinking and thinking.type in ("disabled", "between_tools"):
        return Wanted("none", "thinking.type")
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        if message.effort:
            return Wanted(message.effort, f"messages.{message.index}.output_config.effort")
    if request.effort:
        return Wanted(request.effort, "output_config.effort")
    if thinking and thinking.type == "enabled" and thinking.budget_tokens:
        return Wanted(_from_budget(thinking.budget_tokens), "thinking.budget_tokens")
    return Wanted(None, "thinking.type")


def _from_budget(tokens: int) -> Effort:
    steps: tuple[tuple[int, Effort], ...] = ((4096, "low"), (16384, "medium"), (32768, "high"))
    return next((word for limit, word in steps if tokens < limit), "xhigh")


ROOM_TO_THINK = 4096
"""Tokens that a model gets for thinking it was told not to do; with fewer, a short answer would never come."""


def room_to_think(request: Request, profile: Profile) -> int:
    """Tokens to add to a small `max_tokens` where thinking is switched off by a request but not by the model."""
    thinking = request.thinking
    if thinking is None or thinking.type != "disabled" or not 0 < request.body.max_tokens < ROOM_TO_THINK:
        return 0
    return 0 if _can_be_switched_off(profile) else ROOM_TO_THINK


def _can_be_switched_off(profile: Profile) -> bool:
    rules, dropped = profile.reasoning, profile.request.drop
    match rules.control:
        case "thinking_type":
            return "thinking" not in dropped
        case "enable_thinking":
            return "enable_thinking" not in dropped
        case "effort":
            return rules.efforts.get("none") == "none" and "reasoning_effort" not in dropped
        case "effort_object":
            return rules.efforts.get("none") == "none" and "reasoning" not in dropped
        case "none":
            return False


def control_fields(request: Request, context: Context) -> dict[str, Any]:
    """The top-level fields that steer reasoning, by the profile's `reasoning` rules."""
    rules = context.profile.reasoning
    wanted = _leaving_room(requested_effort(request), request, context)
    effort = wanted.effort
    _report_display(request, context)
    if rules.control == "none":
        if effort or request.thinking:
            context.lose(wanted.field, "this model has no control of its reasoning")
        _budget(request, wanted, context)
        return {}
    word = _word(wanted, context)
    fields = _budget(request, wanted, context)
    match rules.control:
        case "effort":
            return fields | ({"reasoning_effort": word} if word else {})
        case "effort_object":
            return fields | ({"reasoning": {"effort": word}} if word else {})
        case "thinking_type":
            return fields | _thinking_type(request, effort, word)
        case "enable_thinking":
            return fields | ({"enable_thinking": effort != "none"} if request.thinking or effort else {})


def _leaving_room(wanted: Wanted, request: Request, context: Context) -> Wanted:
    """As little thinking as there is where the answer may only be short: on these APIs the limit counts both."""
    counting = isinstance(request.body, wire.CountBody)
    if (
        request.body.max_tokens >= ROOM
        or counting
        or wanted.effort == "none"
        or not (wanted.effort or request.thinking)
    ):
        return wanted
    context.lose(wanted.field, "so few max_tokens have no room for thinking", "approximated")
    return Wanted("none", wanted.field)


def _report_display(request: Request, context: Context) -> None:
    thinking = request.thinking
    if thinking and thinking.display not in (None, "omitted"):
        context.lose("thinking.display", "reasoning is shown as the provider gives it", "approximated")
    if thinking and thinking.type == "disabled" and request.effort:
        context.lose("output_config.effort", "thinking is switched off")


def _word(wanted: Wanted, context: Context) -> str:
    """The provider's word for the effort, '' for none; whatever differs from what was asked is reported."""
    rules, effort = context.profile.reasoning, wanted.effort
    if effort is None:
        return ""
    switched = rules.control in ("thinking_type", "enable_thinking")
    if effort == "none" and switched:
        return ""
    word = "" if rules.control == "enable_thinking" else rules.efforts.get(effort, "")
    from_budget = wanted.field == "thinking.budget_tokens"
    if (from_budget and rules.budget_field) or (word == effort and not from_budget):
        return word
    if word:
        context.lose(wanted.field, f"{effort} becomes {word}" if word != effort else f"sent as {word}", "approximated")
    elif switched:
        context.lose(wanted.field, "the provider only switches thinking on and off", "approximated")
    else:
        context.lose(wanted.field, f"the provider has no word for {effort}")
    return word


def _budget(request: Request, wanted: Wanted, context: Context) -> dict[str, Any]:
    tokens = request.thinking.budget_tokens if request.thinking else None
    if not tokens:
        return {}
    if wanted.effort != "none" and context.profile.reasoning.budget_field:
        return {context.profile.reasoning.budget_field: tokens}
    if wanted.field != "thinking.budget_tokens":
        context.lose("thinking.budget_tokens", "the effort says how much to think")
    return {}


def _thinking_type(request: Request, effort: Effort | None, word: str) -> dict[str, Any]:
    """DeepSeek, Moonshot, Z.ai: a switch, and an effort beside it only while it is on (else DeepSeek answers 400)."""
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    switch = {"thinking": {"type": "enabled"}} if request.thinking or effort else {}
    return switch | ({"reasoning_effort": word} if word else {})
