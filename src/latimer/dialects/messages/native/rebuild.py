"""A parsed request as the JSON of a Messages request again, where the gateway has changed what the client sent."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, json
from msgspec.structs import astuple, replace

from latimer.dialects.client_tools import is_client_tool
from latimer.dialects.messages.request import Message, Request
from latimer.wire import messages as wire
from latimer.wire.splice import members

_PARSED = frozenset(
    {"messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "metadata"}
)


def rebuild(request: Request, *, client_tools: bool) -> bytes:
    """The body of `POST /v1/messages` that means what the request means.

    `client_tools`: Anthropic's own client tools go as the client named them, not as the functions that stand for them.
    """
    body = {name: value for name, value in given_members(request.body).items() if name not in _PARSED}
    if request.applied_edits is not None:
        body.pop("context_management", None)
    parsed: dict[str, Any] = {
        "system": [_block(block) for block in request.system if block.text],
        "messages": [_message(message, edited=bool(request.applied_edits)) for message in request.messages],
        "tools": _tools(request, client_tools=client_tools),
        "tool_choice": _choice(request, client_tools=client_tools),
        "thinking": given_members(request.thinking) if request.thinking else None,
        "output_config": _nested(request.output_config),
        "metadata": {"user_id": request.user_id} if request.user_id is not None else None,
    }
    return json.encode(body | {name: value for name, value in parsed.items() if value or name == "messages"})


def _choice(request: Request, *, client_tools: bool) -> Any:
    """A member of a toolset in the client's own words where the toolset goes as it is."""
    if client_tools and request.members and request.tool_choice:
        return request.body.tool_choice
    return given_members(request.tool_choice) if request.tool_choice else None


def given_members(struct: Struct) -> dict[str, Any]:
    """The members of a struct that say something."""
    values = zip(struct.__struct_encode_fields__, astuple(struct), strict=True)
    return {name: value for name, value in values if value is not None and value != wire.NULL}


def _nested(config: wire.OutputConfig) -> dict[str, Any]:
    given = given_members(config)
    return given | ({"format": {"type": "json_schema", "schema": config.format.schema}} if config.format else {})


def _message(message: Message, *, edited: bool) -> dict[str, Any]:
    said = message.blocks
    if edited:  # which leaves an empty text in the place of thinking, and the API refuses those
        said = [block for block in said if not (isinstance(block, wire.TextBlock) and not block.text)] or said
    written: dict[str, Any] = {"role": message.role, "content": [_block(block) for block in said]}
    if message.effort is not None:
        written["output_config"] = {"effort": message.effort}
    if message.clear_at is not None:
        written["clear_at"] = message.clear_at
    return written


def _block(block: wire.RequestBlock) -> Any:
    if isinstance(block, wire.UnknownBlock):
        return Raw(block.raw)
    return {"type": block.__struct_config__.tag, **given_members(block)}


def _tools(request: Request, *, client_tools: bool) -> list[Any]:
    """Tools as the request has them now; a client tool once, in the place of its first function."""
    written: list[Any] = []
    own = {f"tools.{index}": raw for index, raw in enumerate(request.body.tools or ()) if client_tools and _is_own(raw)}
    for tool in request.tools:
        path = ".".join(request.tool_paths.get(tool.name, "").split(".")[:2])
        raw = own.get(path)
        if raw is None:
            # A server tool has no schema; that of the type is only its default.
            server = isinstance(tool, wire.ServerTool)
            written.append(given_members(replace(tool, input_schema=wire.NULL) if server else tool))
        elif raw not in written:
            written.append(raw)
    return written


def _is_own(raw: Raw) -> bool:
    kind = json.decode(members(raw).get("type", wire.NULL))
    return isinstance(kind, str) and is_client_tool(kind)
