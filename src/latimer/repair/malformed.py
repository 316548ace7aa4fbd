"""JSON that is malformed, read as what it can only have meant.

The library guesses freely. It is believed where its guess has all that the text says in the same order and no more,
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
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')
_GRAMMAR = re.compile(r"""[\s"'\u201c\u201d\\,:{}\[\]]+""")


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
        guessed = repair_json(text, return_objects=True, skip_json_loads=True)
    except Exception as error:  # whatever it stumbles over, such as an assertion of its own
        raise Malformed(f"no reading: {type(error).__name__}") from error
    try:
        value = _restored(guessed, _trailing_space(text))
        meant = json.encode(value).decode()
    except (*UNREADABLE, ValueError, TypeError) as error:
        raise Malformed(str(error)) from error
    if _said(meant) != _said(text) or _empty_strings(value) > text.count('""') + text.count("''"):
        raise Malformed("no reading keeps every word")
    if any(meant.count(closer) > text.count(closer) for closer in "}]"):
        raise Malformed("it was cut")
    return value


def _trailing_space(text: str) -> dict[str, str]:
    """Strings that end in white space, which the library takes from them, by what it leaves."""
    strings: dict[str, str] = {}
    for literal in _STRING.findall(text):
        try:
            string = json.decode(literal.replace("\n", "\\n").replace("\t", "\\t"), type=str)
        except UNREADABLE:
            continue
        if string != string.rstrip():
            strings[string.rstrip()] = string
    return strings


def _restored(value: Any, strings: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _restored(item, strings) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, strings) for item in value]
    return strings.get(value, value) if isinstance(value, str) else value


def _empty_strings(value: Any) -> int:
    """How many there are: the library writes one where a value is missing."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return int(value == "") + sum(map(_empty_strings, inner))


def _said(text: str) -> str:
    """All that is not JSON's own grammar, in order; Python's names for its three words are theirs."""
    return _GRAMMAR.sub("", _ESCAPE.sub(" ", text)).casefold().replace("none", "null")
