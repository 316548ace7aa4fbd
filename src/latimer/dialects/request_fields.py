"""The top level of a request, as OpenAI's two APIs share it: what has no equivalent, limits, identity, what is left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from msgspec import Raw, json

from latimer.dialects.context import Context
from latimer.dialects.effort import room_to_think, thinks
from latimer.dialects.messages.refusals import refuse_unservable
from latimer.dialects.messages.request import Request
from latimer.dialects.schemas import is_strict
from latimer.dialects.tools import known_tools
from latimer.images import Known, Sight
from latimer.profile import Profile
from latimer.report import Action
from latimer.wire import messages as wire

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

_uncarried: Callable[[wire.RequestBody], tuple[Any, ...]] = attrgetter(*UNCARRIED)
_NOTHING = _uncarried(wire.RequestBody(model="", messages=[], max_tokens=0))
"""What most requests have of them."""

MIN_OUTPUT = 256
"""Fewer tokens than this are never left for the answer when the window is nearly full: the upstream should say so."""

JSON_INSTRUCTION = "Answer with JSON only, matching this JSON Schema:\n"


def begin(request: Request, route: str, profile: Profile, descriptions: Known | None) -> Context:
    """What the parts of an encoder share, with all that is lost already. Raises `Rejection` for what must not be served
    as something else.
    """
    refuse_unservable(request)
    losses = list(request.losses)
    return Context(route, profile, known_tools(request, losses), losses, Sight(descriptions))


def asks_for_stream(request: Request, profile: Profile) -> bool:
    """Whether the upstream is asked for a stream."""
    return profile.request.stream == "always" or bool(request.body.stream)


def report_uncarried(request: Request, context: Context) -> None:
    """Report the fields that have no equivalent."""
    if _uncarried(request.body) != _NOTHING:
        _report_fields(request, context)
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


def _report_fields(request: Request, context: Context) -> None:
    for name, (action, why) in UNCARRIED.items():
        value = getattr(request.body, name)
        if value in (None, []) or not _given(value):
            continue
        if name == "context_management" and request.applied_edits is not None:
            continue
        if name == "cache_control" and context.marks_caches:
            continue
        context.lose(name, why, action)


def _given(value: Any) -> bool:
    return not isinstance(value, Raw) or wire.given(value)


def mark_end(request: Request, places: list[tuple[dict[str, Any], str]], context: Context) -> None:
    """The request's own cache mark means the end of the conversation, whatever is there.

    `places` are the messages that can carry one, each with its field that is a list of parts.
    """
    if not context.marks_caches or not wire.given(request.body.cache_control):
        return
    if places:
        context.lose("cache_control", "it stands on the last part of the conversation", "emulated")
        message, field = places[-1]
        *before, last = message[field]
        message[field] = [*before, {"cache_control": request.body.cache_control, **last}]
    else:
        context.lose("cache_control", "no part of this conversation can carry it")


def sampling(request: Request, context: Context, api: str) -> dict[str, Any]:
    """`temperature`, `top_p` and `top_k`, which `api` may not have; stop sequences are watched for here."""
    body = request.body
    fields: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        if getattr(body, name) is not None:
            fields[name] = getattr(body, name)
    least = context.profile.request.least_temperature
    if body.temperature is not None and body.temperature < least:
        context.lose("temperature", f"sent as {least:g}, the least that is taken", "approximated")
        fields["temperature"] = least
    if body.top_k is not None:
        if context.profile.request.top_k:
            fields["top_k"] = body.top_k
        else:
            context.lose("top_k", f"{api} has no top_k")
    if body.stop_sequences:
        # Providers do not say which sequence matched, so Latimer watches for them itself (latimer.stages).
        context.lose("stop_sequences", "matched here, not by the provider", "emulated")
    return fields


def output_limit(request: Request, context: Context, input_estimate: int) -> int:
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


def json_schema(request: Request, context: Context) -> dict[str, Any] | None:
    """The schema of structured output with its name and strictness, None where none is asked for or taken."""
    wanted = request.output_config.format
    if wanted is None or context.profile.request.json_schema != "json_schema":
        return None
    strict = is_strict(json.decode(wanted.schema))
    if not strict:
        why = "the provider is asked for this form but not held to it: strict mode would refuse the schema"
        context.lose("output_config.format", why, "approximated")
    return {"name": "output", "schema": wanted.schema, "strict": strict}


def json_instruction(request: Request, context: Context) -> str:
    """What the prompt says of structured output where the provider takes no schema, '' where it need not."""
    wanted = request.output_config.format
    if wanted is None or context.profile.request.json_schema == "json_schema":
        return ""
    context.lose("output_config.format", "the provider takes no schema, so the prompt carries it", "approximated")
    return JSON_INSTRUCTION + bytes(wanted.schema).decode()


def identity(request: Request, context: Context) -> dict[str, Any]:
    """Hashes of the user and the session where the provider has fields for them; never the ids themselves."""
    rules = context.profile.request
    fields: dict[str, Any] = {}
    if rules.session_key and request.session_key:
        fields[rules.session_key] = request.session_key
    if request.user_id is None:
        return fields
    if rules.user_id != "drop":
        fields[rules.user_id] = hashlib.sha256(request.user_id.encode()).hexdigest()
    hashed = fields or session_headers(request, context)
    why = "sent as a hash" if hashed else "the provider needs no user id"
    context.lose("metadata.user_id", why, "approximated" if hashed else "dropped")
    return fields


def session_headers(request: Request, context: Context) -> dict[str, str]:
    """The headers that carry a hash of the session."""
    names = context.profile.cache.session_headers
    return dict.fromkeys(names, request.session_key) if request.session_key else {}


def tier(request: Request, context: Context) -> dict[str, Any]:
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


def without_dropped(
    fields: dict[str, Any], request: Request, context: Context, clients_own: Mapping[str, str], ours: frozenset[str]
) -> dict[str, Any]:
    """The fields with the profile's own, and without those that the profile says are not taken.

    `clients_own` gives the client's names of those that are called otherwise upstream; in `ours` nothing of the
    client's is sent, so nothing is lost with them.
    """
    rules = context.profile.request
    fields = fields | rules.extra_body
    reasons = dict.fromkeys(rules.drop, "the provider does not take it")
    if thinks(request, context.profile):
        reasons = dict.fromkeys(rules.drop_when_thinking, "the provider does not take it while it thinks") | reasons
    for name in sorted(reasons.keys() & fields.keys()):
        del fields[name]
        if name not in ours:
            context.lose(clients_own.get(name, name), reasons[name])
    return fields
