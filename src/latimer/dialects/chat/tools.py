"""Tools: their names, schemas, ids, and which of them the model may see."""

from __future__ import annotations

import hashlib
import re
import string
from functools import lru_cache
from typing import Any

from msgspec import Raw, json

from latimer.dialects.messages.request import Request
from latimer.errors import invalid
from latimer.profile import ToolRules
from latimer.wire import messages as wire

from .context import Context

LEGAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""https://platform.openai.com/docs/api-reference/chat/create, `tools[].function.name`."""
_ALPHABET = string.ascii_letters + string.digits


def upstream_name(name: str) -> str:
    """A legal function name: the tool's own, or its beginning with a hash, unique and the same every turn."""
    if LEGAL_NAME.fullmatch(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:55]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def restored_names(request: Request) -> dict[str, str]:
    """Upstream names back to the client's, for those that had to change."""
    names = {tool.name for tool in request.tools}
    return {upstream_name(name): name for name in names if upstream_name(name) != name}


def upstream_id(call_id: str, rules: ToolRules) -> str:
    """The id a call and its result have upstream: the client's own if the upstream takes it, else a hash of it."""
    return call_id if re.fullmatch(rules.id_pattern, call_id) else hash_text(call_id, 9)


def hash_text(text: str, length: int) -> str:
    """`length` letters and digits that depend on `text` alone."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    chars = []
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        chars.append(_ALPHABET[place])
    return "".join(chars)


def loaded_names(request: Request) -> list[str]:
    """Names that `tool_reference` blocks have brought in so far, in order of first reference."""
    results = (
        block
        for message in request.messages
        for block in message.blocks
        if isinstance(block, wire.ToolResultBlock) and isinstance(block.content, list)
    )
    names: dict[str, None] = {}
    for raw in (raw for block in results for raw in block.content or ()):
        if isinstance(raw, Raw) and b'"tool_reference"' in bytes(raw):
            names[json.decode(raw).get("tool_name", "")] = None
    return list(names)


def visible_tools(request: Request, context: Context) -> list[wire.Tool]:
    """Tools the model may know: those that are not deferred, then deferred ones in the order they were loaded.

    Claude Code inserts a loaded tool in the middle of its list; appending it keeps the upstream's cached prefix.
    """
    shown = []
    loaded = {name: place for place, name in enumerate(loaded_names(request))}
    late = []
    for index, tool in enumerate(request.tools):
        if tool.allowed_callers and "direct" not in tool.allowed_callers:
            context.lose(f"tools.{index}", "only code that runs at Anthropic may call this tool")
        elif not tool.defer_loading:
            shown.append(tool)
        elif tool.name in loaded:
            late.append(tool)
        else:
            context.lose(f"tools.{index}.defer_loading", "hidden until a tool_reference names it", "emulated")
    return shown + sorted(late, key=lambda tool: loaded[tool.name])


def encode_tools(request: Request, context: Context) -> list[dict[str, Any]]:
    """The `tools` of the request, [] when the model sees none."""
    for index, tool in enumerate(request.tools):
        context.lose_if_given(f"tools.{index}.cache_control", tool.cache_control, "tools carry no cache marks here")
        if tool.strict:
            context.lose(f"tools.{index}.strict", "schemas are sent as guidance, not enforced")
        if wire.given(tool.input_examples):
            context.lose(f"tools.{index}.input_examples", "added to the description", "emulated")
    return [
        {"type": "function", "function": function_definition(tool, context.profile.tools)}
        for tool in visible_tools(request, context)
    ]


def function_definition(tool: wire.Tool, rules: ToolRules) -> dict[str, Any]:
    """A tool as OpenAI's `function` object."""
    description = tool.description or ""
    if wire.given(tool.input_examples):
        description = f"{description}\n\nExamples: {bytes(tool.input_examples).decode()}".strip()
    definition: dict[str, Any] = {"name": upstream_name(tool.name)}
    if description:
        definition["description"] = description
    definition["parameters"] = Raw(object_schema(bytes(tool.input_schema), rules.drop_keywords))
    return definition


@lru_cache(maxsize=1024)
def object_schema(raw: bytes, drop: frozenset[str]) -> bytes:
    """A schema that every server takes as parameters: an object with properties, without the keywords in `drop`.

    Remembered, since the same schemas come with every request of a session.
    """
    try:
        schema = json.decode(raw)
    except ValueError as error:
        raise invalid(f"tools: input_schema is not valid JSON: {error}") from error
    if not isinstance(schema, dict):
        raise invalid("tools: input_schema must be an object")
    pruned: dict[str, Any] = _prune(schema, drop)
    pruned.setdefault("type", "object")
    if pruned["type"] == "object":
        pruned.setdefault("properties", {})
    return json.encode(pruned) if pruned != schema else raw


def _prune(node: Any, drop: frozenset[str], *, names: bool = False) -> Any:
    """Drop keywords at any depth, but never a property that merely has a keyword's name."""
    if isinstance(node, list):
        return [_prune(item, drop) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _prune(value, drop, names=not names and key in ("properties", "$defs", "definitions", "patternProperties"))
        for key, value in node.items()
        if names or key not in drop
    }


def choice_fields(request: Request, context: Context) -> dict[str, Any]:
    """`tool_choice` and `parallel_tool_calls`, for a request that has tools."""
    fields: dict[str, Any] = {}
    if request.one_call and context.profile.tools.parallel:
        fields["parallel_tool_calls"] = False
    choice = request.tool_choice
    if choice is None:
        return fields
    wanted = {"auto": "auto", "none": "none", "any": "required", "tool": "named"}[choice.type]
    rules = context.profile.tools
    if wanted not in rules.choices:
        context.lose("tool_choice", f"the provider does not take {choice.type!r}, sent as auto", "approximated")
        wanted = "auto"
    match wanted:
        case "named":
            name = upstream_name(choice.name or "")
            fields["tool_choice"] = {"type": "function", "function": {"name": name}}
        case "required":
            fields["tool_choice"] = rules.required_word
        case _:
            fields["tool_choice"] = wanted
    return fields
