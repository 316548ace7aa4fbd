"""A place in a text that may not have ended yet, for grammars that must never decide too early."""

from __future__ import annotations

import re

_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^"{}\[\]]+', re.DOTALL)
_BLANK = re.compile(r"\s*")


class More(Exception):
    """What follows decides. Nothing is decided before `wanted` has come, if it is given."""

    def __init__(self, wanted: str = "") -> None:
        super().__init__(wanted)
        self.wanted = wanted


class Mismatch(Exception):
    """The text is not of this grammar, whatever follows."""


class Cursor:
    """Reads on in `text` from `at`. `final`: nothing follows, so that nothing is worth waiting for."""

    def __init__(self, text: str, at: int, *, final: bool) -> None:
        self.text = text
        self.at = at
        self.reach = at
        """How far it was read, even in vain: what a failure has cost."""
        self._final = final

    def wait(self, wanted: str = "") -> Exception:
        """What to raise where the text ends too early."""
        return Mismatch() if self._final else More(wanted)

    @property
    def ended(self) -> bool:
        """Whether the text ends here and nothing follows. Raises `More` where it is not known."""
        if self.at < len(self.text):
            return False
        if not self._final:
            raise More
        return True

    def sees(self, literal: str) -> bool:
        """Whether this is what comes next."""
        if self.text.startswith(literal, self.at):
            return True
        rest = self.text[self.at : self.at + len(literal)]
        if self.at + len(rest) == len(self.text) and literal.startswith(rest) and not self._final:
            raise More
        return False

    def take(self, literal: str) -> bool:
        """Read this, if it is what comes next."""
        found = self.sees(literal)
        if found:
            self.at += len(literal)
        return found

    def close(self, *marks: str) -> bool:
        """Read an end mark and the white space before it; where everything ends, a part of one will do, or none."""
        start = self.at
        self.space()
        if any(self.take(mark) for mark in marks):
            return True
        rest = self.text[self.at :]
        if any(mark.startswith(rest) for mark in marks):
            self.at = len(self.text)
            return True
        self.at = start
        return False

    def expect(self, *literals: str) -> str:
        """Read one of these, the first that comes next."""
        for literal in literals:
            if self.take(literal):
                return literal
        raise Mismatch

    def space(self) -> None:
        """Read on to what is no white space. Raises `More` while it may go on."""
        self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches anything
        if self.at == len(self.text) and not self._final:
            raise More

    def until(self, literal: str) -> str:
        """Read up to and over this; what stands before it."""
        found = self.text.find(literal, self.at)
        if found < 0:
            self.reach = len(self.text)
            raise self.wait(literal)
        before = self.text[self.at : found]
        self.at = found + len(literal)
        return before

    def match(self, pattern: re.Pattern[str]) -> str:
        """Read what fits, which ends where it no longer does."""
        found = pattern.match(self.text, self.at)
        end = found.end() if found else self.at
        if end == len(self.text) and not self._final:
            raise More
        if not found or not found[0]:
            raise Mismatch
        self.at = end
        return found[0]

    def json(self) -> str:
        """Read an object or array, by its brackets and strings only."""
        start, depth, at = self.at, 0, self.at
        while token := _JSON.match(self.text, at):
            at = token.end()
            if token[0] in ("{", "["):
                depth += 1
            elif token[0] in ("}", "]"):
                depth -= 1
            if depth <= 0:
                break
        self.reach = max(self.reach, at)
        if depth > 0 or at == start:
            raise self.wait('"' if at < len(self.text) else "")
        self.at = at
        return self.text[start:at]
