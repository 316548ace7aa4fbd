"""Stages between decoder and encoder: events in, events out, for what no upstream can be trusted to do."""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    OpaqueDelta,
    Signature,
    Text,
    ToolCall,
    Usage,
)

CHARS_PER_TOKEN = 4


class Stage(Protocol):
    """A step of an answer's way to the client. `done`: the answer is over, whatever the upstream still says."""

    done: bool

    def pass_on(self, event: Event) -> list[Event]:
        """The events that take this one's place."""
        ...


class StopSequences:
    """Ends the answer where one of the client's stop sequences begins, and says which.

    Only text is searched, never reasoning or arguments. What may be the beginning of a sequence is held back, so that
    no part of one is ever shown. The match that is complete first wins, as if the text came character by character;
    of two that end together, the longer.
    """

    def __init__(self, sequences: list[str], input_estimate: int) -> None:
        self.done = False
        self._sequences = [sequence for sequence in sequences if sequence]
        self._longest = max((len(sequence) for sequence in self._sequences), default=0)
        self._held = ""
        self._in_text = False
        self._chars = 0
        self._input_estimate = input_estimate

    def pass_on(self, event: Event) -> list[Event]:
        if self.done:
            return []
        match event:
            case BlockStart(block=block):
                self._in_text = isinstance(block, Text)
                return [event]
            case Delta(index=index, data=data):
                self._chars += len(data)
                return self._search(index, data) if self._in_text else [event]
            case BlockStop(index=index) if self._held:
                held, self._held = self._held, ""
                return [Delta(index, held), event]
            case _:
                return [event]

    def _search(self, index: int, data: str) -> list[Event]:
        text = self._held + data
        found = [(at + len(s), at) for s in self._sequences if (at := text.find(s)) >= 0]
        if found:
            end_at, at = min(found)
            self.done = True
            # The upstream is cut off here, so its own count never comes.
            usage = Usage(self._input_estimate, -(-self._chars // CHARS_PER_TOKEN))
            end: list[Event] = [BlockStop(index), Finish("stop", usage, text[at:end_at])]
            return [Delta(index, text[:at]), *end] if at else end
        keep = self._partial(text)
        self._held = text[len(text) - keep :]
        shown = text[: len(text) - keep]
        return [Delta(index, shown)] if shown else []

    def _partial(self, text: str) -> int:
        """How many last characters may be the beginning of a sequence."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[len(text) - length :]
            if any(sequence.startswith(tail) for sequence in self._sequences):
                return length
        return 0


class OneCall:
    """Passes the first tool call only: `disable_parallel_tool_use` is a promise that not every upstream keeps."""

    def __init__(self) -> None:
        self.done = False
        self._seen = False
        self._dropping = False
        self._dropped = 0

    def pass_on(self, event: Event) -> list[Event]:
        if isinstance(event, BlockStart):
            self._dropping = self._seen and isinstance(event.block, ToolCall)
            self._seen = self._seen or isinstance(event.block, ToolCall)
            self._dropped += self._dropping
        if not self._dropped or not isinstance(event, BlockStart | Delta | Signature | OpaqueDelta | BlockStop):
            return [event]
        return [] if self._dropping else [replace(event, index=event.index - self._dropped)]
