"""Losses: what of a request could not be carried as it was, and what became of it.

`latimer-report` (docs/http.md) shows them; law 7 of the tests holds the encoders to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, json

Action = Literal["dropped", "approximated", "emulated"]

HEADER_LIMIT = 4096
_INDEX = re.compile(r"\.\d+(?=\.|$)")


class Loss(Struct, frozen=True, order=True):
    """One field, by its path in the client's request (`messages.3.content.0.cache_control`)."""

    field: str
    action: Action
    why: str


def summarize(losses: Iterable[Loss]) -> list[Loss]:
    """Losses of one kind at different places of a list become one, their index written as `*`; first seen first."""
    return list(dict.fromkeys(Loss(_INDEX.sub(".*", loss.field), loss.action, loss.why) for loss in losses))


def header(losses: Iterable[Loss]) -> str:
    """The `latimer-report` header: a compact JSON array in ASCII, at most 4 KB; '' when nothing was lost.

    What does not fit is counted in a last entry, so that a cut report says that it was cut.
    """
    rows = summarize(losses)
    if not rows:
        return ""
    parts: list[str] = []
    room = HEADER_LIMIT - 100
    for count, row in enumerate(rows):
        text = ascii_json(row)
        if len(text) + 1 > room:
            rest = Loss("…", "dropped", f"{len(rows) - count} more entries did not fit into this header")
            parts.append(ascii_json(rest))
            break
        room -= len(text) + 1
        parts.append(text)
    return f"[{','.join(parts)}]"


def ascii_json(value: object) -> str:
    """JSON with all but printable ASCII escaped, as an HTTP header needs it."""
    text = json.encode(value).decode()
    return text if _printable(text) else "".join(c if _printable(c) else _escape(c) for c in text)


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
