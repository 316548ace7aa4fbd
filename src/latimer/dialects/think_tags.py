"""`<think>` at the very start of an answer: the reasoning of models whose server does not separate it."""

from __future__ import annotations

from typing import Literal

OPENER = "<think>"
CLOSER = "</think>"

Piece = tuple[Literal["text", "reasoning"], str]


class ThinkSplitter:
    """Content in, (kind, text) pieces out. A tag later in the answer is prose and stays what it is."""

    def __init__(self) -> None:
        self._state: Literal["START", "INSIDE", "AFTER", "TEXT"] = "START"
        self._held = ""

    @property
    def over(self) -> bool:
        """Whether all that follows is text."""
        return self._state == "TEXT"

    def split(self, text: str) -> list[Piece]:
        """The pieces that are certain by now; the rest is held back."""
        if self._state == "TEXT":
            return [("text", text)]
        self._held += text
        pieces: list[Piece] = []
        if self._state == "START":
            self._open(pieces)
        if self._state == "INSIDE":
            self._inside(pieces)
        if self._state == "AFTER":
            self._after(pieces)
        return pieces

    def flush(self) -> list[Piece]:
        """What was held back when the answer ended or something else began: a tag after that is not at the start."""
        held, self._held = self._held, ""
        if self._state == "START":
            self._state = "TEXT"
        if not held or self._state == "AFTER":
            return []
        return [("reasoning" if self._state == "INSIDE" else "text", held)]

    def _open(self, pieces: list[Piece]) -> None:
        start = self._held.lstrip()
        if start.startswith(OPENER):
            self._state, self._held = "INSIDE", start.removeprefix(OPENER)
        elif not OPENER.startswith(start):
            self._state = "TEXT"
            pieces.append(("text", self._held))
            self._held = ""

    def _inside(self, pieces: list[Piece]) -> None:
        thought, closer, rest = self._held.partition(CLOSER)
        keep = "" if closer else _partial_closer(thought)
        thought = thought.removesuffix(keep)
        if thought:
            pieces.append(("reasoning", thought))
        self._held = rest if closer else keep
        if closer:
            self._state = "AFTER"

    def _after(self, pieces: list[Piece]) -> None:
        """Blank lines between the reasoning and the answer belong to neither."""
        text = self._held.lstrip()
        if text:
            self._state, self._held = "TEXT", ""
            pieces.append(("text", text))


def _partial_closer(text: str) -> str:
    """The longest end of `text` that may be the beginning of the closing tag."""
    return next((CLOSER[:n] for n in range(len(CLOSER) - 1, 0, -1) if text.endswith(CLOSER[:n])), "")
