"""Reasoning in Chat Completions: how it is asked for, and the fields it goes back in."""

from __future__ import annotations

from typing import Any

from latimer.dialects.context import Context
from latimer.dialects.effort import SWITCHES, Wanted, effort_word, report_effort, settled_effort
from latimer.dialects.messages.request import Request
from latimer.dialects.sealing import Sealed
from latimer.profile import ReasoningRules


def replay_fields(blocks: list[tuple[Sealed, str]]) -> dict[str, Any]:
    """The fields of an assistant message that carry its reasoning back. `think` and `parts` are content, not fields."""
    fields: dict[str, Any] = {}
    for sealed, text in blocks:
        if sealed.details:
            fields.setdefault("reasoning_details", []).extend(sealed.details)
        elif sealed.field not in ("think", "parts") and text:
            fields[sealed.field] = fields.get(sealed.field, "") + text
        if sealed.opaque:
            fields["reasoning_opaque"] = sealed.opaque
    return fields


def control_fields(request: Request, context: Context) -> dict[str, Any]:
    """The top-level fields that steer reasoning, by the profile's `reasoning` rules."""
    rules, wanted = context.profile.reasoning, settled_effort(request)
    report_effort(request, context)
    if request.thinking and request.thinking.display not in (None, "omitted"):
        context.lose("thinking.display", "reasoning is shown as the provider gives it", "approximated")
    if rules.control == "none":
        if wanted.effort or request.thinking:
            context.lose(wanted.field, "this model has no control of its reasoning")
        return rules.extra_body | _budget(request, wanted, context, taken=False)
    word = _word(wanted, context)
    fields = rules.extra_body | _budget(request, wanted, context, taken=True)
    if rules.control == "effort_object":
        return fields | ({"reasoning": {"effort": word}} if word else {})
    if rules.control in SWITCHES and (request.thinking or wanted.effort):
        fields |= _switch(rules, on=wanted.effort != "none")
    return fields | ({"reasoning_effort": word} if word else {})


def _word(wanted: Wanted, context: Context) -> str:
    """Beside a switch that is off there is no effort: DeepSeek answers 400."""
    rules = context.profile.reasoning
    switch = rules.control in SWITCHES
    if wanted.effort == "none" and switch:
        return ""
    words = {} if rules.control == "enable_thinking" else rules.efforts
    return effort_word(wanted, words, context, budget=bool(rules.budget_field), switch=switch)


def _budget(request: Request, wanted: Wanted, context: Context, *, taken: bool) -> dict[str, Any]:
    tokens = request.thinking.budget_tokens if request.thinking else None
    if not tokens:
        return {}
    if taken and wanted.effort != "none" and context.profile.reasoning.budget_field:
        return {context.profile.reasoning.budget_field: tokens}
    if wanted.field != "thinking.budget_tokens":
        context.lose("thinking.budget_tokens", "the effort says how much to think")
    return {}


def _switch(rules: ReasoningRules, *, on: bool) -> dict[str, Any]:
    match rules.control:
        case "thinking_type":
            return {"thinking": {"type": "enabled", **rules.thinking_fields} if on else {"type": "disabled"}}
        case "chat_template_kwargs":
            return {"chat_template_kwargs": {rules.template_switch: on}}
        case "reasoning_enabled":
            return {"reasoning": {"enabled": on}}
        case _:
            return {"enable_thinking": on}
