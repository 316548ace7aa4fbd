"""What `latimer connect` writes into a settings.json of Claude Code, and how `latimer disconnect` takes it out."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, json

from latimer.policy.claude_code import Limits, conflicting, each_window, variables
from latimer.policy.config import Config
from latimer.policy.settings_text import BOM, Changes, Path, edited, same, value_at

HELPER = "apiKeyHelper"
"""The setting that names a program which prints the token."""
_NO_AUTO_MODE = "disableAutoMode"
_SIZES = ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", "CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_MAX_OUTPUT_TOKENS")
_SECRET = re.compile(
    r'("[^"]*(?:KEY|TOKEN(?!S)|SECRET|PASSWORD|HEADERS|CREDENTIAL)[^"]*"\s*:\s*)"((?:[^"\\]|\\.)+)"', re.IGNORECASE
)
_SHOWN = frozenset({"latimer"})
"""The placeholder is none."""


class Change(Struct, frozen=True):
    """One member: what stood there, and what stands there now, as JSON text; None is nothing."""

    path: Path
    before: str | None
    after: str | None


class Record(Struct, frozen=True):
    """What was done to one file. `before` and `after` are SHA-256 of its bytes, `before` is '' when there was none.

    `backup` is the path of a copy of what was there; `made_folder`: so was the folder made.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    backup: str = ""
    made_folder: bool = False


class Undone(Struct, frozen=True):
    """A file without Latimer: its bytes, None when it goes; `exact`: it is as it was, to the byte.

    `kept` are members that somebody else has changed since, which stay.
    """

    text: bytes | None
    exact: bool = True
    kept: tuple[Path, ...] = ()


def wanted(text: bytes, url: str, helper: str, config: Config, sizes: Limits) -> dict[Path, bytes | None]:
    """What must stand in a file whose bytes are `text`; None must not stand there.

    `helper` is a command line that prints Latimer's token, '' where Latimer asks for none.
    """
    environment: dict[str, str | None] = dict.fromkeys(_names(text))
    environment |= variables(url, "", config, sizes, sizes.differ)
    # In the user's shell it would raise a question in Claude Code, and go to Latimer, whom it is not for.
    environment["ANTHROPIC_API_KEY"] = ""
    if helper:
        environment["ANTHROPIC_AUTH_TOKEN"] = None
    found: dict[Path, Any] = {("env", name): value for name, value in environment.items()}
    found[(HELPER,)] = helper or None
    if not config.auto_mode.classifier:
        found[(_NO_AUTO_MODE,)] = "disable"
    if sizes.differ:
        for model_id, settings in each_window(sizes).items():
            found |= {("modelSettings", model_id, key): value for key, value in settings.items()}
    return {path: None if value is None else json.encode(value) for path, value in found.items()}


def connected(text: bytes, changes: Changes) -> tuple[bytes, tuple[Change, ...]]:
    """A file's bytes with the changes in it, and those of them that change anything."""
    real = {path: value for path, value in changes.items() if not same(value_at(text, path), value)}
    made = tuple(Change(path, _text(value_at(text, path)), _text(value)) for path, value in real.items())
    return edited(text, real) if real else text, made


def undone(text: bytes, record: Record, original: bytes | None) -> Undone:
    """A file's bytes without Latimer; `original` is what was there, where it is still known."""
    if digest(text) == record.after and (not record.before or original is not None):
        return Undone(original if record.before else None)
    back: dict[Path, bytes | None] = {}
    kept: list[Path] = []
    for change in record.changes:
        present = value_at(text, change.path)
        if same(present, _bytes(change.after)):
            back[change.path] = _bytes(change.before)
        elif not same(present, _bytes(change.before)):
            kept.append(change.path)
    after = edited(text, back) if back else text
    gone = not record.before and after.removeprefix(BOM).strip() == b"{}"
    return Undone(None if gone else after, gone or digest(after) == record.before, tuple(kept))


def difference(before: bytes, after: bytes, path: str) -> str:
    """A unified diff in which no secret can be read; '' when nothing changes."""
    old, new = (_hidden(each.decode("utf-8-sig")).splitlines() for each in (before, after))
    return "\n".join(difflib.unified_diff(old, new, path, path, lineterm=""))


def digest(text: bytes) -> str:
    """What a record keeps of a file's bytes."""
    return hashlib.sha256(text).hexdigest()


def decode_records(text: bytes) -> dict[str, Record]:
    """Records by the path of their file. Raises ValueError."""
    return json.decode(text, type=dict[str, Record])


def encode_records(records: Mapping[str, Record]) -> bytes:
    """The other way."""
    return json.format(json.encode(records))


def _names(text: bytes) -> list[str]:
    """Variables in the file that would take Claude Code past Latimer, or give it the sizes of other models."""
    block = value_at(text, ("env",)) or b"{}"
    found = json.decode(block)
    names = found if isinstance(found, dict) else {}
    return [*conflicting(names), *(name for name in _SIZES if name in names)]


def _hidden(text: str) -> str:
    return _SECRET.sub(lambda match: match[0] if match[2] in _SHOWN else f'{match[1]}"(hidden)"', text)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode()
