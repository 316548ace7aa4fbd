"""What becomes of each part of the Messages API, as data: the form of the tables in `docs/dialects/`.

A dialect has a row for every field, block, literal, header and event that the official SDK's types know. The tests send
each of them through the code and compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Action = Literal["carried", "met", "emulated", "approximated", "dropped", "rejected", "absent"]

MEANINGS: dict[Action, str] = {
    "carried": "the other side gets it, in its own form",
    "met": "it asks for what happens anyway, so nothing has to be sent",
    "emulated": "Latimer does it itself",
    "approximated": "the other side gets the nearest thing it knows",
    "dropped": "the other side never hears of it",
    "rejected": "a 400 that names the field, because to ignore it would be to lie",
    "absent": "never in an answer of Latimer's, because nothing here could be its cause",
}


class Row(Struct, frozen=True):
    """One part, or several that are alike. `field` is its path in the SDK's types, with the `type` of a block or tool
    in place of its index: `*` stands for anything, `(a|b)` for each, `=` comes before a literal or `<block>`.

    `shown` names the test or the case that shows it.
    """

    field: str
    action: Action
    how: str
    shown: str

    def covers(self, name: str) -> bool:
        """Whether this row is about a part. One without a literal says nothing of literals, which may be new."""
        return _pattern(self.field).fullmatch(name) is not None


def find(rows: Iterable[Row], name: str) -> Row | None:
    """The row about a part: of those that cover it the one with the most to say."""
    found = [row for row in rows if row.covers(name)]
    return max(found, key=lambda row: (len(row.field.replace("*", "")), "*" not in row.field), default=None)


def told_in(words: Mapping[str, str], rows: Iterable[Row], own: Iterable[Row] = ()) -> tuple[Row, ...]:
    """Rows that dialects share, as one of them tells them: `{name}` filled in, its own rows in place of those about the
    same part.
    """
    replaced = {row.field: row for row in own}
    return tuple(replaced.get(row.field) or replace(row, how=_filled(row.how, words)) for row in rows)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda gap: words[gap[1]], text)


@cache
def _pattern(field: str) -> re.Pattern[str]:
    path, equals, values = field.partition("=")
    literal = f"={_glob(values, '.*')}" if equals else ""
    # Only a star at the very end takes literals in, where all that is below shares one fate.
    inner = _glob(path.removesuffix("*"), "[^=]*") + ".*" if path.endswith("*") and not equals else _glob(path, "[^=]*")
    return re.compile(inner + literal)


def _glob(text: str, anything: str) -> str:
    escaped = anything.join(re.escape(part) for part in text.split("*"))
    return re.sub(r"\\([()|])", r"\1", escaped)
