"""Requests of Claude Code's, and upstreams that take everything or next to nothing."""

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from latimer.dialects.messages.native.request import encode_request
from latimer.dialects.messages.request import OLD_VERSION, decode_request
from latimer.dialects.outgoing import Outgoing
from latimer.images import Known
from latimer.profile import CacheRules, NativeRules, Profile, ReasoningRules, ToolRules

CASES = Path(__file__).parents[3] / "cases" / "chat"
ROUTE = "anthropic/claude"
ANY = frozenset({"*"})
EVERYTHING = NativeRules(
    fields=ANY,
    output_config=ANY,
    blocks=ANY,
    new_members=True,
    betas=ANY,
    new_version=True,
    mid_system="native",
    billing_line="pass",
    user_id="pass",
    thinking=ANY,
    thinking_display=True,
    effort_when_disabled=True,
    tool_members=ANY,
    client_tools=True,
    server_tools=True,
    deferred_tools=True,
    cache_ttl=True,
)
WORDS: Any = {word: word for word in ("none", "low", "medium", "high", "xhigh", "max")}
ANTHROPIC = Profile(
    reasoning=ReasoningRules(efforts=WORDS),
    tools=ToolRules(max_count=0),
    cache=CacheRules(cache_control="pass"),
    native=EVERYTHING,
)
HELLO: dict[str, Any] = {"model": "claude", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
BASH = {"name": "Bash", "description": "Run a command.", "input_schema": {"type": "object", "properties": {}}}
MARK = {"cache_control": {"type": "ephemeral"}}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def native(**rules: Any) -> Profile:
    """The default profile with some native rules."""
    return Profile(native=NativeRules(**rules))


def everything_but(**rules: Any) -> Profile:
    """Anthropic's own profile with some rules changed."""
    return replace(ANTHROPIC, native=replace(EVERYTHING, **rules))


def sent(
    body: dict[str, Any],
    profile: Profile = ANTHROPIC,
    *,
    version: str = OLD_VERSION,
    betas: frozenset[str] = frozenset(),
    known: Known | None = None,
    input_estimate: int = 0,
    rebuilt: bool = False,
) -> Outgoing:
    raw = json.dumps(body, ensure_ascii=False).encode()
    return encode_request(
        decode_request(raw, version, betas),
        model="model-1",
        route=ROUTE,
        profile=profile,
        input_estimate=input_estimate,
        descriptions=known,
        raw=None if rebuilt else raw,
    )


def body_of(body: dict[str, Any], profile: Profile = ANTHROPIC, **how: Any) -> dict[str, Any]:
    """What the upstream is sent for a request."""
    out: dict[str, Any] = json.loads(sent(body, profile, **how).body)
    return out


def messages_of(messages: list[dict[str, Any]], profile: Profile = ANTHROPIC, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(HELLO | {"messages": messages} | more, profile)["messages"]
    return found


def lost(outgoing: Outgoing) -> set[str]:
    return {loss.field for loss in outgoing.losses}
