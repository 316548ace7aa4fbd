"""The request body: what a client asked, as `POST /chat/completions` takes it.

https://platform.openai.com/docs/api-reference/chat/create. The body is built field by field from what is known, never
by copying the client's; every field of the client's is carried, reported as a loss, or refused.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Raw, json

from latimer.dialects.messages.refusals import refuse_unservable
from latimer.dialects.messages.request import Request
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.schemas import is_strict
from latimer.errors import invalid
from latimer.images import Known, Sight
from latimer.profile import Profile
from latimer.report import Action
from latimer.wire import messages as wire

from .context import Context
from .history import encode_messages
from .media import too_large
from .reasoning import control_fields, room_to_think
from .tools import choice_fields, encode_tools, known_tools

UNCARRIED: dict[str, tuple[Action, str]] = {
    "cache_control": ("dropped", "this provider caches by itself, without marks"),
    "diagnostics": ("dropped", "the provider does not tell why a cache was missed"),
    "billing_policy": ("dropped", "the provider bills its own account"),
    "context_management": ("dropped", "edits of the context are not applied"),
    "fallbacks": ("dropped", "the routes of this gateway decide about fallbacks"),
    "fallback_credit_token": ("dropped", "there is no credit to redeem here"),
    "safeguards": ("dropped", "no model reviews tool calls on this route"),
    "user_profile_id": ("dropped", "the provider has no user profiles"),
    "workspace_id": ("dropped", "the provider has no workspaces"),
    "betas": ("dropped", "betas belong into the anthropic-beta header"),
}
"""Top-level fields without an equivalent, and what the report says of them."""

CLIENTS_OWN = {
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
"""Upstream fields to the client's, where they have other names."""
OURS = frozenset({"stream", "stream_options"})
"""Fields in which nothing of the client's is sent."""

MIN_OUTPUT = 256
"""Fewer tokens than this are never left for the answer when the window is nearly full: the upstream should say so."""


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
    refuse_unservable(request)
    losses = list(request.losses)
    try:
        context = Context(route, profile, known_tools(request, losses), losses, Sight(descriptions))
        return _encode(request, context, model, input_estimate)
    except RecursionError as error:
        raise invalid("request body: nested too deeply") from error


def _encode(request: Request, context: Context, model: str, input_estimate: int) -> Outgoing:
    profile = context.profile
    _report_uncarried(request, context)
    tools = encode_tools(request, context)
    fields: dict[str, Any] = {"model": model, "messages": encode_messages(request, context)}
    _mark_end(request, fields["messages"], context)
    if context.sight.oversized:
        raise too_large(context.sight.oversized)
    if tools:
        fields["tools"] = tools
        fields |= choice_fields(request, context)
    elif request.tool_choice and request.tool_choice.type != "none":
        context.lose("tool_choice", "the model sees no tools")
    fields |= _sampling(request, context)
    fields[profile.request.max_tokens_field] = _max_tokens(request, context, input_estimate)
    fields |= control_fields(request, context)
    fields |= _format(request, context, fields["messages"])
    fields |= _identity(request, context)
    fields |= _tier(request, context)
    fields |= _streaming(request, profile)
    fields |= profile.request.extra_body
    for name in sorted(profile.request.drop & fields.keys()):
        del fields[name]
        if name not in OURS:
            context.lose(CLIENTS_OWN.get(name, name), "the provider does not take it")
    headers = _session_headers(request, context)
    return Outgoing(json.encode(fields), context.losses, frozenset(fields), context.sight.wanted, headers)


def asks_for_stream(request: Request, profile: Profile) -> bool:
    """Whether the upstream is asked for a stream."""
    return profile.request.stream == "always" or bool(request.body.stream)


def _report_uncarried(request: Request, context: Context) -> None:
    body = request.body
    for name, (action, why) in UNCARRIED.items():
        value = getattr(body, name)
        if value in (None, []) or not _given(value):
            continue
        if name == "context_management" and request.applied_edits is not None:
            continue
        if name == "cache_control" and context.marks_caches:
            continue
        context.lose(name, why, action)
    context.lose_if_given(
        "output_config.task_budget", request.output_config.task_budget, "the provider has no task budgets"
    )
    for message in request.messages:
        if message.clear_at not in (None, "next_user_message", "never"):
            context.lose(f"messages.{message.index}.clear_at", "Latimer does not know this moment")
    if request.thinking:
        context.lose_if_given(
            "thinking.block_binding", request.thinking.block_binding, "blocks are bound to their route"
        )
        if request.thinking.type == "between_tools":
            context.lose("thinking.type", "notes between tools come as text", "approximated")


def _given(value: Any) -> bool:
    return not isinstance(value, Raw) or wire.given(value)


def _mark_end(request: Request, messages: list[dict[str, Any]], context: Context) -> None:
    """The request's own cache mark means the end of the conversation, whatever is there."""
    if not context.marks_caches or not wire.given(request.body.cache_control):
        return
    places = [m for m in messages if m["role"] != "assistant" and isinstance(m["content"], list)]
    if places:
        context.lose("cache_control", "it stands on the last part of the conversation", "emulated")
        *before, last = places[-1]["content"]
        places[-1]["content"] = [*before, {"cache_control": request.body.cache_control, **last}]
    else:
        context.lose("cache_control", "no part of this conversation can carry it")


def _sampling(request: Request, context: Context) -> dict[str, Any]:
    body = request.body
    fields: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        if getattr(body, name) is not None:
            fields[name] = getattr(body, name)
    if body.top_k is not None:
        if context.profile.request.top_k:
            fields["top_k"] = body.top_k
        else:
            context.lose("top_k", "Chat Completions has no top_k")
    if body.stop_sequences:
        # Providers do not say which sequence matched, so Latimer watches for them itself (latimer.stages).
        context.lose("stop_sequences", "matched here, not by the provider", "emulated")
    return fields


def _max_tokens(request: Request, context: Context, input_estimate: int) -> int:
    """What the client asked, at most what the model gives and what its window has room for."""
    wanted = request.body.max_tokens
    limit = wanted + room_to_think(request, context.profile)
    rules = context.profile.request
    if rules.max_output:
        limit = min(limit, rules.max_output)
    if rules.context_window:
        # An estimate errs; an eighth more keeps a slightly larger prompt from being refused for its answer's sake.
        room = rules.context_window - input_estimate - input_estimate // 8
        limit = min(limit, max(room, MIN_OUTPUT))
    if wanted == 0:
        context.lose(
            "max_tokens", "nothing is asked of the provider, which cannot be told to fill its cache", "emulated"
        )
    if limit > wanted:
        why = f"this model may think all the same: it gets {limit}, and what is shown of the answer ends after {wanted}"
        context.lose("max_tokens", why, "approximated")
    elif limit < wanted:
        context.lose("max_tokens", f"{wanted} is more than this model gives, sent as {limit}", "approximated")
    return limit


def _format(request: Request, context: Context, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Structured output, in the strongest form the provider has."""
    wanted = request.output_config.format
    if wanted is None:
        return {}
    style = context.profile.request.json_schema
    if style == "json_schema":
        strict = is_strict(json.decode(wanted.schema))
        if not strict:
            why = "the provider is asked for this form but not held to it: strict mode would refuse the schema"
            context.lose("output_config.format", why, "approximated")
        schema = {"name": "output", "schema": wanted.schema, "strict": strict}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    context.lose("output_config.format", "the provider takes no schema, so the prompt carries it", "approximated")
    instruction = f"Answer with JSON only, matching this JSON Schema:\n{bytes(wanted.schema).decode()}"
    _instruct(messages, instruction, context.profile.messages.system_role)
    return {"response_format": {"type": "json_object"}} if style == "json_object" else {}


def _instruct(messages: list[dict[str, Any]], instruction: str, role: str) -> None:
    """Put words at the end of the leading system message, of which there may be only one."""
    if not messages or messages[0]["role"] != role:
        messages.insert(0, {"role": role, "content": instruction})
    elif isinstance(messages[0]["content"], str):
        messages[0]["content"] += f"\n\n{instruction}"
    else:
        messages[0]["content"] = [*messages[0]["content"], {"type": "text", "text": instruction}]


def _identity(request: Request, context: Context) -> dict[str, Any]:
    """Hashes of the user and the session where the provider has fields for them; never the ids themselves."""
    rules = context.profile.request
    fields: dict[str, Any] = {}
    if rules.session_key and request.session_key:
        fields[rules.session_key] = request.session_key
    if request.user_id is None:
        return fields
    if rules.user_id != "drop":
        fields[rules.user_id] = _hashed(request.user_id)
    hashed = fields or _session_headers(request, context)
    why = "sent as a hash" if hashed else "the provider needs no user id"
    context.lose("metadata.user_id", why, "approximated" if hashed else "dropped")
    return fields


def _session_headers(request: Request, context: Context) -> dict[str, str]:
    names = context.profile.cache.session_headers
    return dict.fromkeys(names, request.session_key) if request.session_key else {}


def _tier(request: Request, context: Context) -> dict[str, Any]:
    """Speed counts more than the tier: OpenAI has one field for both. What is the default anyway is not sent."""
    body = request.body
    fast, standard = body.speed == "fast", body.service_tier == "standard_only"
    known = context.profile.request.service_tier
    if body.speed not in (None, "standard") and not (fast and known):
        context.lose("speed", "the provider has no faster mode to ask for")
    if body.service_tier not in (None, "auto") and not (standard and known and not fast):
        context.lose("service_tier", "speed counts more" if fast and known else "the provider's default tier is used")
    if not known or not (fast or standard):
        return {}
    return {"service_tier": "priority" if fast else "default"}


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _streaming(request: Request, profile: Profile) -> dict[str, Any]:
    if not asks_for_stream(request, profile):
        return {}
    if profile.request.usage == "unasked":
        return {"stream": True}
    return {"stream": True, "stream_options": {"include_usage": True}}
