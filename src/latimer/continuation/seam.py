"""The stage that joins a further answer to what the client has been shown of the one before."""

from __future__ import annotations

from msgspec.structs import replace

from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    Text,
    Usage,
)
from latimer.report import Loss

from .overlap import Overlap
from .shown import Shown

CONTINUED = "the provider broke off in the middle of the answer, and was asked to go on"


class Seam:
    """One attempt at going on. `usage` is what it took, None while it has not ended well.

    The text block that stands open at the client is gone on with. Thinking that comes first waits until it is complete,
    since blocks do not nest; everything else follows with the next numbers. `again` is about how many tokens of the
    answer were sent along, and `overlap` finds what is said a second time.
    """

    idle = False

    def __init__(self, shown: Shown, overlap: Overlap, *, again: int) -> None:
        self.done = False
        self.usage: Usage | None = None
        self.repairs = [Loss("content", "emulated", CONTINUED)]
        self._index = len(shown.said) - 1
        self._open = shown.open is not None
        self._overlap = overlap
        self._spent, self._again = shown.tokens, again
        self._in_text = False
        self._start: BlockStart | None = None
        self._thinking: list[Event] | None = None
        self._held: list[Event] = []

    def pass_on(self, event: Event) -> list[Event]:
        if self._thinking is not None and not isinstance(event, Finish):
            return self._wait(self._thinking, event)
        match event:
            case Start():
                return []
            case BlockStart():
                return self._begin(event)
            case Delta(data=data) if self._in_text:
                return self._say(self._overlap.feed(data))
            case Delta() | Signature() | OpaqueDelta():
                return [*self._started(), replace(event, index=self._index)]
            case BlockStop():
                return self._end()
            case Finish():
                return self._finish(event)
            case _:
                return [event]

    def _wait(self, thinking: list[Event], event: Event) -> list[Event]:
        if not isinstance(event, BlockStart | Delta | Signature | OpaqueDelta | BlockStop):
            return [event]
        thinking.append(event)
        if isinstance(event, BlockStop):
            self._held += thinking
            self._thinking = None
        return []

    def _begin(self, event: BlockStart) -> list[Event]:
        if self._open and isinstance(event.block, Reasoning):
            self._thinking = [event]
            return []
        self._in_text = isinstance(event.block, Text)
        if self._in_text and self._open:
            return []
        closed = self._close()
        self._index += 1
        begun = BlockStart(self._index, event.block)
        if self._in_text:
            self._start = begun  # it may have nothing new to say
            return closed
        return [*closed, begun]

    def _started(self) -> list[Event]:
        """The beginning of a block that turned out to say something."""
        begun: list[Event] = [self._start] if self._start else []
        self._start = None
        return begun

    def _say(self, text: str) -> list[Event]:
        return [*self._started(), Delta(self._index, text)] if text else []

    def _end(self) -> list[Event]:
        said = self._say(self._overlap.flush()) if self._in_text else []
        if self._start is not None:
            self._start = None
            self._index -= 1
            return said
        if self._open and self._in_text:
            return [*said, *self._close()]
        return [*said, BlockStop(self._index)]

    def _close(self) -> list[Event]:
        """The end of the block that stood open, and the thinking that had to wait for it."""
        if not self._open:
            return []
        self._open = False
        closed: list[Event] = [BlockStop(self._index)]
        for event in self._held:
            self._index += isinstance(event, BlockStart)
            closed.append(_placed(event, self._index))
        self._held = []
        return closed

    def _finish(self, event: Finish) -> list[Event]:
        """The client's count is that of one answer: its prompt once, and all that was said.

        Clients take the sum for what fills the context window, so the prompt must not count for every attempt.
        """
        self.usage = event.usage
        cached = event.usage.cache_read_tokens + event.usage.cache_write_tokens
        prompt = max(cached, event.usage.input_tokens - self._again)
        usage = replace(event.usage, input_tokens=prompt, output_tokens=event.usage.output_tokens + self._spent)
        return [*self._close(), replace(event, usage=usage)]


def _placed(event: Event, index: int) -> Event:
    assert isinstance(event, BlockStart | Delta | Signature | OpaqueDelta | BlockStop)
    return replace(event, index=index)
