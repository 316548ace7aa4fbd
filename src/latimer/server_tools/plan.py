"""What becomes of a request's server tools before it is translated: functions that the model can call.

A request without them passes through untouched.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from latimer.dialects.messages.request import Request
from latimer.domains import Domains, parse_rules
from latimer.errors import invalid
from latimer.report import Loss
from latimer.wire import messages as wire

from .history import unfold

Kind = Literal["web_search", "web_fetch", "tool_search"]


class Abilities(Struct, frozen=True):
    """What this gateway can do for a model: '' and False for nothing. `most_tools` is what the upstream takes."""

    search: str = ""
    fetch: bool = False
    most_tools: int = 128


class ServerTool(Struct, frozen=True):
    """A server tool that Latimer runs. The model knows it as `function`, the client as `name`."""

    kind: Kind
    name: str
    function: str
    asked: wire.ServerTool
    domains: Domains = Domains()


class Plan(Struct, frozen=True):
    """The server tools of a request. `missing` are the kinds that nobody can run here.

    `alone`: nothing else was offered to the model, so there is nothing to ask it for.
    """

    tools: dict[str, ServerTool]
    """By the name of their function."""
    missing: list[Kind]
    alone: bool = False


DESCRIPTIONS: dict[Kind, tuple[str, str, str]] = {
    "web_search": (
        "Search the web. Returns titles, URLs and excerpts of pages. Name the sources you used, with their URLs.",
        "query",
        "What to search for",
    ),
    "web_fetch": (
        "Fetch a web page or PDF and read its text. Only URLs that already occur in the conversation can be fetched.",
        "url",
        "The URL, with http:// or https://",
    ),
    "tool_search": (
        "Find more tools. The tools that fit are then available to be called.",
        "query",
        "Words that describe the tool",
    ),
}
REGEX = "A Python regular expression, searched for in names, descriptions and parameters, such as '(?i)weather'"


SEARCHER = "tool_search_tool_bm25"
MANY = 8
"""No model is known to be overcharged by so few tools, so nobody has to look up its limit."""


def asks_server(request: Request) -> bool:
    """Whether the request may need `prepare`: for tools that the server runs, or for more than a provider takes."""
    return len(request.tools) > MANY or any(isinstance(tool, wire.ServerTool) for tool in request.tools)


def prepare(request: Request, abilities: Abilities) -> tuple[Request, Plan | None]:
    """The request with functions in place of server tools, and the plan for them; None when it has none.

    Raises `Rejection` for a server tool that is asked for in a way that contradicts itself.
    """
    losses = list(request.losses)
    request = _uncrowded(request, abilities.most_tools, losses)
    if not any(isinstance(tool, wire.ServerTool) for tool in request.tools):
        return request, None
    planned: dict[str, ServerTool] = {}
    missing: list[Kind] = []
    tools: list[wire.Tool] = []
    eager = sum(_kind(tool) != "tool_search" for tool in request.tools) <= abilities.most_tools
    taken = _names(request)
    for index, tool in enumerate(request.tools):
        path, kind = f"tools.{index}", _kind(tool)
        if not isinstance(tool, wire.ServerTool) or kind is None:
            loaded = eager and tool.defer_loading and _searched(request)
            tools.append(replace(tool, defer_loading=None) if loaded else tool)
        elif kind == "tool_search" and eager:
            losses.append(Loss(path, "emulated", "all tools are loaded from the start"))
        elif not _available(kind, abilities):
            missing.append(kind)
            losses.append(Loss(path, "dropped", f"no {kind} is configured"))
        else:
            served = _served(tool, kind, path, taken, losses)
            losses.append(Loss(path, "emulated", f"run by Latimer{_with(kind, abilities)}"))
            planned[served.function] = served
            tools.append(_function(served))
    plan = Plan(planned, missing, alone=bool(missing) and not tools)
    return _rewritten(request, tools, plan, losses), plan


def functions(plan: Plan) -> dict[str, str]:
    """The tools' functions by the names that the client knows."""
    return {tool.name: tool.function for tool in plan.tools.values()}


def _rewritten(request: Request, tools: list[wire.Tool], plan: Plan, losses: list[Loss]) -> Request:
    choice = request.tool_choice
    if choice and choice.type == "tool":
        name = functions(plan).get(choice.name or "", choice.name)
        choice = replace(choice, name=name) if name in {tool.name for tool in tools} else None
    messages = unfold(request.messages, functions(plan))
    return replace(request, tools=tools, tool_choice=choice, messages=messages, losses=losses)


def _uncrowded(request: Request, most: int, losses: list[Loss]) -> Request:
    """Of too many tools, as many as the provider takes and a search for the rest: MCP servers' are the first to go.

    A quarter is left free for those that are found.
    """
    open_tools = [tool for tool in request.tools if not tool.defer_loading]
    if len(open_tools) <= most or _searched(request):
        return request
    by_rank = sorted(open_tools, key=lambda tool: tool.name.startswith("mcp__"))
    kept = {tool.name for tool in by_rank[: most - most // 4 - 1]}
    tools = [tool if tool.name in kept else replace(tool, defer_loading=True) for tool in request.tools]
    why = (
        f"the provider takes {most}: {len(open_tools) - len(kept)} of {len(open_tools)} are loaded when they are found"
    )
    losses.append(Loss("tools", "emulated", why))
    return replace(request, tools=[*tools, wire.ServerTool(name=SEARCHER, type=f"{SEARCHER}_20251119")])


def _kind(tool: wire.Tool) -> Kind | None:
    match str(tool.type).split("_")[:2] if isinstance(tool, wire.ServerTool) else []:
        case ["web", "search"]:
            return "web_search"
        case ["web", "fetch"]:
            return "web_fetch"
        case ["tool", "search"]:
            return "tool_search"
        case _:
            return None


def _searched(request: Request) -> bool:
    """Whether deferred tools wait for a search that the server runs; other clients search for themselves."""
    return any(_kind(tool) == "tool_search" for tool in request.tools)


def _available(kind: Kind, abilities: Abilities) -> bool:
    return {"web_search": bool(abilities.search), "web_fetch": abilities.fetch, "tool_search": True}[kind]


def _with(kind: Kind, abilities: Abilities) -> str:
    return f" with {abilities.search}" if kind == "web_search" else ""


def _names(request: Request) -> set[str]:
    """Names that the model knows or has seen called."""
    blocks = (block for message in request.messages for block in message.blocks)
    called = {block.name for block in blocks if isinstance(block, wire.ToolUseBlock)}
    return called | {tool.name for tool in request.tools if not isinstance(tool, wire.ServerTool)}


def _served(tool: wire.ServerTool, kind: Kind, path: str, taken: set[str], losses: list[Loss]) -> ServerTool:
    if tool.allowed_domains and tool.blocked_domains:
        raise invalid(f"{path}: only one of allowed_domains and blocked_domains can be given")
    try:
        domains = Domains(parse_rules(tool.allowed_domains or ()), parse_rules(tool.blocked_domains or ()))
    except ValueError as error:
        raise invalid(f"{path}: {error}") from None
    function = tool.name or kind
    while function in taken:
        function = f"{function}_on_server"
    taken.add(function)
    if wire.given(tool.citations) and b"true" in bytes(tool.citations):
        losses.append(Loss(f"{path}.citations", "dropped", "the model is asked to name its sources in its text"))
    if tool.user_location and kind == "web_search":
        losses.append(Loss(f"{path}.user_location", "approximated", "the country is passed to backends that take it"))
    if tool.strict:
        losses.append(Loss(f"{path}.strict", "dropped", "schemas are sent as guidance, not enforced"))
    return ServerTool(kind, tool.name or kind, function, tool, domains)


def _function(tool: ServerTool) -> wire.Tool:
    description, key, meaning = DESCRIPTIONS[tool.kind]
    if tool.kind == "tool_search" and "regex" in str(tool.asked.type):
        meaning = REGEX
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: {"type": "string", "description": meaning}},
        "required": [key],
    }
    return wire.Tool(
        name=tool.function,
        input_schema=Raw(json.encode(schema)),
        description=description,
        defer_loading=tool.asked.defer_loading,
        allowed_callers=tool.asked.allowed_callers,
        cache_control=tool.asked.cache_control,
    )
