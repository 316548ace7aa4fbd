"""JSON text that is not quite JSON."""

from __future__ import annotations

import re
from typing import TypeVar

from msgspec import MsgspecError, json

T = TypeVar("T")

UNREADABLE = (MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding others' bytes may raise: not JSON or not of the type, not UTF-8, nested too deeply."""

_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: kept
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"  # half of one
    rb"|\\[^u]"  # any other escape, so that an escaped backslash is not read as the start of one
)
_REPLACEMENT = rb"\ufffd"


def mend_surrogates(raw: bytes) -> bytes:
    r"""Replace lone surrogate escapes (`"\ud83d"`) by U+FFFD, as JavaScript's `toWellFormed` does.

    JavaScript writes them when it cut a string inside an emoji; no JSON reader that checks takes them.
    """
    # A search takes 0.2 ms in half a megabyte, and most requests have no such escape at all.
    if b"\\u" not in raw or (b"\\ud" not in raw and b"\\uD" not in raw):
        return raw
    return _ESCAPE.sub(_mend, raw)


def decode_mended(decoder: json.Decoder[T], raw: bytes) -> T:
    """`raw` decoded, its lone surrogates mended only if there is a need. Raises one of `UNREADABLE`."""
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return decoder.decode(mend_surrogates(raw))


def _mend(match: re.Match[bytes]) -> bytes:
    text = match.group()
    return _REPLACEMENT if len(text) == 6 else text


def unparsed_input(text: str) -> dict[str, object]:
    """What stands for arguments that are no JSON: Claude Code's own form, which no tool takes for its input."""
    return {"__unparsedToolInput": {"raw": text, "len": len(text)}}
