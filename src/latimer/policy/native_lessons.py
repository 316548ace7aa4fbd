"""What a refusal teaches about an upstream that speaks Messages itself.

Most of them name a path ("tools.0.custom.x: Extra inputs are not permitted", "field: 'tools[0].x'"), which says what to
leave out. Each sentence was seen in the thread that stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from latimer.policy.dialect_lessons import Taught
from latimer.profile import ANYTHING, CacheRules, NativeRules, Profile

DISPENSABLE = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "mcp_servers",
        "metadata",
        "output_config",
        "safeguards",
        "service_tier",
        "speed",
        "stop_sequences",
        "temperature",
        "thinking",
        "tool_choice",
        "top_k",
        "top_p",
        "user_profile_id",
    }
)
"""Top-level fields that a request can do without. Those that change what is answered stand in the report."""

TOOL_MEMBERS = frozenset(
    {
        "allowed_callers",
        "cache_control",
        "defer_loading",
        "description",
        "eager_input_streaming",
        "input_examples",
        "input_schema",
        "name",
        "strict",
        "type",
    }
)
"""Members of tools in the newest SDK: what is left of `*` when one of them is refused."""

_PLAIN = NativeRules()


def native_lesson(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    """The profile with what the refusal of a Messages request teaches. `sent` are its top-level fields."""
    for teach in (_betas, _system, _thinking, _effort, _paths):
        taught = teach(text, param, sent, profile)
        if taught is not None:
            return taught
    return None


def _native(profile: Profile, **changes: object) -> Profile:
    return replace(profile, native=replace(profile.native, **changes))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)


# --- betas ---

_BETAS = (
    # Anthropic's own, Vertex, Bedrock: github.com/anthropics/claude-code/issues/11672, QuantumNous/new-api/issues/2975
    _pattern(r"unexpected value\(s\) (.{1,600}?) for the `?anthropic-beta`? header"),
    # Copilot
    _pattern(r"unsupported beta header\(s\): ([\w, .-]{1,600})"),
)
# Bedrock: github.com/router-for-me/CLIProxyAPI/issues/4750
_SOME_BETA = _pattern(r"invalid beta flag")
_BETA = re.compile(r"[a-z][a-z0-9-]{2,60}-\d{4}-?\d{2}-?\d{2}")


def _betas(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    del param, sent
    named = [name for pattern in _BETAS for found in pattern.finditer(text) for name in _BETA.findall(found[1])]
    if named:
        refused = profile.native.refused_betas | frozenset(named)
        return _native(profile, refused_betas=refused), "the upstream does not know a beta"
    if _SOME_BETA.search(text):
        return _native(profile, betas=frozenset()), "the upstream refuses betas without naming one"
    return None


# --- whole sentences ---

_SYSTEM = _pattern(
    # github.com/Maol-1997/cursor-claude-connector/issues/3
    r"unexpected role \W{0,3}system"
    # github.com/ogx-ai/ogx/issues/5982
    r"|role\b.{0,40}input should be 'user' or 'assistant'|^input should be 'user' or 'assistant'"
    # github.com/anthropics/claude-code/issues/73821
    r"|role 'system' must precede"
)


def _system(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    del param, sent
    if _SYSTEM.search(text):
        return _native(profile, mid_system="tagged"), "the upstream takes no system message in mid-conversation"
    return None


# github.com/strands-agents/harness-sdk/issues/1856
_THINKING_TAG = _pattern(r"thinking: input tag '(\w+)' found using 'type'.{0,60}expected tags:([\w', ]{1,80})")
# github.com/anomalyco/opencode/issues/23007
_THINKING_TYPE = _pattern(r"thinking\.type\.(\w+)\W{0,3} is not supported.{0,40}use \W{0,3}thinking\.type\.(\w+)")
# DeepSeek: deepseek-ai/DeepSeek-V3/issues/1397
_NEEDS_THINKING = _pattern(r"content\[\]\.thinking\W{0,3} in the thinking mode must be passed back")
_EFFORT_BESIDE_DISABLED = _pattern(r"thinking options type cannot be disabled when reasoning_effort is set")
_TYPES = frozenset({"adaptive", "disabled", "enabled"})


def _thinking(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    del param, sent
    if _NEEDS_THINKING.search(text):
        return _native(profile, thinking_in_calls=True), "the upstream needs thinking in every message with calls"
    if _EFFORT_BESIDE_DISABLED.search(text):
        return _native(profile, effort_when_disabled=False), "the upstream takes no effort where thinking is off"
    types = profile.native.thinking
    if found := _THINKING_TAG.search(text):
        types = frozenset(re.findall(r"\w+", found[2])) & _TYPES
    elif found := _THINKING_TYPE.search(text):
        types = ((types & _TYPES) - {found[1].lower()}) | (frozenset({found[2].lower()}) & _TYPES)
    if types == profile.native.thinking or not types:
        return None
    return _native(profile, thinking=types), f"the model takes these types of thinking: {', '.join(sorted(types))}"


_NO_EFFORT = _pattern(r"not support the effort parameter|effort(?: parameter)? is not supported")


def _effort(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    del param
    if "output_config" in sent and _NO_EFFORT.search(text):
        return _without_member(profile, "effort")
    return None


# --- paths ---

_REFUSALS = r"extra inputs are not permitted|(?:is|are) not (?:supported|allowed|permitted)|unknown field|unexpected"
_PATHS = (
    _pattern(rf"([a-z_]+(?:\.[\w-]+)*)\W{{0,2}}: (?:{_REFUSALS})"),
    # Fireworks: github.com/anomalyco/opencode/issues/24696
    _pattern(r"extra inputs are not permitted, field: '([\w.\[\]]+)'"),
)
_TAG = _pattern(r"([a-z_]+(?:\.\w+)*): input tag '(\w+)' found using 'type' does not match")


def _paths(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    for found in _TAG.finditer(text):
        if taught := _tag(found[1].split("."), found[2], profile):
            return taught
    for path in _named(text, param):
        for teach in (_cache_mark, _tool_member, _config_member, _top):
            taught = teach(path, sent, profile)
            if taught is not None:
                return taught
    return None


def _named(text: str, param: str) -> Iterator[list[str]]:
    """The paths that are refused, in steps, without indexes."""
    paths = [found[1] for pattern in _PATHS for found in pattern.finditer(text)]
    if param and re.search(_REFUSALS, text, re.IGNORECASE):
        paths.append(param)
    for path in paths:
        steps = [step for step in re.split(r"[.\[\]]+", path) if step and not step.isdigit()]
        if steps:
            yield steps


def _cache_mark(path: list[str], sent: frozenset[str], profile: Profile) -> Taught:
    """`system.1.cache_control.ephemeral.scope`: github.com/BerriAI/litellm/pull/22867."""
    del sent
    if "cache_control" not in path[1:]:
        return None
    if path[-1] in ("scope", "ttl") and profile.native.cache_ttl:
        return _native(profile, cache_ttl=False), f"the upstream takes cache marks without {path[-1]} only"
    if path[0] == "tools" and path[-1] == "cache_control":
        return None
    return replace(profile, cache=_stripped(profile)), "the upstream takes no cache marks"


def _stripped(profile: Profile) -> CacheRules:
    return replace(profile.cache, cache_control="strip")


def _tool_member(path: list[str], sent: frozenset[str], profile: Profile) -> Taught:
    """`tools.0.custom.eager_input_streaming`: github.com/anthropics/claude-agent-sdk-python/issues/694."""
    del sent
    member = path[-1]
    if path[0] != "tools" or member not in TOOL_MEMBERS - _PLAIN.tool_members:
        return None
    members = profile.native.tool_members
    kept = (TOOL_MEMBERS if ANYTHING in members else members) - {member}
    changed = _native(profile, tool_members=kept)
    if member == "defer_loading":
        changed = _native(changed, deferred_tools=False)
    return changed, f"the upstream takes no {member} of tools"


def _config_member(path: list[str], sent: frozenset[str], profile: Profile) -> Taught:
    if path[0] == "output_config" and len(path) > 1 and "output_config" in sent:
        return _without_member(profile, path[1])
    if path[0] == "thinking" and len(path) > 1 and path[-1] in ("display", "block_binding"):
        return _native(profile, thinking_display=False), f"the upstream takes no {path[-1]} of thinking"
    return None


_CONFIG = frozenset({"effort", "format"})


def _without_member(profile: Profile, member: str) -> Taught:
    known = profile.native.output_config
    kept = (_CONFIG if ANYTHING in known else known) - {member}
    shown = member if member in _CONFIG else "one member"
    return _native(profile, output_config=kept), f"the upstream takes no {shown} of output_config"


def _top(path: list[str], sent: frozenset[str], profile: Profile) -> Taught:
    """`context_management`: github.com/anthropics/claude-code/issues/21612."""
    name = path[0]
    if len(path) > 1 or name not in DISPENSABLE or name not in sent:
        return None
    if name == "metadata":
        return _native(profile, user_id="drop"), "the upstream takes no metadata"
    request = replace(profile.request, drop=profile.request.drop | {name})
    return replace(profile, request=request), f"the upstream takes no {name}"


_TOOL_KINDS = (
    (re.compile(r"(?:bash|text_editor|computer|memory)_\d{8}"), "client_tools", "client tools"),
    (re.compile(r"tool_search_tool_\w+"), "deferred_tools", "tool search"),
    (re.compile(r"(?:web_search|web_fetch|code_execution|advisor)_\d{8}"), "server_tools", "server tools"),
)


def _tag(path: list[str], tag: str, profile: Profile) -> Taught:
    """A type of tool or block that is not known."""
    if path[0] == "tools":
        for kind, rule, what in _TOOL_KINDS:
            if kind.fullmatch(tag):
                return _native(profile, **{rule: False}), f"the upstream has no {what}"
        return None
    if path[0] != "messages" or "content" not in path or tag in ("text", "tool_use", "tool_result"):
        return None
    blocks = profile.native.blocks
    kept = (_PLAIN.blocks if ANYTHING in blocks else blocks) - {tag}
    return _native(profile, blocks=kept), "the upstream does not know a type of block"
