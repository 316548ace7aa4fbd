"""Segments: the blocks of an answer while they are being read.

At most one segment is open on the hub; the others wait with what has arrived for them. An open tool call gives way only
when it is complete, so that calls which a server interleaves still come out one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Raw

from .arguments import is_object
from .sealing import Sealed

Kind = Literal["text", "reasoning", "call"]
NO_EXTRA = Raw(b"null")


class Segment:
    """One block in the making. `parts` holds what has arrived, for calls and for segments that wait.

    `held`: it gives way to nothing until `ended` says that nothing more of it follows; without either, text and
    reasoning end when something else begins, and a call with its JSON.
    """

    __slots__ = (
        "closed",
        "details",
        "ended",
        "extra",
        "field",
        "held",
        "id",
        "kind",
        "name",
        "number",
        "opaque",
        "parts",
        "seal",
        "started",
    )

    def __init__(self, kind: Kind, *, held: bool = False) -> None:
        self.kind = kind
        self.parts: list[str] = []
        self.started = self.closed = self.ended = False
        self.held = held
        # of reasoning
        self.field = self.opaque = ""
        self.details: list[dict[str, Any]] = []
        self.seal: Callable[[], Sealed] | None = None
        # of calls
        self.number: int | None = None
        self.id = ""
        self.name = ""
        self.extra: Raw = NO_EXTRA

    @property
    def text(self) -> str:
        """All that has arrived."""
        return "".join(self.parts)

    @property
    def complete(self) -> bool:
        """Whether the next segment may open."""
        if self.ended or self.held:
            return self.ended
        return self.kind != "call" or (bool(self.name) and is_object(self.text))
