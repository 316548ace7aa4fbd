"""Content blocks on their way to an upstream that speaks Messages: as they are, without a member, or as text."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, json
from msgspec.structs import replace

from latimer.dialects.client_tools import function_name
from latimer.dialects.content import referenced_tool, user_parts
from latimer.dialects.context import Context
from latimer.dialects.messages.admit import admit_block
from latimer.dialects.messages.slots import FOREIGN_REASONING
from latimer.dialects.parts import ImagePart, Part, TextPart
from latimer.dialects.sealing import PREFIX
from latimer.wire import messages as wire
from latimer.wire.splice import items, members, splice, splice_items

NOT_TAKEN = "the provider does not take it"
MARK = "cache_control"
THINKING = frozenset({"thinking", "redacted_thinking"})

CLASSIC: dict[str, frozenset[str]] = {
    "text": frozenset({"text"}),
    "image": frozenset({"source"}),
    "document": frozenset({"source", "title", "context", "citations"}),
    "search_result": frozenset({"source", "title", "content", "citations"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "tool_use": frozenset({"id", "name", "input"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error"}),
    "tool_reference": frozenset({"tool_name"}),
}
"""Members of each block beside `type` and a cache mark that API version 2023-06-01 has without a beta."""

_INNER: dict[type, str] = {wire.DocumentBlock: ".source.content.*", wire.SearchResultBlock: ".content.*"}
"""Where blocks that are told as text have blocks of their own."""
_EMPTY = (b"null", b"[]", b"{}", b'""')


def carried_block(raw: Raw, path: str, context: Context) -> list[bytes] | None:
    """What goes in a block's place: none, one or several blocks; None for the block as it is."""
    found = members(raw)
    kind = _text(found.get("type"))
    if kind in THINKING:
        return _thinking(raw, found, kind, path, context)
    if not context.profile.native.takes_block(kind) or _unseen(found, kind, context):
        return _told(raw, path, context)
    changes = without_new_members(found, CLASSIC.get(kind), path, context) | changed_mark(found, path, context)
    if kind == "tool_use" and "toolset_name" in changes:
        toolset = _text(found["toolset_name"])
        changes["name"] = json.encode(function_name(_text(found.get("name")), toolset or None))
    if kind == "tool_result" and (content := _result(found.get("content"), path, context)):
        changes["content"] = content
    return [splice(raw, changes)] if changes else None


def without_new_members(
    found: dict[str, Raw], classic: frozenset[str] | None, path: str, context: Context
) -> dict[str, bytes | None]:
    """The changes that leave an object its classic members; None of them: nobody knows which they are."""
    if context.profile.native.new_members or classic is None:
        return {}
    gone = [name for name in found if name not in classic and name not in ("type", MARK)]
    for name in gone:
        if bytes(found[name]) not in _EMPTY:
            context.lose(f"{path}.{name}", NOT_TAKEN)
    return dict.fromkeys(gone)


def changed_mark(found: dict[str, Raw], path: str, context: Context) -> dict[str, bytes | None]:
    """The change of an object's cache mark, if there is to be one."""
    mark = found.get(MARK)
    if mark is None:
        return {}
    kept = context.cache_mark(path, mark)
    if kept is None:
        return {MARK: None}
    plain = plain_mark(kept, path, context)
    return {} if plain == bytes(kept) else {MARK: plain}


def plain_mark(mark: Raw, path: str, context: Context) -> bytes:
    """A cache mark with what the upstream takes of it."""
    rules = context.profile.native
    found = members(mark)
    gone = [name for name in found if name != "type" and not (rules.cache_ttl if name == "ttl" else rules.new_members)]
    for name in gone:
        if bytes(found[name]) not in (*_EMPTY, b'"5m"'):
            context.lose(f"{path}.{MARK}.{name}".lstrip("."), NOT_TAKEN)
    return splice(mark, dict.fromkeys(gone))


def as_blocks(parts: list[Part]) -> list[bytes]:
    """Parts as content blocks."""
    return [json.encode(_as_block(part)) for part in parts]


def _as_block(part: Part) -> dict[str, Any]:
    mark = {MARK: part.mark} if part.mark is not None else {}
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text, **mark}
        case ImagePart(url=url) if url.startswith("data:"):
            media_type, _, data = url.removeprefix("data:").partition(";base64,")
            return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}, **mark}
        case ImagePart(url=url):
            return {"type": "image", "source": {"type": "url", "url": url}, **mark}
        case _:
            data = part.url.partition(";base64,")[2]
            source = {"type": "base64", "media_type": "application/pdf", "data": data}
            return {"type": "document", "source": source, "title": part.name, **mark}


def _thinking(raw: Raw, found: dict[str, Raw], kind: str, path: str, context: Context) -> list[bytes] | None:
    """A provider's own thinking must come back to it unmodified; what another signed, or Latimer sealed for another
    API, says nothing to this one.
    """
    signature = _text(found.get("signature" if kind == "thinking" else "data"))
    if signature.startswith(PREFIX) or signature in context.foreign:
        context.lose(path, FOREIGN_REASONING)
        return []
    if not context.profile.native.takes_block(kind):
        context.lose(path, NOT_TAKEN)
        return []
    changes = without_new_members(found, CLASSIC[kind], path, context)
    return [splice(raw, changes)] if changes else None


def _unseen(found: dict[str, Raw], kind: str, context: Context) -> bool:
    """Whether the upstream takes images, but not this one."""
    if kind != "image":
        return False
    source = _text(members(found["source"]).get("type")) if "source" in found else ""
    if not context.profile.sees:
        return True
    return source == "url" and not context.profile.media.image_urls


def _told(raw: Raw, path: str, context: Context) -> list[bytes]:
    """A block in blocks that the upstream takes."""
    block = admit_block(raw, path, context.losses)
    match block:
        case wire.ToolReferenceBlock():
            mark = context.cache_mark(path, block.cache_control)
            parts: list[Part] = [TextPart(referenced_tool(block, path, context), mark)]
        case _:
            parts = user_parts(block, path, context)
    own = getattr(block, "cache_control", None)
    inner = path + _INNER.get(type(block), "")
    return as_blocks([plainly_marked(part, path if part.mark == own else inner, context) for part in parts])


def plainly_marked(part: Part, path: str, context: Context) -> Part:
    """A part with what the upstream takes of its cache mark."""
    if part.mark is None:
        return part
    return replace(part, mark=Raw(plain_mark(part.mark, path, context)))


def _result(content: Raw | None, path: str, context: Context) -> bytes | None:
    """The content of a tool result, None for what need not change."""
    if content is None or not is_array(content):
        return None
    changes = {
        place: blocks
        for place, raw in enumerate(items(content))
        if (blocks := carried_block(raw, f"{path}.content.{place}", context)) is not None
    }
    return splice_items(content, changes) if changes else None


def _text(raw: Raw | None) -> str:
    """A member that is text, '' when it is none."""
    value = json.decode(raw) if raw is not None else ""
    return value if isinstance(value, str) else ""


def is_array(raw: Raw) -> bool:
    """Whether raw JSON is an array."""
    return memoryview(raw)[0] == ord("[")
