"""The request body: what a client asked, as `POST /responses` takes it, without any state at the provider.

https://platform.openai.com/docs/api-reference/responses/create. The body is built field by field from what is known,
never by copying the client's; every field of the client's is carried, reported as a loss, or refused.
"""

from __future__ import annotations

from typing import Any

from msgspec import json

from latimer.dialects.context import Context
from latimer.dialects.effort import effort_word, report_effort, settled_effort
from latimer.dialects.media import too_large
from latimer.dialects.messages.request import Request
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.request_fields import (
    asks_for_stream,
    begin,
    identity,
    json_instruction,
    json_schema,
    output_limit,
    report_uncarried,
    sampling,
    session_headers,
    tier,
    without_dropped,
)
from latimer.errors import invalid
from latimer.images import Known
from latimer.profile import Profile

from .history import Item, encode_input
from .tools import tool_fields

CLIENTS_OWN = {
    "max_output_tokens": "max_tokens",
    "reasoning": "output_config.effort",
    "text": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
"""Upstream fields to the client's, where they have other names."""
OURS = frozenset({"stream", "stream_options", "store", "include"})
"""Fields in which nothing of the client's is sent."""

LEAST_OUTPUT = 16
"""OpenAI refuses a smaller `max_output_tokens`."""


def encode_request(
    request: Request,
    *,
    model: str,
    route: str,
    profile: Profile,
    input_estimate: int = 0,
    descriptions: Known | None = None,
) -> Outgoing:
    """Build the body for `model`. Raises `Rejection` for what must not be served as something else.

    `route` is "provider/model". `input_estimate` is the prompt's size in tokens, used to fit the answer into the
    window. `descriptions` stand in for pictures where the model sees none; None: nobody gives any.
    """
    try:
        return _encode(request, begin(request, route, profile, descriptions), model, input_estimate)
    except RecursionError as error:
        raise invalid("request body: nested too deeply") from error


def _encode(request: Request, context: Context, model: str, input_estimate: int) -> Outgoing:
    profile = context.profile
    report_uncarried(request, context)
    tools = tool_fields(request, context)
    items = encode_input(request, context)
    fields: dict[str, Any] = {"model": model, "input": items, "store": False}
    if profile.reasoning.replay != "never":
        fields["include"] = ["reasoning.encrypted_content"]
    if context.sight.oversized:
        raise too_large(context.sight.oversized)
    fields |= tools
    fields |= sampling(request, context, "the Responses API")
    fields["max_output_tokens"] = _max_output_tokens(request, context, input_estimate)
    fields |= _reasoning(request, context)
    fields |= _format(request, context, items)
    fields |= identity(request, context)
    fields |= tier(request, context)
    fields |= _streaming(request, profile)
    fields = without_dropped(fields, request, context, CLIENTS_OWN, OURS)
    headers = session_headers(request, context)
    return Outgoing(json.encode(fields), context.losses, frozenset(fields), context.sight.wanted, headers)


def _max_output_tokens(request: Request, context: Context, input_estimate: int) -> int:
    limit = output_limit(request, context, input_estimate)
    if not 0 < limit < LEAST_OUTPUT:
        return limit
    context.lose("max_tokens", f"sent as {LEAST_OUTPUT}, the least that is taken", "approximated")
    return LEAST_OUTPUT


def _reasoning(request: Request, context: Context) -> dict[str, Any]:
    """`reasoning.effort` and `reasoning.summary`. The API has no budget and no switch, whatever Chat has there."""
    rules, thinking = context.profile.reasoning, request.thinking
    wanted = settled_effort(request)
    report_effort(request, context)
    fields: dict[str, Any] = {}
    if rules.control != "none":
        word = effort_word(wanted, rules.efforts, context)
        fields |= {"effort": word} if word else {}
    elif wanted.effort or thinking:
        context.lose(wanted.field, "this model has no control of its reasoning")
    if thinking and thinking.budget_tokens and wanted.field != "thinking.budget_tokens":
        context.lose("thinking.budget_tokens", "the effort says how much to think")
    asked = thinking is not None and thinking.type in ("adaptive", "enabled") and not request.hides_thinking
    shown = asked and rules.control != "none" and rules.summaries and wanted.effort != "none"
    if shown:
        fields["summary"] = "auto"
    if thinking and thinking.display not in (None, "omitted") and not (shown and thinking.display == "summarized"):
        context.lose("thinking.display", "reasoning is shown as the provider gives it", "approximated")
    return {"reasoning": fields} if fields else {}


def _format(request: Request, context: Context, items: list[Item]) -> dict[str, Any]:
    """Structured output, in the strongest form the provider has."""
    schema = json_schema(request, context)
    if schema is not None:
        return {"text": {"format": {"type": "json_schema"} | schema}}
    instruction = json_instruction(request, context)
    if not instruction:
        return {}
    _instruct(items, instruction, context.profile.messages.system_role)
    return {"text": {"format": {"type": "json_object"}}} if context.profile.request.json_schema == "json_object" else {}


def _instruct(items: list[Item], instruction: str, role: str) -> None:
    """Put words at the end of the leading system message, of which there may be only one."""
    part = {"type": "input_text", "text": instruction}
    if not items or items[0].get("role") != role:
        items.insert(0, {"type": "message", "role": role, "content": [part]})
    elif isinstance(items[0]["content"], str):
        items[0]["content"] += f"\n\n{instruction}"
    else:
        items[0]["content"] = [*items[0]["content"], part]


def _streaming(request: Request, profile: Profile) -> dict[str, Any]:
    if not asks_for_stream(request, profile):
        return {}
    plain = {"stream_options": {"include_obfuscation": False}} if profile.request.obfuscation == "off" else {}
    return {"stream": True} | plain
