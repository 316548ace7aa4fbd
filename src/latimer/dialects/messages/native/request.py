"""The request for an upstream that speaks Messages: the client's own bytes, with what has to be changed spliced in.

https://docs.anthropic.com/en/api/messages. What an upstream does not take is data (`latimer.profile.NativeRules`); each
difference is reported, and what may not be left out silently is refused.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Raw, json
from msgspec.structs import replace

from latimer.dialects.context import Context
from latimer.dialects.effort import thinks
from latimer.dialects.messages.headers import BETA, UNCARRIED, VERSION
from latimer.dialects.messages.refusals import refuse_unservable
from latimer.dialects.messages.request import NEW_VERSION, OLD_VERSION, Request
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.request_fields import JSON_INSTRUCTION, output_limit, session_headers
from latimer.dialects.tools import allowed_choices, known_tools
from latimer.errors import invalid
from latimer.images import Known, Sight
from latimer.profile import ANYTHING, NativeRules, Profile
from latimer.report import Action, Loss
from latimer.wire import messages as wire
from latimer.wire.json_text import mend_surrogates
from latimer.wire.splice import members, splice

from .blocks import MARK, NOT_TAKEN, plain_mark
from .conversation import carried_messages, carried_system
from .rebuild import rebuild
from .thinking import carried_thinking
from .tools import carried_choice, carried_tools, is_plain, runs_there

REFUSED: dict[str, Any] = {
    "thread": wire.NULL,
    "compaction": wire.NULL,
    "fallbacks": None,
    "fallback_credit_token": wire.NULL,
    "mcp_servers": None,
    "container": wire.NULL,
    "inference_geo": None,
    "billing_policy": wire.NULL,
}
"""Fields that are refused where the upstream does not take them, and what each is when it is absent."""

DONE_HERE: dict[str, tuple[Action, str]] = {
    "stop_sequences": ("emulated", "matched here, not by the provider"),
    "context_management": ("dropped", "edits of the context are not applied"),
    "safeguards": ("dropped", "no model reviews tool calls on this route"),
    "fallbacks": ("dropped", "the routes of this gateway decide about fallbacks"),
}
"""What is said of fields that are not taken, where there is more to say."""

_OWN = frozenset(
    {
        "model", "messages", "max_tokens", "system", "tools", "tool_choice", "thinking", "output_config",
        "output_format", "metadata", "temperature", "cache_control",
    }
)  # fmt: skip
_NOTHING = (b"null", b"[]", b"{}", b'""')


def encode_request(  # noqa: PLR0913  # as every dialect's, and the bytes
    request: Request,
    *,
    model: str,
    route: str,
    profile: Profile,
    input_estimate: int = 0,
    descriptions: Known | None = None,
    raw: bytes | None = None,
    foreign: frozenset[str] = frozenset(),
) -> Outgoing:
    """Build the body for `model`. Raises `Rejection` for what must not be served as something else.

    `raw` are the client's bytes, None where the gateway has changed what `request` says since. `route` is
    "provider/model". `input_estimate` is the prompt's size in tokens, used to fit the answer into the window.
    `descriptions` stand in for pictures where the model sees none; None: nobody gives any. `foreign` are signatures of
    thinking that are known to be another route's.
    """
    rules = profile.native
    _refuse(request, rules)
    losses = list(request.losses) if raw is None else _of_other_words(request, rules)
    try:
        source = mend_surrogates(raw) if raw is not None else rebuild(request, client_tools=rules.client_tools)
        known = known_tools(request, [] if rules.deferred_tools else losses)
        context = Context(route, _native(profile), known, losses, Sight(descriptions), foreign)
        found = members(source)
        changes = _changes(found, request, context, model, input_estimate)
        body = splice(source, changes)
    except RecursionError as error:
        raise invalid("request body: nested too deeply") from error
    headers = session_headers(request, context) | _headers(request, context)
    sent = frozenset(name for name in (*found, *changes) if changes.get(name, b"") is not None)
    return Outgoing(body, context.losses, sent, context.sight.wanted, headers)


def _of_other_words(request: Request, rules: NativeRules) -> list[Loss]:
    """The parser's losses that count where the client's bytes go, since most of what it left out is still there: those
    of headers, and of what goes as it was parsed.
    """
    parsed = [VERSION, *UNCARRIED]
    if request.applied_edits is not None:
        parsed.append("context_management")
    if rules.mid_system == "tagged":
        parsed += [f"messages.{message.index}" for message in request.messages if message.role == "system"]
    tools = enumerate(request.body.tools or ())
    parsed += [f"tools.{index}" for index, raw in tools if not (is_plain(raw) or runs_there(raw, rules))]
    return [loss for loss in request.losses if any(f"{loss.field}.".startswith(f"{path}.") for path in parsed)]


def _native(profile: Profile) -> Profile:
    """The profile as the parts that all dialects share read it: documents that are not taken become text."""
    endpoint = replace(profile.endpoint, dialect="messages")
    messages = replace(profile.messages, mid_system=profile.native.mid_system, system_role="system")
    return replace(profile, endpoint=endpoint, messages=messages, media=replace(profile.media, pdf="text"))


def _refuse(request: Request, rules: NativeRules) -> None:
    """Raise `Rejection` for what neither the upstream nor Latimer does. What the upstream takes is its own affair."""
    theirs = {name: absent for name, absent in REFUSED.items() if rules.takes(name)}
    tools = request.tools
    if rules.server_tools:
        tools = [tool for tool in tools if tool.type in (None, "custom")]
    refuse_unservable(replace(request, body=replace(request.body, **theirs), tools=tools))


def _changes(
    found: dict[str, Raw], request: Request, context: Context, model: str, input_estimate: int
) -> dict[str, bytes | None]:
    """Every top-level field that differs upstream, None for one that is left out."""
    changes: dict[str, bytes | None] = {"model": json.encode(model)}
    limit = output_limit(request, context, input_estimate)
    if limit != request.body.max_tokens:
        changes["max_tokens"] = json.encode(limit)
    changes |= _refused_fields(found, request, context)
    changes |= _sampling(found, request, context)
    changes |= _identity(found, request, context)
    if "output_format" in found and not context.profile.native.takes("output_format"):
        changes["output_format"] = None
    changes |= _last_mark(found, context)
    config, instruction = _format(found, request, context)
    thinking, output_config = carried_thinking(found.get("thinking"), config, request, limit, context)
    _put(changes, "thinking", found, thinking)
    _put(changes, "output_config", found, output_config)
    changes |= _tools(found, request, context)
    _put(changes, "system", found, carried_system(found.get("system"), instruction, context))
    _put(changes, "messages", found, carried_messages(found["messages"], request, context))
    return changes | _profiles_own(found, changes, request, context)


def _put(changes: dict[str, bytes | None], name: str, found: dict[str, Raw], value: bytes | None) -> None:
    if value is None and name not in found:
        return
    if value is None or name not in found or value != bytes(found[name]):
        changes[name] = value


def _refused_fields(found: dict[str, Raw], request: Request, context: Context) -> dict[str, bytes | None]:
    changes: dict[str, bytes | None] = {}
    for name in [name for name in found if name not in _OWN and not context.profile.native.takes(name)]:
        changes[name] = None
        done = name == "context_management" and request.applied_edits is not None
        if not done and bytes(found[name]) not in _NOTHING:
            action, why = DONE_HERE.get(name, ("dropped", NOT_TAKEN))
            context.lose(name, why, action)
    return changes


def _last_mark(found: dict[str, Raw], context: Context) -> dict[str, bytes | None]:
    """The request's own cache mark, which means the end of the conversation."""
    mark = found.get(MARK)
    if mark is None or not wire.given(mark):
        return {}
    if not context.profile.native.takes(MARK) or not context.marks_caches:
        context.lose(MARK, NOT_TAKEN)
        return {MARK: None}
    return {MARK: plain_mark(mark, "", context)}


def _sampling(found: dict[str, Raw], request: Request, context: Context) -> dict[str, bytes | None]:
    least, wanted = context.profile.request.least_temperature, request.body.temperature
    if "temperature" not in found:
        return {}
    if not context.profile.native.takes("temperature"):
        if wanted is not None:
            context.lose("temperature", NOT_TAKEN)
        return {"temperature": None}
    if wanted is None or wanted >= least:
        return {}
    context.lose("temperature", f"{wanted:g} is less than the provider takes, sent as the least", "approximated")
    return {"temperature": json.encode(least)}


def _identity(found: dict[str, Raw], request: Request, context: Context) -> dict[str, bytes | None]:
    """The user's id names device, account and session, which only Anthropic has given it."""
    how = context.profile.native.user_id
    if "metadata" not in found or how == "pass":
        return {}
    if wire.given(found["metadata"]):
        for name in members(found["metadata"]).keys() - {"user_id"}:
            context.lose(f"metadata.{name}", NOT_TAKEN)
    if request.user_id is None:
        return {"metadata": None}
    if how == "drop":
        context.lose("metadata.user_id", "the provider needs no user id")
        return {"metadata": None}
    context.lose("metadata.user_id", "sent as a hash", "approximated")
    hashed = hashlib.sha256(request.user_id.encode("utf-8", "surrogatepass")).hexdigest()
    return {"metadata": json.encode({"user_id": hashed})}


def _format(found: dict[str, Raw], request: Request, context: Context) -> tuple[Raw | None, str]:
    """`output_config` with the format in it, and what the prompt says where no schema is taken."""
    rules, wanted = context.profile.native, request.output_config.format
    config = found.get("output_config")
    if wanted is None:
        return config, ""
    if "format" in rules.output_config or ANYTHING in rules.output_config:
        if "output_format" in found and not rules.takes("output_format"):
            moved = json.encode({"type": "json_schema", "schema": wanted.schema})
            config = Raw(splice(config if config and wire.given(config) else b"{}", {"format": moved}))
        return config, ""
    if rules.takes("output_format") and "output_format" in found:
        return config, ""
    context.lose("output_config.format", "the provider takes no schema, so the prompt carries it", "approximated")
    return config, JSON_INSTRUCTION + bytes(wanted.schema).decode()


def _tools(found: dict[str, Raw], request: Request, context: Context) -> dict[str, bytes | None]:
    changes: dict[str, bytes | None] = {}
    tools = found.get("tools")
    given = tools is not None and wire.given(tools)
    hidden = given and bool(request.tools) and _hides_tools(request, context)
    carried = carried_tools(tools, request, context) if tools is not None and given and not hidden else None
    if given:
        _put(changes, "tools", found, carried)
    choice = found.get("tool_choice")
    if choice is None or not wire.given(choice):
        return changes
    if carried is None:
        if request.tool_choice and request.tool_choice.type != "none":
            context.lose("tool_choice", "the model sees no tools")
        return changes | {"tool_choice": None}
    _put(changes, "tool_choice", found, carried_choice(choice, request, context))
    return changes


def _hides_tools(request: Request, context: Context) -> bool:
    choice = request.tool_choice
    if choice is None or choice.type != "none" or "none" in allowed_choices(request, context):
        return False
    context.lose("tools", "the provider does not take tool_choice 'none', so it is shown no tools", "emulated")
    return True


def _profiles_own(
    found: dict[str, Raw], changes: dict[str, bytes | None], request: Request, context: Context
) -> dict[str, bytes | None]:
    """Fields that the profile adds, and those that it says are not taken, whatever they are."""
    rules = context.profile.request
    own: dict[str, bytes | None] = {name: json.encode(value) for name, value in rules.extra_body.items()}
    sent = {name for name in (*found, *changes) if changes.get(name, b"") is not None}
    dropped = rules.drop | rules.drop_when_thinking if thinks(request, context.profile) else rules.drop
    for name in sorted(dropped & (sent | own.keys())):
        own[name] = None
        if name in found:
            context.lose(name, NOT_TAKEN)
    return own


def _headers(request: Request, context: Context) -> dict[str, str]:
    """The version and the betas that the upstream understands.

    What a newer version no longer takes was refused when the request was parsed, so the older one takes what is left.
    """
    rules = context.profile.native
    version = request.version
    if version == NEW_VERSION and not rules.new_version:
        context.lose(VERSION, f"the provider understands {OLD_VERSION} only", "approximated")
        version = OLD_VERSION
    betas = [
        beta for beta in sorted(request.betas) if _fits(beta, rules.betas) and not _fits(beta, rules.refused_betas)
    ]
    if refused := sorted(request.betas.difference(betas)):
        context.lose(BETA, f"the provider is not asked for {', '.join(refused)}")
    return {VERSION: version} | ({BETA: ",".join(betas)} if betas else {})


def _fits(beta: str, globs: frozenset[str]) -> bool:
    return any(fnmatchcase(beta, glob) for glob in globs)
