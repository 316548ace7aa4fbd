"""What the wire types cost in each library: `python -m bench.wire_types` (docs/decisions/0003).

One thread, microseconds of CPU per operation, the best of several repeats. pydantic, which is no dependency of ours,
is measured if it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections.abc import Callable
from types import GenericAlias
from typing import Any

import msgspec

from bench import bodies, script

REPEATS = 7
CHUNK = script.events("text", 2)[1][1].removeprefix(b"data: ").strip()
BODY = bodies.http("messages", True, 500_000).partition(b"\r\n\r\n")[2]
EVENT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "quick "}}


class Delta(msgspec.Struct, frozen=True, gc=False):
    """What a chat chunk's delta may hold."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One choice of a chat chunk."""

    index: int = 0
    delta: Delta = Delta()
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A chat chunk; fields that are not named are skipped without being built."""

    id: str = ""
    model: str = ""
    choices: list[Choice] = []
    usage: msgspec.Raw | None = None


class TextDelta(msgspec.Struct, tag="text_delta", gc=False):
    """The delta of an Anthropic event."""

    text: str


class BlockDelta(msgspec.Struct, tag="content_block_delta", gc=False):
    """The event that there is one of per token."""

    index: int
    delta: TextDelta


class Tool(msgspec.Struct):
    """A tool; its schema passes through unread."""

    name: str
    description: str = ""
    input_schema: msgspec.Raw = msgspec.Raw(b"{}")


class Block(msgspec.Struct):
    """Any block of a message, the union of the fields we look at."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    tool_use_id: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    content: str | list[msgspec.Raw] = ""


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class Request(msgspec.Struct):
    """An Anthropic request."""

    model: str
    messages: list[Message]
    max_tokens: int = 0
    stream: bool = False
    system: str | list[Block] = ""
    tools: list[Tool] = []


def cost(operation: Callable[[], object]) -> float:
    """CPU microseconds of one `operation`: the best of several repeats of at least 50 ms each."""
    number, best = 1, float("inf")
    while True:
        began = time.process_time()
        for _ in range(number):
            operation()
        spent = time.process_time() - began
        if spent > 0.05:
            break
        number *= 2
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(number):
            operation()
        best = min(best, time.process_time() - began)
    return best / number * 1e6


def _msgspec() -> dict[str, Callable[[], object]]:
    chunk, request = msgspec.json.Decoder(Chunk), msgspec.json.Decoder(Request)
    encoder = msgspec.json.Encoder()
    text = msgspec.json.Encoder().encode
    prefix = b"event: content_block_delta\ndata: " + encoder.encode(BlockDelta(0, TextDelta(""))).removesuffix(b'""}}')
    parsed = request.decode(BODY)
    return {
        "decode a chat chunk": lambda: chunk.decode(CHUNK),
        "encode an Anthropic event": lambda: (
            b"event: content_block_delta\ndata: " + encoder.encode(BlockDelta(0, TextDelta("quick "))) + b"\n\n"
        ),
        "the same, prefix kept per block": lambda: prefix + text("quick ") + b"}}\n\n",
        "decode a 500 KB request": lambda: request.decode(BODY),
        "encode it again": lambda: encoder.encode(parsed),
    }


def _msgspec_dict() -> dict[str, Callable[[], object]]:
    decoder, encoder = msgspec.json.Decoder(), msgspec.json.Encoder()
    parsed = decoder.decode(BODY)
    return {
        "decode a chat chunk": lambda: decoder.decode(CHUNK),
        "encode an Anthropic event": lambda: (
            b"event: content_block_delta\ndata: " + encoder.encode(_event("quick ")) + b"\n\n"
        ),
        "decode a 500 KB request": lambda: decoder.decode(BODY),
        "encode it again": lambda: encoder.encode(parsed),
    }


def _event(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def _json() -> dict[str, Callable[[], object]]:
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    parsed = json.loads(BODY)
    return {
        "decode a chat chunk": lambda: json.loads(CHUNK),
        "encode an Anthropic event": lambda: (
            b"event: content_block_delta\ndata: " + encode(_event("quick ")).encode() + b"\n\n"
        ),
        "decode a 500 KB request": lambda: json.loads(BODY),
        "encode it again": lambda: encode(parsed).encode(),
    }


def _pydantic() -> dict[str, Callable[[], object]]:
    model: Any = importlib.import_module("pydantic").create_model

    def listed(item: object) -> Any:
        return GenericAlias(list, (item,))

    delta = model(
        "D", content=(str | None, None), reasoning_content=(str | None, None), tool_calls=(list[Any] | None, None)
    )
    choice = model("C", index=(int, 0), delta=(delta, delta()), finish_reason=(str | None, None))
    chunk = model("Chunk", id=(str, ""), model=(str, ""), choices=(listed(choice), []), usage=(Any, None))
    text = model("T", type=(str, "text_delta"), text=(str, ...))
    event = model("E", type=(str, "content_block_delta"), index=(int, ...), delta=(text, ...))
    block = model(
        "B",
        type=(str, ...),
        text=(str, ""),
        id=(str, ""),
        name=(str, ""),
        tool_use_id=(str, ""),
        input=(Any, None),
        content=(str | list[Any], ""),
    )
    tool = model("Tool", name=(str, ...), description=(str, ""), input_schema=(Any, None))
    turn = model("M", role=(str, ...), content=(str | listed(block), ...))
    request = model(
        "R",
        model=(str, ...),
        messages=(listed(turn), ...),
        max_tokens=(int, 0),
        stream=(bool, False),
        system=(str | listed(block), ""),
        tools=(listed(tool), []),
    )
    parsed = request.model_validate_json(BODY)
    return {
        "decode a chat chunk": lambda: chunk.model_validate_json(CHUNK),
        "encode an Anthropic event": lambda: (
            b"event: content_block_delta\ndata: "
            + event(index=0, delta=text(text="quick ")).model_dump_json().encode()
            + b"\n\n"
        ),
        "decode a 500 KB request": lambda: request.model_validate_json(BODY),
        "encode it again": lambda: parsed.model_dump_json().encode(),
    }


def main() -> None:
    """Print the table."""
    libraries = {"msgspec structs": _msgspec(), "msgspec, dicts": _msgspec_dict(), "json, dicts": _json()}
    if importlib.util.find_spec("pydantic"):
        libraries["pydantic models"] = _pydantic()
    print(f"{'us CPU each':34}" + "".join(f"{name:>18}" for name in libraries))
    for operation in libraries["msgspec structs"]:
        cells = [
            f"{cost(library[operation]):18.2f}" if operation in library else f"{'-':>18}"
            for library in libraries.values()
        ]
        print(f"{operation:34}" + "".join(cells))


if __name__ == "__main__":
    main()
