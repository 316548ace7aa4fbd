"""Events that differ in one string only, as the tokens of a stream do: the string is found without reading the rest."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

PROBE = "\u00b7"
"""A word that stands in for another one, to see where it comes out."""


class Template(Struct, frozen=True):
    """What stands before and behind the string's own characters."""

    before: bytes
    behind: bytes

    def fits(self, event: bytes) -> bool:
        """Whether the event may differ in the string only."""
        return event.startswith(self.before) and event.endswith(self.behind)

    def text(self, event: bytes) -> str | None:
        """The string's value; None when the event has to be read: it does not fit, its string is empty or escaped."""
        if not (event.startswith(self.before) and event.endswith(self.behind)):
            return None  # as `fits`, without a call: this runs for each token
        try:
            text = str(event[len(self.before) : -len(self.behind)], "utf-8")
        except UnicodeDecodeError:
            return None
        return text if text and text.isprintable() and '"' not in text and "\\" not in text else None


def learn(event: bytes, text: str, read: Callable[[bytes], str | None]) -> Template | None:
    """The template of an event that is read as `text`, if `read` finds another word in its place as well.

    That is the proof that the string which was found is the one that was meant: the same word may stand elsewhere.
    """
    word = text.encode("utf-8", "replace")
    at = event.rfind(b'"%b"' % word) + 1
    if not at:
        return None
    before, behind = event[:at], event[at + len(word) :]
    other = text + PROBE
    return Template(before, behind) if read(before + other.encode("utf-8", "replace") + behind) == other else None
