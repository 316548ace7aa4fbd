"""How hard the model is asked to think, by whichever field says so, in the provider's words."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from latimer.dialects.context import Context
from latimer.dialects.messages.request import Request
from latimer.profile import ANYTHING, Effort, Profile, ReasoningControl
from latimer.wire import messages as wire

ROOM = 1024
"""With fewer `max_tokens` than this a model that thinks may come to no answer; Claude's own budgets begin here."""


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
    if effort := request.effort:
        return Wanted(effort, "output_config.effort")
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


def thinks(request: Request, profile: Profile) -> bool:
    """Whether the model may think: it does unless the request switches that off, and the model lets it."""
    return not _can_be_switched_off(profile) or settled_effort(request).effort != "none"


SWITCHES: dict[ReasoningControl, str] = {
    "thinking_type": "thinking",
    "enable_thinking": "enable_thinking",
    "enable_thinking_and_effort": "enable_thinking",
    "chat_template_kwargs": "chat_template_kwargs",
    "reasoning_enabled": "reasoning",
}
"""Controls of Chat Completions that switch thinking off, and their top-level fields."""


def _can_be_switched_off(profile: Profile) -> bool:
    rules, dropped = profile.reasoning, profile.request.drop
    if profile.endpoint.dialect == "messages":
        return bool(profile.native.thinking & {"disabled", ANYTHING}) and "thinking" not in dropped
    if rules.control == "none":
        return False
    in_chat = profile.endpoint.dialect != "responses"
    if in_chat and rules.control in SWITCHES:
        return SWITCHES[rules.control] not in dropped
    field = "reasoning_effort" if in_chat and rules.control == "effort" else "reasoning"
    return rules.efforts.get("none") == "none" and field not in dropped


def settled_effort(request: Request) -> Wanted:
    """The effort that is asked of the upstream: as little as there is where the answer may only be short, since on
    these APIs the limit counts both.
    """
    return _settled(requested_effort(request), request)


def _settled(wanted: Wanted, request: Request) -> Wanted:
    short = request.body.max_tokens < ROOM and not isinstance(request.body, wire.CountBody)
    return Wanted("none", wanted.field) if short and (wanted.effort or request.thinking) else wanted


def report_effort(request: Request, context: Context) -> None:
    """Report an effort that is not obeyed, whatever the provider could."""
    asked = requested_effort(request)
    if _settled(asked, request).effort != asked.effort:
        context.lose(asked.field, "so few max_tokens have no room for thinking", "approximated")
    if request.thinking and request.thinking.type == "disabled" and request.effort:
        context.lose("output_config.effort", "thinking is switched off")


def effort_word(
    wanted: Wanted, words: Mapping[Effort, str], context: Context, *, budget: bool = False, switch: bool = False
) -> str:
    """The provider's word for the effort, '' for none; whatever differs from what was asked is reported.

    `budget`: a budget is sent beside it; `switch`: the provider knows at least on and off.
    """
    effort = wanted.effort
    if effort is None:
        return ""
    word = words.get(effort, "")
    from_budget = wanted.field == "thinking.budget_tokens"
    if (from_budget and budget) or (word == effort and not from_budget):
        return word
    if word:
        context.lose(wanted.field, f"{effort} becomes {word}" if word != effort else f"sent as {word}", "approximated")
    elif switch:
        context.lose(wanted.field, "the provider only switches thinking on and off", "approximated")
    else:
        context.lose(wanted.field, f"the provider has no word for {effort}")
    return word
