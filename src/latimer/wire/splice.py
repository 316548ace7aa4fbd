"""Changes in JSON text that leave every other byte as it was, white space, order and escapes included.

The reader already knows how long each value is, so only keys and what stands between values is looked at: a change in a
body of a megabyte costs no scan of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Raw, json

_object: json.Decoder[dict[str, Raw]] = json.Decoder(dict[str, Raw])
_array: json.Decoder[list[Raw]] = json.Decoder(list[Raw])

_SPACE = re.compile(rb"[ \t\n\r]*")
_KEY = re.compile(rb'[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)


class _Repeated(ValueError):
    """A key stands twice in an object."""


def members(raw: bytes | Raw) -> dict[str, Raw]:
    """The members of an object, raw; of a repeated key the last. Raises one of `json_text.UNREADABLE`."""
    return _object.decode(raw)


def items(raw: bytes | Raw) -> list[Raw]:
    """The items of an array, raw. Raises one of `json_text.UNREADABLE`."""
    return _array.decode(raw)


def splice(raw: bytes | Raw, changes: Mapping[str, bytes | None]) -> bytes:
    """The object `raw` with some members changed: JSON is the new value, None takes the member out. New members come
    last.

    An object in which a key stands twice is written anew with the last of them, as most readers take it, so that no
    other reader can take the first. Raises one of `json_text.UNREADABLE`.
    """
    text = bytes(raw)
    if not changes:
        return text
    found = members(text)
    try:
        places = _members(text, found)
    except _Repeated:
        text = b"{" + b",".join(json.encode(key) + b":" + bytes(value) for key, value in found.items()) + b"}"
        places = _members(text, found)
    spans = [(start, end) for start, _, end in places]
    pieces = [
        _piece(text[start:value], changes[key] if key in changes else text[value:end])
        for key, (start, value, end) in zip(found, places, strict=True)
    ]
    added = [json.encode(key) + b":" + new for key, new in changes.items() if key not in found and new is not None]
    return _joined(text, spans, pieces, added)


def splice_items(raw: bytes | Raw, changes: Mapping[int, Sequence[bytes]]) -> bytes:
    """The array `raw` with some items changed, each into as many as are given: none, one or several.

    Raises one of `json_text.UNREADABLE`.
    """
    text = bytes(raw)
    if not changes:
        return text
    spans: list[tuple[int, int]] = []
    at = _skip(text, 0) + 1
    for item in items(text):
        start = _skip(text, at)
        at = start + memoryview(item).nbytes
        spans.append((start, at))
        at = _skip(text, at) + 1
    pieces = [
        (b",".join(changes[index]) or None) if index in changes else text[start:end]
        for index, (start, end) in enumerate(spans)
    ]
    return _joined(text, spans, pieces, [])


def _members(text: bytes, found: Mapping[str, Raw]) -> list[tuple[int, int, int]]:
    """Where each member's key begins, its value begins and its value ends."""
    places: list[tuple[int, int, int]] = []
    at = _skip(text, 0) + 1
    for key, value in found.items():
        match = _KEY.match(text, at)
        if match is None or json.decode(match[1]) != key or not text.startswith(memoryview(value), match.end()):
            raise _Repeated
        end = match.end() + memoryview(value).nbytes
        places.append((match.start(1), match.end(), end))
        at = _skip(text, end) + 1
    if found and text[at - 1 : at] != b"}":
        raise _Repeated
    return places


def _piece(head: bytes, value: bytes | None) -> bytes | None:
    return None if value is None else head + value


def _skip(text: bytes, at: int) -> int:
    """Where the white space that begins there ends."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _joined(text: bytes, spans: list[tuple[int, int]], pieces: list[bytes | None], added: list[bytes]) -> bytes:
    """The text with a piece in each span's place. A piece that is None goes with the separator before it, the first
    one with the one after it."""
    opening = _skip(text, 0) + 1
    if not spans:
        return text[:opening] + b",".join(added) + text[opening:]
    between = [b"", *(text[end:start] for (_, end), (start, _) in pairwise(spans))]
    out = [text[: spans[0][0]]]
    empty = True
    for separator, piece in zip([*between, *[b","] * len(added)], [*pieces, *added], strict=True):
        if piece is not None:
            out += [piece] if empty else [separator, piece]
            empty = False
    return b"".join([*out, text[spans[-1][1] :]])
