"""The request body: what a client asked, as `POST /chat/completions` takes it.

https://platform.openai.com/docs/api-reference/chat/create. The body is built field by field from what is known, never
by copying the client's; every field of the client's is carried, reported as a loss, or refused.
"""

from __future__ import annotations

from typing import Any

from msgspec import json

from latimer.dialects.context import Context
from latimer.dialects.media import too_large
from latimer.dialects.messages.request import Request
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.request_fields import (
    asks_for_stream,
    begin,
    identity,
    json_instruction,
    json_schema,
    mark_end,
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

from .history import encode_messages
from .reasoning import control_fields
from .tools import tool_fields

CLIENTS_OWN = {
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
"""Upstream fields to the client's, where they have other names."""
OURS = frozenset({"stream", "stream_options"})
"""Fields in which nothing of the client's is sent."""


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
    messages = encode_messages(request, context)
    fields: dict[str, Any] = {"model": model, "messages": messages}
    places = [(m, "content") for m in messages if m["role"] != "assistant" and isinstance(m["content"], list)]
    mark_end(request, places, context)
    if context.sight.oversized:
        raise too_large(context.sight.oversized)
    fields |= tools
    fields |= sampling(request, context, "Chat Completions")
    fields[profile.request.max_tokens_field] = output_limit(request, context, input_estimate)
    fields |= control_fields(request, context)
    fields |= _format(request, context, messages)
    fields |= identity(request, context)
    fields |= tier(request, context)
    fields |= _streaming(request, profile)
    fields = without_dropped(fields, request, context, CLIENTS_OWN, OURS)
    headers = session_headers(request, context)
    return Outgoing(json.encode(fields), context.losses, frozenset(fields), context.sight.wanted, headers)


def _format(request: Request, context: Context, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Structured output, in the strongest form the provider has."""
    schema = json_schema(request, context)
    if schema is not None:
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    instruction = json_instruction(request, context)
    if not instruction:
        return {}
    _instruct(messages, instruction, context.profile.messages.system_role)
    return {"response_format": {"type": "json_object"}} if context.profile.request.json_schema == "json_object" else {}


def _instruct(messages: list[dict[str, Any]], instruction: str, role: str) -> None:
    """Put words at the end of the leading system message, of which there may be only one."""
    if not messages or messages[0]["role"] != role:
        messages.insert(0, {"role": role, "content": instruction})
    elif isinstance(messages[0]["content"], str):
        messages[0]["content"] += f"\n\n{instruction}"
    else:
        messages[0]["content"] = [*messages[0]["content"], {"type": "text", "text": instruction}]


def _streaming(request: Request, profile: Profile) -> dict[str, Any]:
    if not asks_for_stream(request, profile):
        return {}
    if profile.request.usage == "unasked":
        return {"stream": True}
    return {"stream": True, "stream_options": {"include_usage": True}}
