"""Arguments of tool calls: fragments of one JSON object, most of the time."""

from __future__ import annotations

from msgspec import Raw, json

from latimer.wire.json_text import UNREADABLE, mend_surrogates

_object: json.Decoder[dict[str, Raw]] = json.Decoder(dict[str, Raw])
_any: json.Decoder[Raw] = json.Decoder(Raw)


class MalformedArguments(ValueError):
    """Arguments that are not JSON, so that running the call would be a guess."""


def is_object(text: str) -> bool:
    """Whether the arguments are one complete JSON object."""
    return text.rstrip().endswith("}") and _is_object(_bytes(text))


def normalize(text: str) -> str:
    """The arguments as a JSON object's text: an object as it is, nothing or `null` as `{}`, a string that holds
    arguments unwrapped, any other value under `value`. Raises `MalformedArguments`.
    """
    raw = _bytes(text)
    try:
        if raw.lstrip().startswith(b'"'):
            raw = _bytes(json.decode(raw))
        if raw.strip() in (b"", b"null"):
            return "{}"
        value = bytes(_any.decode(raw))
    except UNREADABLE as error:
        raise MalformedArguments(str(error)) from error
    return (value if _is_object(value) else b'{"value":%s}' % value).decode()


def _is_object(raw: bytes) -> bool:
    try:
        _object.decode(raw)
    except UNREADABLE:
        return False
    return True


def _bytes(text: str) -> bytes:
    return mend_surrogates(text.encode("utf-8", "replace"))
