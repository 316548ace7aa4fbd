"""Tools and the choice among them, on their way to an upstream that speaks Messages."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, json

from latimer.dialects.context import Context
from latimer.dialects.messages.request import Request
from latimer.dialects.schemas import shape
from latimer.dialects.tool_limit import left_out, summary
from latimer.dialects.tools import allowed_choices, shown_so_far, visible_tools
from latimer.profile import ANYTHING, NativeRules
from latimer.wire import messages as wire
from latimer.wire.splice import items, members, splice

from .blocks import MARK, NOT_TAKEN, changed_mark
from .rebuild import given_members

Choice = Literal["auto", "any", "tool", "none"]
_SAYS_NOTHING = {"type": b'"custom"', "allowed_callers": b'["direct"]', "defer_loading": b"true"}
"""Values that a tool can do without: one that is deferred is only sent once it was found."""
CHOICES = {"auto": "auto", "any": "required", "tool": "named", "none": "none"}
"""The API's words for a choice to the profile's."""


def carried_tools(tools: Raw, request: Request, context: Context) -> bytes | None:
    """The `tools` of the request, None where the model is shown none."""
    raws = items(tools)
    rules = context.profile.native
    plain = all(is_plain(raw) or runs_there(raw, rules) for raw in raws)
    if rules.deferred_tools and plain:
        carried = [_tool(raw, f"tools.{index}", context) for index, raw in enumerate(raws)]
    else:
        carried = _visible(raws, request, context)
    if carried == [bytes(raw) for raw in raws]:
        return bytes(tools)
    return b"[" + b",".join(carried) + b"]" if carried else None


def carried_choice(choice: Raw, request: Request, context: Context) -> bytes | None:
    """`tool_choice` in what is taken of it, None for what need not be said."""
    asked, rules = request.tool_choice, context.profile.tools
    if asked is None:
        return None
    found = members(choice)
    kind, name = asked.type, asked.name
    if request.members and context.profile.native.client_tools:  # the upstream knows them by the client's own names
        kind, name = json.decode(found["type"]), json.decode(found.get("name", wire.NULL))
    changes: dict[str, bytes | None] = {}
    choices = allowed_choices(request, context)
    if CHOICES[kind] not in choices:
        taken: Choice = "any" if kind == "tool" and "required" in choices else "auto"
        context.lose("tool_choice", f"the provider does not take {kind!r}, sent as {taken}", "approximated")
        kind = taken
    if json.decode(found["type"]) != kind:
        changes["type"] = json.encode(kind)
    if kind != "tool" and "name" in found:
        changes["name"] = None
    elif kind == "tool" and name != json.decode(found.get("name", wire.NULL)):
        changes["name"] = json.encode(name)
    if "disable_parallel_tool_use" in found and not rules.parallel:
        changes["disable_parallel_tool_use"] = None
        if asked.disable_parallel_tool_use:
            why = "all calls but the first are dropped here"
            context.lose("tool_choice.disable_parallel_tool_use", why, "emulated")
    return splice(choice, changes)


def _visible(raws: list[Raw], request: Request, context: Context) -> list[bytes]:
    """The tools that the model may know by now, each as the client wrote it where it is one of the client's."""
    written = {_name(raw): (index, raw) for index, raw in enumerate(raws) if is_plain(raw)}
    carried: list[bytes] = []
    for tool in _within_limit(visible_tools(request, context), request, context):
        index, raw = written.get(tool.name) or (len(raws), Raw(json.encode(given_members(tool))))
        carried.append(_tool(raw, request.tool_paths.get(tool.name, f"tools.{index}"), context))
    return carried


def _within_limit(tools: list[wire.Tool], request: Request, context: Context) -> list[wire.Tool]:
    limit = context.profile.tools.max_count
    if not 0 < limit < len(tools):
        return tools
    forced = request.tool_choice and request.tool_choice.name
    dropped = left_out(
        [tool.name for tool in tools], limit, {*shown_so_far(request).loaded, *([forced] if forced else [])}
    )
    context.lose("tools", f"the provider takes at most {limit}; without {summary(dropped)}")
    return [tool for tool in tools if tool.name not in dropped]


def is_plain(raw: Raw) -> bool:
    """Whether a tool is the client's own, with a schema."""
    return bytes(members(raw).get("type", wire.NULL)) in (b"null", b'"custom"')


def runs_there(raw: Raw, rules: NativeRules) -> bool:
    """Whether a tool of Anthropic's is known to the upstream."""
    kind = json.decode(members(raw)["type"])
    return rules.server_tools if str(kind).startswith(wire.SERVER_TOOLS) else rules.client_tools


def _name(raw: Raw) -> str:
    return str(json.decode(members(raw).get("name", Raw(b'""'))))


def _tool(raw: Raw, path: str, context: Context) -> bytes:
    """A tool with the members that are taken."""
    found = members(raw)
    if not is_plain(raw):
        return splice(raw, changed_mark(found, path, context))
    changes: dict[str, bytes | None] = {}
    taken = context.profile.native.tool_members
    for name in [name for name in found if name not in taken and ANYTHING not in taken]:
        changes[name] = None
        if name == "input_examples" and wire.given(found[name]):
            changes["description"] = _with_examples(found)
            context.lose(f"{path}.{name}", "added to the description", "emulated")
        elif bytes(found[name]) not in (b"null", b"false", _SAYS_NOTHING.get(name)):
            context.lose(f"{path}.{name}", NOT_TAKEN)
    if MARK not in changes:
        changes |= changed_mark(found, path, context)
    return splice(raw, changes | _schema(found, path, context))


def _with_examples(found: dict[str, Raw]) -> bytes:
    description = json.decode(found.get("description", Raw(b'""'))) or ""
    return json.encode(f"{description}\n\nExamples: {bytes(found['input_examples']).decode()}".strip())


def _schema(found: dict[str, Raw], path: str, context: Context) -> dict[str, bytes | None]:
    """The schema in the form that the provider takes, where it does not take any."""
    rules = context.profile.tools
    if rules.schema == "full" or "input_schema" not in found:
        return {}
    shaped = shape(bytes(found["input_schema"]), rules.schema, rules.drop_keywords)
    if shaped.lost:
        why = f"this provider does not take {', '.join(shaped.lost)}"
        context.lose(f"{path}.input_schema", why, "approximated")
    return {} if shaped.raw == bytes(found["input_schema"]) else {"input_schema": shaped.raw}
