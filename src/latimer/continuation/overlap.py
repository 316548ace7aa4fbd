"""Where a further answer repeats what was shown already: the seam between the two is found here.

    shown     The quick brown fox
    further         brown fox jumps over the dog
    new                     jumps over the dog

A model that is asked to go on may do so exactly, repeat the last words (it is asked to, so that the place is certain),
or begin anew. What it says is held back for as long as it may be a repetition.
"""

from __future__ import annotations

LAST_WORDS = 80
"""At most so many characters are asked for again."""
LEAST = 12
"""A shorter repetition that was not asked for is taken for the text's own: "l" ends "hel" and begins "lo"."""
WINDOW = 64 * 1024
"""So many last characters are compared. A longer answer that is begun anew is not known for what it is."""


def last_words(text: str) -> str:
    """The end of a text from the beginning of a word on, without white space around it; '' for a blank text."""
    bare = text.rstrip()
    tail = bare[-LAST_WORDS:]
    if len(tail) < len(bare):
        _, _, words = tail.replace("\n", " ").replace("\t", " ").partition(" ")
        tail = tail[-len(words.strip()) :] if len(words.strip()) >= LEAST else tail
    return tail.strip()


class Overlap:
    """The further text without what it repeats. `asked` says whether its last words were asked for again."""

    def __init__(self, shown: str, *, asked: bool) -> None:
        shown = shown[-WINDOW:]
        self._shown = shown.rstrip()
        self._space = shown[len(self._shown) :]
        self._anchor = last_words(shown) if asked else ""
        self._held: list[str] | None = []

    def feed(self, data: str) -> str:
        """What is new of it by now."""
        if self._held is None:
            return data
        self._held.append(data)
        return self._new(final=False)

    def flush(self) -> str:
        """What is new of the rest, now that nothing follows."""
        return "" if self._held is None else self._new(final=True)

    def _new(self, *, final: bool) -> str:
        text = "".join(self._held or ())
        at = self._after(text, final=final)
        if at is None:
            self._held = [text]
            return ""
        self._held = None
        return text[at:]

    def _after(self, text: str, *, final: bool) -> int | None:
        """Where the new text begins, None while that is open."""
        bare = text.lstrip()
        if not self._shown:
            return self._after_space(text, 0, final=final)
        if self._anchor and bare.startswith(self._anchor):
            return self._after_space(text, len(text) - len(bare) + len(self._anchor), final=final)
        if not final and bare in self._shown:
            return None
        repeated = self._repeated(bare)
        if not repeated:
            return 0
        return self._after_space(text, len(text) - len(bare) + repeated, final=final)

    def _repeated(self, bare: str) -> int:
        """The length of the longest end of what was shown that the text begins with."""
        place = self._shown.find(bare[:LEAST]) if len(bare) >= LEAST else -1
        while 0 <= place <= len(self._shown) - LEAST:
            length = len(self._shown) - place
            if bare.startswith(self._shown[place:]):
                return length
            place = self._shown.find(bare[:LEAST], place + 1)
        return 0

    def _after_space(self, text: str, at: int, *, final: bool) -> int | None:
        """After the white space, too, that the client has had behind its last word."""
        if not self._space:
            return at
        if text.startswith(self._space, at):
            return at + len(self._space)
        rest = text[at:]
        if not final and not rest.strip():
            return None
        return at + len(rest) - len(rest.lstrip())
