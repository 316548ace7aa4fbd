"""`GET /v1/models`: what is routed, in Anthropic's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latimer.errors import invalid
from latimer.policy.config import Config
from latimer.policy.presets import Overlay
from latimer.policy.routing import TIERS, Route, picker_id, route_names, routes_for, tier_route
from latimer.profile import Profile

TIER_IDS = {
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
}
"""What Claude Code 2.1.330 asks for with `--model opus` and so on; other ids of a tier are routed just the same."""

_UNKNOWN_DATE = "1970-01-01T00:00:00Z"
_NOTHING: Mapping[str, Overlay] = {}


def picker_models(
    config: Config, learned: Mapping[str, Overlay] = _NOTHING, tiers: bool = True
) -> list[dict[str, Any]]:
    """Every model a client may ask for, each an Anthropic ModelInfo with a `description` that Claude Code shows.

    Routes under the ids that its picker takes, then under their own names, then the tiers. The picker has its own rows
    for the tiers, so they can be left out for it.
    """
    routes = [routes_for(config, name, learned)[0] for name in route_names(config)]
    models = [
        _info(picker_id(route.name), route.model, f"{route.provider.name}, through Latimer", route) for route in routes
    ]
    models += [_info(route.name, route.name, "", route) for route in routes]
    for tier in TIERS if tiers else ():
        route = tier_route(config, tier, learned)
        if route:
            title = tier.capitalize()
            models.append(_info(TIER_IDS[tier], f"{title}: {route.model}", f"{title} tier, {route.name}", route, tier))
    return models


def page(
    models: Sequence[dict[str, Any]], limit: int = 20, after_id: str | None = None, before_id: str | None = None
) -> dict[str, Any]:
    """One page: at most `limit` (1 to 1000) entries after or before an id. Raises Rejection on a bad cursor."""
    if not 1 <= limit <= 1000:
        raise invalid("limit: must be between 1 and 1000")
    if after_id and before_id:
        raise invalid("after_id and before_id can not be used together")
    ids = [model["id"] for model in models]
    for name, cursor in (("after_id", after_id), ("before_id", before_id)):
        if cursor and cursor not in ids:
            raise invalid(f"{name}: there is no model {cursor!r}")
    if before_id:
        candidates = models[: ids.index(before_id)]
        data = list(candidates[-limit:])
    else:
        candidates = models[ids.index(after_id) + 1 :] if after_id else models
        data = list(candidates[:limit])
    return {
        "data": data,
        "has_more": len(candidates) > len(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _info(model_id: str, display_name: str, description: str, route: Route, line: str | None = None) -> dict[str, Any]:
    rules = route.profile.request
    return {
        "id": model_id,
        "type": "model",
        "display_name": display_name,
        "description": description or None,
        "created_at": _UNKNOWN_DATE,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": line,
        "max_input_tokens": rules.context_window or None,
        "max_tokens": rules.max_output or None,
        "capabilities": _capabilities(route.profile),
    }


def _capabilities(profile: Profile) -> dict[str, Any]:
    reasoning = profile.reasoning
    thinks = reasoning.control != "none"
    efforts = {word: thinks and bool(reasoning.efforts.get(word)) for word in ("low", "medium", "high", "xhigh", "max")}
    edits = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")
    return {
        "batch": _can(False),
        "citations": _can(False),
        "code_execution": _can(False),
        "context_management": {"supported": True, **{edit: _can(True) for edit in edits}},
        "effort": {"supported": any(efforts.values()), **{word: _can(able) for word, able in efforts.items()}},
        "image_input": _can(profile.media.images),
        "pdf_input": _can(True),
        "server_tools": {"supported": False, "web_search": _can(False), "code_execution": _can(False)},
        "structured_outputs": _can(True),
        "thinking": {
            "supported": thinks,
            "types": {
                "adaptive": _can(thinks),
                "between_tools": _can(thinks),
                "disabled": _can(True),
                "enabled": _can(thinks),
            },
        },
    }


def _can(able: bool) -> dict[str, bool]:
    return {"supported": able}
