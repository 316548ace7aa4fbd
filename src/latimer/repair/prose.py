"""Where in Markdown a text is: in a code fence, in inline code, or in plain prose."""

from __future__ import annotations

import re

from .markers import FENCE, OPENERS, begins

_TOKEN = re.compile("|".join(["\n", "`+", "~{3,}", *map(re.escape, OPENERS)]))
_START = re.compile(r"\s*[\[{]")
SPECIAL = re.compile(r"[`~<\[\n]")
"""What may change where a text is, or begin a call: anything else is prose that goes on."""


class Prose:
    """Follows a text and finds where a call may begin. `start`: nothing but white space has been read yet."""

    def __init__(self) -> None:
        self.start = True
        self._fence = ""
        self._inline = 0
        self._blank_line = True

    @property
    def _in_code(self) -> bool:
        return bool(self._fence or self._inline)

    def skip(self, text: str) -> None:
        """Read text that has nothing special in it."""
        if not text.isspace():
            self.start = self._blank_line = False

    def find(self, text: str, *, final: bool) -> tuple[int, bool]:
        """How much of the text is prose for certain, and whether a call may begin right behind it."""
        at = 0
        if self.start and (bare := _START.match(text)):
            return bare.end() - 1, True
        for token in _TOKEN.finditer(text):
            if token.end() == len(text) and token[0][0] in "`~" and not final:
                self._plain(text[at : token.start()])
                return token.start(), False  # the run may go on
            self._plain(text[at : token.start()])
            at = token.start()
            if self._opens(token[0]):
                return at, True
            self.consume(token[0])
            at = token.end()
        end = len(text) if final else self._partial(text, at)
        self._plain(text[at:end])
        return end, False

    def consume(self, mark: str) -> None:
        """Read what might have begun a call and does not."""
        if mark == "\n":
            self._blank_line, self._inline = True, 0  # inline code that is not closed in its line is a stray mark
            return
        self.start = False
        if mark[0] in "`~" and self._blank_line and len(mark) >= len(FENCE):
            self._mark_fence(mark)
        elif mark[0] == "`" and not self._fence:
            self._inline = len(mark) if not self._inline else 0 if self._inline == len(mark) else self._inline
        self._blank_line = False

    def _mark_fence(self, run: str) -> None:
        if not self._fence:
            self._fence = run
        elif run.startswith(self._fence):
            self._fence = ""

    def _opens(self, token: str) -> bool:
        if self._in_code or token[0] in "\n~":
            return False
        return token[0] != "`" or (self._blank_line and token == FENCE)

    def _plain(self, text: str) -> None:
        if text:
            self.skip(text)

    def _partial(self, text: str, start: int) -> int:
        """Where an opener may begin at the very end of the text, else its length."""
        for at in range(max(start, len(text) - max(map(len, OPENERS)) + 1), len(text)):
            if text[at:] in ("~", "~~") or (
                text[at] in "<[" and begins(text, at) and not (self._fence or self._inline)
            ):
                return at
        return len(text)
