"""Server tools in a conversation, told to the model as calls of functions and their results.

One assistant message of the client's holds what were several of the model's. Taking it apart gives back the very
messages of the turn's own rounds, so the upstream's cached prefix holds from round to round and from turn to turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Raw, json
from msgspec.structs import replace

from latimer.dialects.messages.request import Message
from latimer.wire import messages as wire

from .results import RESULT_TYPES, tool_result


def unfold(messages: Iterable[Message], functions: Mapping[str, str]) -> list[Message]:
    """The messages with the blocks of server tools as calls and results.

    `functions` are the names under which the model knows the tools; blocks of others stay as they are.
    """
    return [piece for message in messages for piece in _pieces(message, functions)]


def _pieces(message: Message, functions: Mapping[str, str]) -> list[Message]:
    if message.role != "assistant" or not any(_is_call(block) for block in message.blocks):
        return [message]
    pieces: list[Message] = []
    said: list[wire.RequestBlock] = []
    results: list[wire.RequestBlock] = []
    known: set[str] = set()
    for block in message.blocks:
        value = json.decode(block.raw) if isinstance(block, wire.UnknownBlock) else {}
        if value.get("type") in RESULT_TYPES and str(value.get("tool_use_id")) in known:
            results.append(tool_result(value))
            continue
        if results:
            pieces += _piece(message, said, results)
            said, results = [], []
        call = _call(value, functions)
        if call is not None:
            known.add(call.id)
        said.append(call or block)
    return pieces + _piece(message, said, results)


def _piece(message: Message, said: list[wire.RequestBlock], results: list[wire.RequestBlock]) -> list[Message]:
    piece = [replace(message, blocks=said)] if said else []
    return [*piece, Message(message.index, "user", results)] if results else piece


def _is_call(block: wire.RequestBlock) -> bool:
    return isinstance(block, wire.UnknownBlock) and block.type == "server_tool_use"


def _call(value: dict[str, Any], functions: Mapping[str, str]) -> wire.ToolUseBlock | None:
    match value:
        case {"type": "server_tool_use", "id": str(identity), "name": str(name)} if name in functions:
            return wire.ToolUseBlock(identity, functions[name], Raw(json.encode(value.get("input") or {})))
        case _:
            return None
