"""How much an upstream that speaks Messages is asked to think: `thinking` and `output_config`, as it takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Raw, json

from latimer.dialects.context import Context
from latimer.dialects.effort import requested_effort
from latimer.dialects.messages.request import Request
from latimer.profile import ANYTHING, Effort
from latimer.wire import messages as wire
from latimer.wire.splice import members, splice

from .blocks import NOT_TAKEN

LEAST_BUDGET = 1024
"""The smallest budget the API takes."""
BUDGETS: dict[Effort, int] = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 32000, "max": 63999}
"""Tokens that stand for an effort; each is read back as the same word (`latimer.dialects.effort`), `max` as `xhigh`."""
USUAL: Effort = "high"
"""The effort of adaptive thinking of which nothing is said: https://docs.anthropic.com/en/docs/build-with-claude/effort."""
Kind = Literal["adaptive", "enabled", "disabled", "between_tools"]
NEAREST: dict[str, tuple[Kind, ...]] = {
    "adaptive": ("enabled",),
    "enabled": ("adaptive",),
    "disabled": (),
    "between_tools": ("disabled",),
}
"""What each type becomes where it is not taken, the best first."""
_CLASSIC = frozenset({"type", "budget_tokens"})


def carried_thinking(
    thinking: Raw | None, output_config: Raw | None, request: Request, max_tokens: int, context: Context
) -> tuple[bytes | None, bytes | None]:
    """Both fields as they go, None for none. `max_tokens` are those that are sent, which a budget must fit into."""
    asked = request.thinking
    kind = _kind(asked, context)
    budget = _budget(asked, kind, request, max_tokens, context)
    effort = _effort(asked, kind, request, context)
    carried = bytes(thinking) if thinking is not None else None
    if asked is not None and thinking is not None:
        carried = _thinking(thinking, asked, kind, budget, context)
    return carried, _output_config(output_config, effort, request, context)


def _kind(asked: wire.Thinking | None, context: Context) -> str:
    """The type that is sent, '' for none."""
    if asked is None:
        return ""
    taken = context.profile.native.thinking
    if asked.type in taken or ANYTHING in taken:
        return asked.type
    kind = next((kind for kind in NEAREST.get(asked.type, ()) if kind in taken), "")
    context.lose("thinking.type", f"{asked.type} becomes {kind}" if kind else NOT_TAKEN, "approximated")
    return kind


def _budget(asked: wire.Thinking | None, kind: str, request: Request, max_tokens: int, context: Context) -> int:
    """The tokens to think with, 0 where none are to be told; they leave room for the answer."""
    if asked is None or kind != "enabled":
        return 0
    if asked.type == "enabled" and asked.budget_tokens is not None:
        wanted = asked.budget_tokens
        # What the client itself has wrong, the upstream tells it best.
        fits = wanted < max_tokens or max_tokens >= request.body.max_tokens
    else:
        effort = requested_effort(request).effort
        wanted = BUDGETS.get(effort or USUAL, BUDGETS[USUAL])
        fits = wanted <= max_tokens * 3 // 4
    if fits or wanted < LEAST_BUDGET:
        return wanted
    fitted = max_tokens * 3 // 4
    if asked.type == "enabled":
        context.lose(
            "thinking.budget_tokens", f"{wanted} leave no room for the answer, sent as {fitted}", "approximated"
        )
    return fitted


def _thinking(raw: Raw, asked: wire.Thinking, kind: str, budget: int, context: Context) -> bytes | None:
    if not kind:
        for name in members(raw).keys() - {"type"}:
            context.lose(f"thinking.{name}", NOT_TAKEN)
        return None
    if kind == "enabled" and budget < LEAST_BUDGET and budget != asked.budget_tokens:
        context.lose("thinking", "so few max_tokens have no room for thinking")
        return None
    found = members(raw)
    changes: dict[str, bytes | None] = {}
    if kind != asked.type:
        changes["type"] = json.encode(kind)
    if kind == "enabled" and budget != asked.budget_tokens:
        changes["budget_tokens"] = json.encode(budget)
    if kind != "enabled" and "budget_tokens" in found:
        changes["budget_tokens"] = None
        context.lose("thinking.budget_tokens", "as the nearest effort, where efforts are taken", "approximated")
    if not context.profile.native.thinking_display:
        for name in [name for name in found if name not in _CLASSIC]:
            changes[name] = None
            shown = name == "display" and asked.display == "omitted"
            why = "the provider does not take it, so its thinking is shown" if shown else NOT_TAKEN
            context.lose(f"thinking.{name}", why, "approximated" if name == "display" else "dropped")
    return splice(raw, changes)


def _effort(asked: wire.Thinking | None, kind: str, request: Request, context: Context) -> str | None:
    """The provider's word for the effort, None for none."""
    rules = context.profile.native
    own = request.output_config.effort
    wanted = requested_effort(request)
    switched_off = asked is not None and asked.type in ("disabled", "between_tools")
    if switched_off and kind in ("disabled", "between_tools"):
        if own is None or rules.effort_when_disabled:
            return _word(own, "output_config.effort", context)
        context.lose("output_config.effort", "thinking is switched off")
        return None
    if rules.new_members or wanted.field in ("thinking.type", "thinking.budget_tokens"):
        field, effort = "output_config.effort", own
    else:
        field, effort = wanted.field, wanted.effort
    if switched_off:  # but it cannot be: the least there is
        field, effort = "thinking.type", "none"
    if effort is None and kind == "adaptive" and asked is not None and asked.type == "enabled":
        field, effort = wanted.field, wanted.effort
    return _word(effort, field, context, budgeted=kind == "enabled" and asked is not None and asked.type != "enabled")


def _word(effort: str | None, field: str, context: Context, *, budgeted: bool = False) -> str | None:
    """`budgeted`: the effort was told as a budget."""
    if effort is None:
        return None
    taken = context.profile.native.output_config
    if "effort" not in taken and ANYTHING not in taken:
        if field != "thinking.type":
            context.lose(
                field, "sent as a budget" if budgeted else NOT_TAKEN, "approximated" if budgeted else "dropped"
            )
        return None
    words: Mapping[Any, str] = context.profile.reasoning.efforts
    word = words.get(effort, effort if context.profile.native.new_members else "")
    if word != effort:
        context.lose(
            field, f"{effort} becomes {word}" if word else f"the provider has no word for {effort}", "approximated"
        )
    return word or None


def _output_config(raw: Raw | None, effort: str | None, request: Request, context: Context) -> bytes | None:
    """`output_config` with this effort and what else is taken; None where nothing is left of it."""
    taken = context.profile.native.output_config
    found = members(raw) if raw is not None and wire.given(raw) else {}
    changes: dict[str, bytes | None] = {}
    for name in found:
        if name == "effort" or name in taken or ANYTHING in taken:
            continue
        changes[name] = None
        if name != "format" and wire.given(found[name]):
            context.lose(f"output_config.{name}", NOT_TAKEN)
    if effort is not None and effort != request.output_config.effort:
        changes["effort"] = json.encode(effort)
    elif effort is None and "effort" in found:
        changes["effort"] = None
    if not changes:
        return bytes(raw) if raw is not None else None
    out = splice(raw if found and raw is not None else b"{}", changes)
    return out if members(out) else None
