"""Check a parsed TOML tree against types, naming the path of what is wrong and the nearest thing that is right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from latimer.errors import ConfigError

_WORDS = {
    "`str | array`": "text or a list",
    "`object`": "a table",
    "`array`": "a list",
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
}
_MOST_NAMED = 30


def check(value: object, kind: Any, path: str) -> None:
    """Raise ConfigError for the first place of `value` that does not fit `kind`: a Struct, dict, list or plain type."""
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        _check_struct(_table(value, path), kind, path)
    elif origin is dict:
        key_kind, item_kind = get_args(kind)
        for key, item in _table(value, path).items():
            _check_plain(key, key_kind, f"the key {join(path, key)}")
            check(item, item_kind, join(path, key))
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            check(item, get_args(kind)[0], f"{path}[{index}]")
    else:
        _check_plain(value, kind, path)


def join(path: str, key: str) -> str:
    """The dotted path of `key` under `path`, quoted as TOML wants it."""
    shown = key if key and all(c.isalnum() or c in "-_" for c in key) else f'"{key}"'
    return f"{path}.{shown}" if path else shown


def nearest(word: str, known: Iterable[str], what: str, path: str = "") -> str:
    """'; did you mean …?' with the path before it or, when nothing is close, '; known <what>: …'."""
    names = sorted(known)
    close = difflib.get_close_matches(word.lower(), names, 1, 0.6)
    if close:
        return f"; did you mean {join(path, close[0])}?"
    return f"; known {what}: {', '.join(names[:_MOST_NAMED])}" if names else ""


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The layers on top of each other, the last one winning; tables are merged key by key, anything else replaced."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(value, Mapping):
                merged[key] = merge(old, value) if isinstance(old, Mapping) else merge(value)
            else:
                merged[key] = value
    return merged


def _check_struct(table: dict[str, Any], kind: type[msgspec.Struct], path: str) -> None:
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            where = f" of {path}" if path else ""
            raise ConfigError(f"{join(path, key)}: no such key{nearest(key, fields, f'keys{where}', path)}")
        check(value, hints[key], join(path, key))
    for name, field in fields.items():
        if field.required and name not in table:
            raise ConfigError(f"{path}: the key {name} is missing")


def _table(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a table, got {_kind_of(value)}")
    return value


def _check_plain(value: object, kind: Any, path: str) -> None:
    if get_origin(kind) is Literal and isinstance(value, str) and value not in get_args(kind):
        choices = ", ".join(repr(choice) for choice in get_args(kind))
        raise ConfigError(f"{path}: {value!r} is none of {choices}")
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_plain_words(str(error))}") from None


def _plain_words(text: str) -> str:
    for word, plain in _WORDS.items():
        text = text.replace(word, plain)
    return text[:1].lower() + text[1:]


def _kind_of(value: object) -> str:
    kinds = {str: "text", int: "a whole number", float: "a number", list: "a list", bool: "true or false"}
    return kinds.get(type(value), type(value).__name__)
