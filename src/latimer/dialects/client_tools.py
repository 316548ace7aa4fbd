"""Anthropic's own client tools as ordinary functions: they come without a schema, since Claude models know them.

A toolset becomes one function for each of its members, `computer__left_click`. What the model calls so, the client gets
as member `left_click` of toolset `computer` (`latimer.stages.Toolsets`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from latimer.errors import invalid
from latimer.events import Member
from latimer.report import Loss
from latimer.wire import messages as wire

from .client_tool_data import TOOLS, TOOLSETS, ZOOMING, Function

_OWN_FIELDS: dict[str, frozenset[str]] = {
    "text_editor_20250728": frozenset({"max_characters"}),
    "computer_20241022": frozenset({"display_width_px", "display_height_px", "display_number"}),
    "computer_20250124": frozenset({"display_width_px", "display_height_px", "display_number"}),
    "computer_20251124": frozenset({"display_width_px", "display_height_px", "display_number", "enable_zoom"}),
    **{kind: frozenset({"configs"}) for kind in TOOLSETS},
}
_FIELDS = ("max_characters", "display_width_px", "display_height_px", "display_number", "enable_zoom", "configs")


class Published(Struct, frozen=True):
    """The functions that stand for a tool, and those of them that are members of a toolset.

    `own`: it is one of Anthropic's, and the names are not of the client's choosing.
    """

    tools: list[wire.Tool]
    members: dict[str, Member] = {}
    own: bool = False


def is_client_tool(kind: str | None) -> bool:
    """Whether this type of tool is one of Anthropic's own that the client runs."""
    return kind in TOOLS or kind in TOOLSETS


def function_name(name: str, toolset: str | None) -> str:
    """The name by which the model calls what the client knows by this one."""
    return f"{toolset}__{name}" if toolset else name


def publish(tool: wire.ClientTool, path: str, losses: list[Loss]) -> Published:
    """A client tool as functions."""
    kind = tool.type or ""
    own = _OWN_FIELDS.get(kind, frozenset[str]())
    strange = [name for name in _FIELDS if name not in own and getattr(tool, name) is not None]
    losses += [Loss(f"{path}.{name}", "dropped", f"{kind} has no such field") for name in strange]
    if kind in TOOLSETS:
        return _toolset(tool, kind, path, losses)
    default, function = TOOLS[kind]
    words = [_with_display(tool, function.description) if "display_width_px" in own else function.description]
    if tool.max_characters is not None and "max_characters" in own:
        words.append(f"At most {tool.max_characters} characters of a file are shown.")
    if tool.description:
        words.append(tool.description)
    zooms = tool.enable_zoom and "enable_zoom" in own
    return Published([_custom(tool, tool.name or default, " ".join(words), ZOOMING if zooms else function)], own=True)


def refuse_conflicts(published: Iterable[Published]) -> None:
    """Raise `Rejection` when one of Anthropic's tools has the name of another tool."""
    names = [(tool.name, each.own) for each in published for tool in each.tools]
    counts = Counter(name for name, _ in names)
    for name, own in names:
        if own and counts[name] > 1:
            raise invalid(f"tools: more than one tool has the name {name!r}", error_code="tool_name_conflict")


def choose(choice: wire.ToolChoice, members: Mapping[str, Member], losses: list[Loss]) -> wire.ToolChoice:
    """The client's choice of a tool, in the names of functions."""
    functions = [function for function, member in members.items() if member.name == choice.name]
    if functions:
        return replace(choice, name=functions[0])
    if any(member.toolset == choice.name for member in members.values()):
        losses.append(
            Loss("tool_choice.name", "approximated", "a toolset is many functions, so any tool may be called")
        )
        return replace(choice, type="any", name=None)
    return choice


def _toolset(tool: wire.ClientTool, kind: str, path: str, losses: list[Loss]) -> Published:
    family, functions = TOOLSETS[kind]
    configs = tool.configs or {}
    unknown = [name for name in configs if name not in functions]
    losses += [Loss(f"{path}.configs.{name}", "dropped", f"{kind} has no such member") for name in unknown]
    if wire.given(tool.cache_control):
        losses.append(
            Loss(f"{path}.cache_control", "dropped", "a toolset is many functions, which carry no cache marks")
        )
    tools: list[wire.Tool] = []
    members: dict[str, Member] = {}
    for name, function in functions.items():
        config = configs.get(name) or wire.MemberConfig()
        if config.enabled is False or (config.enabled is None and not function.enabled):
            continue
        made = _custom(tool, function_name(name, family), function.description, function)
        defer = tool.defer_loading if config.defer_loading is None else config.defer_loading
        tools.append(replace(made, defer_loading=defer, cache_control=wire.NULL))
        members[made.name] = Member(family, name)
    return Published(tools, members, own=True)


def _custom(tool: wire.Tool, name: str, description: str, function: Function) -> wire.Tool:
    return wire.Tool(
        name=name,
        input_schema=Raw(json.encode(function.schema())),
        description=description,
        strict=tool.strict,
        defer_loading=tool.defer_loading,
        eager_input_streaming=tool.eager_input_streaming,
        input_examples=tool.input_examples,
        allowed_callers=tool.allowed_callers,
        cache_control=tool.cache_control,
    )


def _with_display(tool: wire.ClientTool, description: str) -> str:
    size = f" The screen is {tool.display_width_px} pixels wide and {tool.display_height_px} high."
    known = tool.display_width_px is not None and tool.display_height_px is not None
    number = f" It is X11 display :{tool.display_number}." if tool.display_number is not None else ""
    return description + (size if known else "") + number
