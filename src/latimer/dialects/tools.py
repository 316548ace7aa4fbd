"""Tools, whatever the dialect: their names, schemas, ids, and which of them the model may see."""

from __future__ import annotations

import hashlib
import re
import string
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from msgspec import Raw, Struct, json

from latimer.dialects.client_tool_data import TOOLSETS
from latimer.dialects.client_tools import function_name
from latimer.dialects.context import Context
from latimer.dialects.effort import thinks
from latimer.dialects.messages.request import Request, decode_tool
from latimer.dialects.schemas import Shaped, is_strict, shape
from latimer.dialects.tool_limit import left_out, summary
from latimer.errors import invalid
from latimer.profile import ToolRules
from latimer.report import Loss
from latimer.wire import messages as wire

LEGAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""https://platform.openai.com/docs/api-reference/chat/create, `tools[].function.name`."""
_ALPHABET = string.ascii_letters + string.digits
_REFERENCE = b'"tool_reference"'
MAX_REFERENCE = 4096
"""Bytes; a reference is a name of at most 128 characters and perhaps a cache mark."""


@lru_cache(maxsize=4096)
def upstream_name(name: str) -> str:
    """A legal function name: the tool's own, or its beginning with a hash, unique and the same every turn."""
    if LEGAL_NAME.fullmatch(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:55]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def restored_names(request: Request) -> dict[str, str]:
    """Upstream names back to the client's, for those that had to change."""
    calls = (block for message in request.messages for block in message.blocks if isinstance(block, wire.ToolUseBlock))
    names = {*known_tools(request, []), *(function_name(block.name, block.toolset_name) for block in calls)}
    return {sent: name for name in names if (sent := upstream_name(name)) != name}


def upstream_id(call_id: str, rules: ToolRules) -> str:
    """The id a call and its result have upstream: the client's own if the upstream takes it, else a hash of it."""
    return call_id if _pattern(rules.id_pattern).fullmatch(call_id) else hash_text(call_id, 9)


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


class CallIds:
    """Upstream ids for the calls of one conversation, in their order: a repeated id becomes another each time.

    What an id becomes depends on the messages before it only, so it stays the same as the conversation grows.
    """

    def __init__(self, rules: ToolRules) -> None:
        self._rules = rules
        self._seen: Counter[str] = Counter()

    def take(self, call_id: str) -> str:
        """The upstream id of the next call with this id."""
        repeated = self._seen[call_id]
        self._seen[call_id] += 1
        return hash_text(f"{call_id}#{repeated}", 9) if repeated else upstream_id(call_id, self._rules)


def hash_text(text: str, length: int) -> str:
    """`length` letters and digits that depend on `text` alone."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    chars = []
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        chars.append(_ALPHABET[place])
    return "".join(chars)


def known_tools(request: Request, losses: list[Loss]) -> dict[str, wire.Tool]:
    """Every tool by its name: the request's own, then those that `tool_addition` blocks define."""
    tools = {tool.name: tool for tool in request.tools}
    for path, change in _told_changes(request):
        match change:
            case {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}}:
                for tool in decode_tool(Raw(json.encode(definition)), f"{path}.tool.definition", losses).tools:
                    if tool.type in (None, "custom"):
                        tools[tool.name] = tool
                    else:
                        losses.append(Loss(f"{path}.tool", "dropped", "this tool runs on Anthropic's servers"))
    return tools


class Shown(Struct, frozen=True):
    """What the conversation has done to the tool list so far."""

    loaded: dict[str, int]
    """Names brought in after the start, and in which order."""
    removed: frozenset[str]


def shown_so_far(request: Request) -> Shown:
    """Which tools were brought in and taken away."""
    loaded: dict[str, int] = {}
    removed: set[str] = set()
    for change in _changes(request):
        match change:
            case wire.ToolUseBlock():  # it is known, even when what brought it in has been compacted away
                name = function_name(change.name, change.toolset_name)
            case {"type": "tool_removal", "tool": {"name": str(name)}}:
                removed.add(name)
                continue
            case {"type": "tool_addition", "tool": {"definition": {"type": str(kind)}}} if kind in TOOLSETS:
                name = TOOLSETS[kind][0]
            case {"type": "tool_addition", "tool": {"definition": {"name": str(name)}}}:
                pass
            case {"type": "tool_addition", "tool": {"name": str(name)}}:
                pass
            case {"type": "tool_reference", "tool_name": str(name)}:
                pass
            case _:
                continue
        loaded.setdefault(name, len(loaded))
        removed.discard(name)
    return Shown(loaded, frozenset(removed))


def _changes(request: Request) -> Iterator[Any]:
    """Everything in the conversation that changes the tool list, in its order: calls, and as JSON values what brings
    tools in or takes them away.
    """
    for message in request.messages:
        for block in message.blocks:
            match block:
                case wire.ToolUseBlock():
                    yield block
                case wire.ToolResultBlock(content=list() as parts):
                    yield from (json.decode(raw) for raw in parts if _may_refer(raw))
                case wire.UnknownBlock(type="tool_search_tool_result", raw=raw):
                    content = json.decode(raw).get("content")
                    references = content.get("tool_references") if isinstance(content, dict) else None
                    yield from references or ()
                case wire.UnknownBlock(type="tool_addition" | "tool_removal", raw=raw):
                    yield json.decode(raw)


def _told_changes(request: Request) -> Iterator[tuple[str, Any]]:
    """The blocks that say themselves how the tool list changes, with their paths."""
    for message in request.messages:
        for place, block in enumerate(message.blocks):
            if isinstance(block, wire.UnknownBlock) and block.type in ("tool_addition", "tool_removal"):
                yield message.path(place), json.decode(block.raw)


def _may_refer(raw: Raw) -> bool:
    """Whether a part can be a `tool_reference`; images, which can be large, are not even copied."""
    return memoryview(raw).nbytes <= MAX_REFERENCE and _REFERENCE in bytes(raw)


def visible_tools(request: Request, context: Context) -> list[wire.Tool]:
    """Tools the model may know: those that are not deferred, then the others in the order they were brought in.

    Claude Code inserts a loaded tool in the middle of its list; appending it keeps the upstream's cached prefix.
    """
    changes = shown_so_far(request)
    loaded = changes.loaded | {
        name: changes.loaded[member.toolset]
        for name, member in request.members.items()
        if member.toolset in changes.loaded and name not in changes.loaded
    }
    declared = {tool.name for tool in request.tools}
    forced = request.tool_choice.name if request.tool_choice else None
    shown: list[wire.Tool] = []
    late: list[wire.Tool] = []
    for index, (name, tool) in enumerate(context.tools.items()):
        if tool.allowed_callers and "direct" not in tool.allowed_callers:
            if name == forced:
                raise invalid(f"tool_choice.name: tool {name!r} cannot be called directly")
            context.lose(_path(request, name, index), "only code that runs at Anthropic may call this tool")
        elif changes.removed and not changes.removed.isdisjoint((name, _toolset(name, request))):
            context.lose(_path(request, name, index), "a tool_removal took it away", "emulated")
        elif name in declared and not tool.defer_loading:
            shown.append(tool)
        elif name in loaded or name == forced:
            late.append(tool)
        else:
            where = f"{_path(request, name, index)}.defer_loading"
            context.lose(where, "hidden until a tool_reference names it", "emulated")
    return shown + sorted(late, key=lambda tool: loaded.get(tool.name, len(loaded)))


def _path(request: Request, name: str, index: int) -> str:
    return request.tool_paths.get(name) or f"tools.{index}"


def _toolset(name: str, request: Request) -> str | None:
    member = request.members.get(name)
    return member.toolset if member else None


STAND_IN = wire.Tool(
    "no_tools",
    Raw(b'{"type":"object","properties":{}}'),
    "There are no tools now. Never call this one: it does nothing.",
)
"""Where a history with calls is refused without tools."""


def sent_tools(request: Request, context: Context) -> list[wire.Tool]:
    """The tools of the upstream's request, [] when it has none; what is lost of them is reported."""
    _report_lost(request, context)
    tools = visible_tools(request, context)
    forbidden = request.tool_choice is not None and request.tool_choice.type == "none"
    if tools and forbidden and "none" not in allowed_choices(request, context):
        context.lose("tools", "the provider does not take tool_choice 'none', so it is shown no tools", "emulated")
        tools = []
    if not tools and context.profile.tools.needed_by_history and _has_calls(request):
        context.lose("tools", "a history with calls is refused without tools, so one stands in for them", "emulated")
        return [STAND_IN]
    return _within_limit(tools, request, context)


def _has_calls(request: Request) -> bool:
    return any(isinstance(block, wire.ToolUseBlock) for message in request.messages for block in message.blocks)


def allowed_choices(request: Request, context: Context) -> frozenset[str]:
    """The values of `tool_choice` that are understood."""
    rules = context.profile.tools
    return rules.choices & rules.choices_when_thinking if thinks(request, context.profile) else rules.choices


def _report_lost(request: Request, context: Context) -> None:
    """Report what the upstream is not told of the client's tools."""
    rules = context.profile.tools
    for index, tool in enumerate(request.tools):
        path = _path(request, tool.name, index)
        if tool.cache_control is not wire.NULL:
            context.lose_if_given(f"{path}.cache_control", tool.cache_control, "tools carry no cache marks here")
        if tool.strict and not sent_strict(tool, rules):
            why = "schemas are sent as guidance, not enforced"
            why = "strict mode would refuse the schema" if rules.strict else why
            context.lose(f"{path}.strict", why)
        if wire.given(tool.input_examples):
            context.lose(f"{path}.input_examples", "added to the description", "emulated")
        if dropped := _shape(tool, rules).lost:
            why = f"this provider does not take {', '.join(dropped)}"
            context.lose(f"{path}.input_schema", why, "approximated")


def sent_strict(tool: wire.Tool, rules: ToolRules) -> bool:
    """Whether the provider is held to a tool's schema: it can be, the client asks for it, and the schema is fit."""
    return bool(tool.strict) and rules.strict and is_strict(json.decode(_shape(tool, rules).raw))


def _within_limit(tools: list[wire.Tool], request: Request, context: Context) -> list[wire.Tool]:
    """At most as many tools as the provider takes; a 400 would end the session."""
    limit = context.profile.tools.max_count
    if not 0 < limit < len(tools):
        return tools
    forced = request.tool_choice and request.tool_choice.name
    wanted = {*shown_so_far(request).loaded, *([forced] if forced else [])}
    dropped = left_out([tool.name for tool in tools], limit, wanted)
    context.lose("tools", f"the provider takes at most {limit}; without {summary(dropped)}")
    return [tool for tool in tools if tool.name not in dropped]


def function_definition(tool: wire.Tool, rules: ToolRules) -> dict[str, Any]:
    """A tool as OpenAI's `function` object."""
    description = tool.description or ""
    if wire.given(tool.input_examples):
        description = f"{description}\n\nExamples: {bytes(tool.input_examples).decode()}".strip()
    definition: dict[str, Any] = {"name": upstream_name(tool.name)}
    if description:
        definition["description"] = description
    definition["parameters"] = Raw(_shape(tool, rules).raw)
    return definition


def _shape(tool: wire.Tool, rules: ToolRules) -> Shaped:
    return shape(bytes(tool.input_schema), rules.schema, rules.drop_keywords)


class Choice(Struct, frozen=True):
    """What a request says of calling tools, in what the upstream takes: `named` has a `name` as upstream knows it."""

    kind: str | None
    """`auto`, `none`, `required` or `named`; None leaves it to the upstream."""
    name: str = ""
    one_call: bool = False
    """Whether the upstream is told to make at most one call."""


def sent_choice(request: Request, context: Context, tools: list[wire.Tool]) -> Choice:
    """`tool_choice` and `disable_parallel_tool_use` for a request with these tools; what is not taken is reported."""
    rules, choices = context.profile.tools, allowed_choices(request, context)
    if not tools or tools == [STAND_IN]:
        if request.tool_choice and request.tool_choice.type != "none":
            context.lose("tool_choice", "the model sees no tools")
        return Choice("none" if tools and "none" in choices else None)
    if request.one_call and not rules.parallel:
        context.lose("tool_choice.disable_parallel_tool_use", "all calls but the first are dropped here", "emulated")
    one_call = request.one_call and rules.parallel
    choice = request.tool_choice
    if choice is None:
        return Choice(None, one_call=one_call)
    wanted = {"auto": "auto", "none": "none", "any": "required", "tool": "named"}[choice.type]
    if wanted not in choices:
        taken = "required" if wanted == "named" and "required" in choices else "auto"
        context.lose("tool_choice", f"the provider does not take {choice.type!r}, sent as {taken}", "approximated")
        wanted = taken
    return Choice(wanted, upstream_name(choice.name or "") if wanted == "named" else "", one_call)
