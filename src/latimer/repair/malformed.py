"""JSON that is malformed, read as what it can only have meant.

The library guesses freely. It is believed where its guess has every word of the text in the same order and no more,
and where the text was not cut: an open string is never closed, since half of a command would then be run.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import json

from latimer.wire.json_text import UNREADABLE

MAX_CHARS = 256 * 1024
"""Longer text is not tried: the library's time grows faster than the text."""
_FENCE = re.compile(r"\s*```[a-z]*\s*\n?(.*?)\s*```\s*", re.DOTALL)
_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')
_WORDS = re.compile(r"[^\W_]+")


class Malformed(ValueError):
    """Text that has no one meaning."""


def unfenced(text: str) -> str:
    """What stands in a code fence, if the text is nothing else."""
    fenced = _FENCE.fullmatch(text)
    return fenced[1] if fenced else text


def mend(text: str) -> Any:
    """The value that malformed JSON stands for. Raises `Malformed`."""
    text = text.strip()
    if len(text) > MAX_CHARS or text[-1:] not in ("}", "]"):
        raise Malformed("it does not end where an object ends")
    # Imported when first needed: most sessions never see malformed JSON.
    from json_repair import repair_json  # noqa: PLC0415

    try:
        value = repair_json(text, return_objects=True, skip_json_loads=True)
        meant = json.encode(value).decode()
    except (*UNREADABLE, ValueError, TypeError) as error:
        raise Malformed(str(error)) from error
    if _words(meant) != _words(text):
        raise Malformed("no reading keeps every word")
    if any(meant.count(closer) > text.count(closer) for closer in "}]"):
        raise Malformed("it was cut")
    return value


def _words(text: str) -> list[str]:
    """Every letter and digit in order; Python's names for JSON's three words are theirs."""
    bare = _ESCAPE.sub(" ", text).casefold().replace("none", "null")
    return ["".join(_WORDS.findall(bare))]
