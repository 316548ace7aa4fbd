"""Stages between decoder and encoder: events in, events out, for what no upstream can be trusted to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec.structs import replace

from latimer.events import (
    CHARS_PER_TOKEN,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Member,
    OpaqueDelta,
    Signature,
    Text,
    ToolCall,
    Usage,
)
from latimer.report import Loss


class Stage(Protocol):
    """A step of an answer's way to the client. `done`: the answer is over, whatever the upstream still says.

    `idle`: for now it passes on every `Delta` as it is and learns nothing from it, so it need not be asked; no other
    event may make it so unseen. A stage that puts right what the model did has `repairs`, a list of `Loss`.
    """

    done: bool

    @property
    def idle(self) -> bool: ...

    def pass_on(self, event: Event) -> list[Event]:
        """The events that take this one's place."""
        ...


class StopSequences:
    """Ends the answer where one of the client's stop sequences begins, and says which.

    Only text is searched, never reasoning or arguments. What may be the beginning of a sequence is held back, so that
    no part of one is ever shown. The match that is complete first wins, as if the text came character by character;
    of two that end together, the longer.
    """

    idle = False

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


class VisibleLimit:
    """Ends an answer after `max_tokens` tokens that are not reasoning, at four bytes each.

    For models that were given room to think although they were told not to: the client gets no more than it asked for.
    """

    def __init__(self, max_tokens: int, input_estimate: int) -> None:
        self.done = False
        self._max_tokens = max_tokens
        self._room = max_tokens * CHARS_PER_TOKEN
        self._visible = False
        self._input_estimate = input_estimate

    @property
    def idle(self) -> bool:
        return not (self._visible or self.done)

    def pass_on(self, event: Event) -> list[Event]:
        if self.done:
            return []
        match event:
            case BlockStart(block=block):
                self._visible = isinstance(block, Text | ToolCall)
                return [event]
            case Delta(index=index, data=data) if self._visible:
                encoded = data.encode()
                if len(encoded) <= self._room:
                    self._room -= len(encoded)
                    return [event]
                self.done = True
                kept = encoded[: self._room].decode(errors="ignore")
                usage = Usage(self._input_estimate, self._max_tokens)
                end: list[Event] = [BlockStop(index), Finish("length", usage)]
                return [Delta(index, kept), *end] if kept else end
            case _:
                return [event]


class Toolsets:
    """Gives calls of functions that stand for a toolset's members the names by which the client knows them."""

    idle = True

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.done = False
        self._members = members

    def pass_on(self, event: Event) -> list[Event]:
        match event:
            case BlockStart(block=ToolCall(id=id, name=name)) if name in self._members:
                member = self._members[name]
                return [replace(event, block=ToolCall(id, member.name, member.toolset))]
            case _:
                return [event]


class OneCall:
    """Passes the first tool call only: `disable_parallel_tool_use` is a promise that not every upstream keeps."""

    def __init__(self) -> None:
        self.done = False
        self._seen = False
        self._dropping = False
        self._dropped = 0

    @property
    def idle(self) -> bool:
        return not self._dropped

    def pass_on(self, event: Event) -> list[Event]:
        if isinstance(event, BlockStart):
            self._dropping = self._seen and isinstance(event.block, ToolCall)
            self._seen = self._seen or isinstance(event.block, ToolCall)
            self._dropped += self._dropping
        if isinstance(event, Finish) and self._dropped:
            why = f"{self._dropped} more of the model's calls left out"
            loss = Loss("tool_choice.disable_parallel_tool_use", "emulated", why)
            return [replace(event, losses=(*event.losses, loss))]
        if not self._dropped or not isinstance(event, BlockStart | Delta | Signature | OpaqueDelta | BlockStop):
            return [event]
        return [] if self._dropping else [replace(event, index=event.index - self._dropped)]
