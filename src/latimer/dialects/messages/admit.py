"""Lenient typed decoding: what the types do not know is stripped and reported, what they know must have its type.

Claude Code's wire grows every month, so an unknown field must never fail a request, and must never reach an upstream.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Raw, Struct, ValidationError, json
from msgspec.structs import fields

from latimer.errors import Rejection, invalid
from latimer.report import Loss
from latimer.wire import messages as wire
from latimer.wire.json_text import UNREADABLE

T = TypeVar("T")

UNKNOWN_FIELD = "Latimer does not know this field"
_raw_fields: json.Decoder[dict[str, Raw]] = json.Decoder(dict[str, Raw])
_known_block: json.Decoder[wire.KnownBlock] = json.Decoder(wire.KnownBlock)
BLOCK_TYPES: dict[str, type[Struct]] = {str(kind.__struct_config__.tag): kind for kind in get_args(wire.KnownBlock)}


_decoders: dict[Any, json.Decoder[Any]] = {}


def _decode(raw: bytes | Raw, kind: type[T]) -> T:
    """`raw` by the one compiled decoder of its type."""
    if kind not in _decoders:
        _decoders[kind] = json.Decoder(kind)
    decoder: json.Decoder[T] = _decoders[kind]
    return decoder.decode(raw)


def admit(raw: bytes | Raw, kind: type[T], path: str, losses: list[Loss]) -> T:
    """`raw` as a `kind`, unknown fields stripped at any depth and added to `losses`.

    Raises `Rejection` (400) naming the path when a known field has a wrong type.
    """
    try:
        return _decode(raw, kind)
    except ValidationError:
        pass
    except UNREADABLE as error:
        raise _not_json(path, error) from error
    try:
        return _decode(_strip(raw, kind, path, losses), kind)
    except ValidationError as error:
        raise invalid(_explain(path, error)) from error
    except UNREADABLE as error:
        raise _not_json(path, error) from error


def admit_block(raw: bytes | Raw, path: str, losses: list[Loss]) -> wire.RequestBlock:
    """A content block; one of an unknown type comes back as `UnknownBlock`, its raw JSON kept."""
    try:
        return _known_block.decode(raw)
    except ValidationError:
        kind = block_type(raw)
        known = BLOCK_TYPES.get(kind)
        if known is None:
            return _unknown(raw, kind, path)
        block: wire.KnownBlock = admit(raw, known, path, losses)  # type: ignore[assignment]  # one of KnownBlock's own
        return block
    except UNREADABLE as error:
        raise _not_json(path, error) from error


def _unknown(raw: bytes | Raw, kind: str, path: str) -> wire.UnknownBlock:
    if not kind:
        raise invalid(f"{path}: a content block is an object with a `type`")
    try:
        json.decode(raw)  # what is inside is read later, where nobody expects it to be broken
    except UNREADABLE as error:
        raise _not_json(path, error) from error
    return wire.UnknownBlock(kind, bytes(raw))


def block_type(raw: bytes | Raw) -> str:
    """The `type` of a JSON object, '' when there is none."""
    try:
        value = json.decode(_raw_fields.decode(raw).get("type", Raw(b'""')))
    except UNREADABLE:
        return ""
    return value if isinstance(value, str) else ""


def _strip(raw: bytes | Raw, kind: Any, path: str, losses: list[Loss]) -> bytes:
    """`raw` without the fields that `kind` does not have; unchanged when it is no object."""
    structs = _structs_in(kind)
    try:
        given = _raw_fields.decode(raw)
    except ValidationError:
        return bytes(raw)
    if (values := _values_in(kind)) is not None:
        stripped = {name: Raw(_strip(value, values, f"{path}.{name}", losses)) for name, value in given.items()}
        return json.encode(stripped)
    chosen = _choose(structs, given)
    if chosen is None:
        return bytes(raw)
    hints = _hints(chosen)
    tag_field = chosen.__struct_config__.tag_field
    parts: list[bytes] = []
    for name, value in given.items():
        where = f"{path}.{name}" if path else name
        if name in hints:
            parts.append(json.encode(name) + b":" + _strip(value, hints[name], where, losses))
        elif name == tag_field:
            parts.append(json.encode(name) + b":" + bytes(value))
        else:
            losses.append(Loss(where, "dropped", UNKNOWN_FIELD))
    return b"{" + b",".join(parts) + b"}"


def _choose(structs: list[type[Struct]], given: dict[str, Raw]) -> type[Struct] | None:
    """The member of a tagged union that the object's tag names, or the only struct there is."""
    for struct in structs:
        tag_field, tag = struct.__struct_config__.tag_field, struct.__struct_config__.tag
        if tag_field is None or given.get(tag_field) == Raw(json.encode(tag)):
            return struct
    return None


@cache
def _hints(struct: type[Struct]) -> dict[str, Any]:
    types = get_type_hints(struct)
    return {field.encode_name: types[field.name] for field in fields(struct)}


def _structs_in(kind: Any) -> list[type[Struct]]:
    members = get_args(kind) if getattr(kind, "__origin__", None) is Union or get_args(kind) else (kind,)
    return [member for member in members if isinstance(member, type) and issubclass(member, Struct)]


def _values_in(kind: Any) -> Any:
    """The type of a mapping's values; None for what is no mapping."""
    mappings = [member for member in (kind, *get_args(kind)) if get_origin(member) is dict]
    return get_args(mappings[0])[1] if mappings else None


def _not_json(path: str, error: Exception) -> Rejection:
    return invalid(f"{path or 'request body'}: not valid JSON: {error}")


def _explain(path: str, error: ValidationError) -> str:
    """msgspec's `Expected `int`, got `str` - at `$.max_tokens`` in the words of the API's own errors."""
    message, _, where = str(error).partition(" - at `$")
    full = f"{path}{where.rstrip('`')}".lstrip(".") or "request body"
    return f"{full}: {message}"
