"""Arguments of tool calls: fragments of one JSON object, most of the time."""

from __future__ import annotations

from typing import Any

from msgspec import json

from latimer.wire.json_text import mend_surrogates


class MalformedArguments(ValueError):
    """Arguments that are not JSON, so that running the call would be a guess."""


def is_object(text: str) -> bool:
    """Whether the arguments are one complete JSON object."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(_parse(text), dict)
    except ValueError:
        return False


def normalize(text: str) -> str:
    """The arguments as a JSON object's text: nothing or `null` becomes `{}`, a string that holds an object is
    unwrapped, any other value goes under `value`. Raises `MalformedArguments`.
    """
    if not text.strip():
        return "{}"
    try:
        value = _parse(text)
        if isinstance(value, str):
            value = _parse(value) if value.strip() else None
    except ValueError as error:
        raise MalformedArguments(str(error)) from error
    if value is None:
        return "{}"
    return json.encode(value if isinstance(value, dict) else {"value": value}).decode()


def _parse(text: str) -> Any:
    return json.decode(mend_surrogates(text.encode("utf-8", "replace")))
