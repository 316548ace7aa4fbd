"""Members of a JSON file changed, and every other byte left: order, indentation, a BOM, the end of the last line.

A path is the keys from the top to a member. Values are JSON text. Claude Code takes strict JSON with or without a BOM
(2.1.197 and 2.1.330); a comment or a trailing comma makes it ignore the whole file, so such a file is refused here too.
"""

from __future__ import annotations

import json as stdlib
import re
from collections.abc import Mapping
from typing import Any

from msgspec import json

from latimer.errors import ConfigError
from latimer.wire.json_text import UNREADABLE
from latimer.wire.splice import members, splice

Path = tuple[str, ...]
Changes = Mapping[Path, bytes | None]
"""By path, the new value; None takes the member out."""

BOM = b"\xef\xbb\xbf"
INDENT = b"  "
"""What a file that says nothing of it gets."""
_BEFORE_FIRST = re.compile(rb"\{\s*?(\r?\n)([ \t]*)(?=\S)")


def parsed(text: bytes) -> Mapping[str, Any]:
    """The object in a file's bytes, with or without a BOM; {} for an empty file. Raises ConfigError that says where
    it is none.
    """
    try:
        plain = text.decode("utf-8-sig")
        found = stdlib.loads(plain if plain.strip() else "{}")
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8 text") from None
    except stdlib.JSONDecodeError as error:
        raise ConfigError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ConfigError("it holds no JSON object")
    return found


def checked(text: bytes, path: str) -> None:
    """Raises ConfigError, with line and column, when a file's bytes are not one JSON object."""
    try:
        parsed(text)
        members(_body(text))
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}. Claude Code ignores the whole file until that is mended (it takes no comments and no "
            "trailing commas); nothing was changed"
        ) from None
    except UNREADABLE as error:
        raise ConfigError(f"{path} cannot be edited: {error}; nothing was changed") from None


def value_at(text: bytes, path: Path) -> bytes | None:
    """The value that stands at a path, as it is written; None when there is none."""
    raw: bytes | None = _body(text)
    for key in path:
        if raw is None or not raw.startswith(b"{"):
            return None
        found = members(raw).get(key)
        raw = None if found is None else bytes(found)
    return raw


def same(one: bytes | None, other: bytes | None) -> bool:
    """Whether two values mean the same."""
    if one is None or other is None:
        return one is other
    return bool(json.decode(one) == json.decode(other))


def edited(text: bytes, changes: Changes) -> bytes:
    """A file's bytes with these members changed; '' is an empty file. Objects on the way are made, and taken out again
    when nothing is left in them.
    """
    bom = BOM if text.startswith(BOM) else b""
    body = _body(text)
    if not text.removeprefix(BOM).strip():
        return bom + _object(b"{}", changes, b"\n", INDENT, b"") + b"\n"
    start = len(text) - len(text.removeprefix(bom).lstrip())
    rest = text[start + len(body) :]
    newline, step = _style(body)
    return text[:start] + _object(body, changes, newline, step, b"") + rest


def _body(text: bytes) -> bytes:
    """The object itself."""
    return text.removeprefix(BOM).strip() or b"{}"


def _style(body: bytes) -> tuple[bytes, bytes]:
    """What separates lines in an object, and by how much one is indented; both '' when it stands on one line."""
    match = _BEFORE_FIRST.match(body)
    if match:
        return match[1], match[2] or INDENT
    return (b"", b"") if body != b"{}" else (b"\n", INDENT)


def _object(raw: bytes, changes: Changes, newline: bytes, step: bytes, indent: bytes) -> bytes:
    """One object with the changes in it; `indent` is that of its own line."""
    by_key: dict[str, dict[Path, bytes | None]] = {}
    for (key, *rest), value in changes.items():
        by_key.setdefault(key, {})[tuple(rest)] = value
    found = members(raw)
    replaced: dict[str, bytes | None] = {}
    added: list[bytes] = []
    for key, inner in by_key.items():
        before = bytes(found[key]) if key in found else None
        after = _value(before, inner, newline, step, indent + step)
        if before is not None:
            replaced[key] = after
        elif after is not None:
            added.append(json.encode(key) + b": " + after)
    kept = splice(raw, replaced)
    return _with(kept, added, newline, indent + step, indent)


def _value(before: bytes | None, inner: Changes, newline: bytes, step: bytes, indent: bytes) -> bytes | None:
    if () in inner:
        return inner[()]
    base = before if before is not None and before.startswith(b"{") else b"{}"
    after = _object(base, inner, newline, step, indent)
    return None if after == b"{}" and before != b"{}" else after


def _with(raw: bytes, added: list[bytes], newline: bytes, inner: bytes, outer: bytes) -> bytes:
    """The object with members at its end, and `{}` when it has none."""
    if not members(raw):
        if not added:
            return b"{}"
        lines = (b"," + (newline + inner if newline else b" ")).join(added)
        return b"{" + (newline + inner + lines + newline + outer if newline else lines) + b"}"
    body = raw[:-1].rstrip()
    between = b"," + (newline + inner if newline else b" ")
    return b"".join([body, *(between + member for member in added), raw[len(body) :]])
