"""The stage that turns tool calls which a model wrote as text into tool calls."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from latimer.errors import Failure
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
)
from latimer.report import Loss

from .cursor import Cursor, Mismatch, More
from .markers import Written, is_unmarked, opener_of, read
from .prose import SPECIAL, Prose
from .tools import Tools

WRITTEN = "a tool call that the model wrote as text was recovered"
Piece = str | Written
OFTEN = 1024
"""Up to here, what may be a call is read again with each piece of it; from here on, when it has grown by an eighth."""
MOST_IN_VAIN = 4 * 1024 * 1024
"""Characters that are read of what turns out to be no call, in one answer; then text is text."""


class WrittenCalls:
    """Passes text on until a call may begin, holds it from there, and decides at the end of the block.

    A server that makes a call of its own in the same answer reads its model's calls: then text is text. Nor is it
    decided before the next event whether JSON without marks is the last thing that is said.
    """

    def __init__(self, tools: Tools, make_id: Callable[[int], str]) -> None:
        self.done = False
        self.repairs: list[Loss] = []
        self._tools = tools
        self._make_id = make_id
        self._trusts_server = False
        self._shift = 0
        self._made = 0
        self._prose = Prose()
        self._begin: BlockStart | None = None  # of a text block that the client has not been shown yet
        self._index: int | None = None  # of the text block that is being read
        self._blank = ""  # white space at its start
        self._held = ""  # of this block
        self._fresh: list[str] = []  # what has come behind it since it was last read
        self._fresh_size = self._due = 0
        self._candidate = self._certain = False
        self._wanted = ""
        self._in_vain = 0
        self._stop: BlockStop | None = None

    @property
    def idle(self) -> bool:
        """Whether no text is read, and every block keeps its index."""
        return self._index is None and self._stop is None and not self._shift

    def pass_on(self, event: Event) -> list[Event]:
        """The events that take this one's place."""
        if self._stop is not None and not isinstance(event, Failure):
            return [*self._decide(event), *self.pass_on(event)]
        match event:
            case Failure() if self._index is not None:
                return self._fail(event)
            case BlockStart(block=Text()) if not self._trusts_server:
                self._begin, self._index = event, event.index
                return []
            case BlockStart(block=block):
                self._trusts_server = self._trusts_server or isinstance(block, ToolCall)
                return [self._shifted(event)]
            case Delta(index=index, data=data) if index == self._index:
                return self._read(event, data)
            case OpaqueDelta(index=index) if index == self._index:
                return [*self._released(index), self._shifted(event)]
            case BlockStop(index=index) if index == self._index:
                self._stop = event
                return [] if self._candidate else self._decide(None)
            case Finish(reason="stop") if self._made:
                return [replace(event, reason="tool_call")]
            case _:
                return [self._shifted(event)]

    # --- while the text comes ----------------------------------------------------------------------------------------

    def _read(self, event: Delta, data: str) -> list[Event]:
        if not self._held and self._begin is None and not SPECIAL.search(data):
            self._prose.skip(data)
            return [self._shifted(event)]
        self._fresh.append(data)
        self._fresh_size += len(data)
        if self._certain or (self._candidate and self._still_waits(data)):
            return []
        self._gather()
        shown: list[str] = []
        while self._advance(shown):
            pass
        return self._show("".join(shown))

    def _still_waits(self, data: str) -> bool:
        """Whether what the candidate waits for has not come, or little has: then it is not read again, since all of
        that is time that grows with the square of the text.
        """
        if self._wanted:
            before = len(self._wanted) - 1
            end = "".join(self._fresh[-before - 1 : -1])[-before:] if before else ""
            if len(end) < before:
                end = self._held[len(end) - before :] + end
            if self._wanted not in end + data:
                return True
            self._wanted = ""
        return self._fresh_size < self._due

    def _gather(self) -> str:
        """All that is held of the block."""
        if self._fresh:
            self._held += "".join(self._fresh)
            self._fresh, self._fresh_size = [], 0
        return self._held

    def _failed(self, cursor: Cursor) -> None:
        """Count what a reading in vain has cost: what it read, and that the rest is copied."""
        self._in_vain += max(cursor.reach, cursor.at) + len(cursor.text) // 64

    @property
    def _tired(self) -> bool:
        return self._in_vain > MOST_IN_VAIN

    def _advance(self, shown: list[str]) -> bool:
        """Read on in what is held; whether there is more to read."""
        if self._tired:
            shown.append(self._held)
            self._held, self._candidate, self._wanted = "", False, ""
            return False
        if not self._candidate:
            end, self._candidate = self._prose.find(self._held, final=False)
            shown.append(self._held[:end])
            self._held = self._held[end:]
            return self._candidate
        cursor = Cursor(self._held, 0, final=False)
        try:
            read(cursor, self._tools)
            self._certain = True
            return False
        except More as more:
            self._wanted = more.wanted
            self._due = len(self._held) // 8 if len(self._held) > OFTEN else 0
            return False
        except Mismatch:
            self._failed(cursor)
            self._candidate, self._wanted, self._due = False, "", 0
            opener = opener_of(self._held)
            self._prose.consume(opener)
            shown.append(opener)
            self._held = self._held[len(opener) :]
            return True

    def _released(self, index: int) -> list[Event]:
        """What is held, as text: a citation that follows is of these words, so they were no call."""
        begin, self._begin = self._begin, None
        text = self._blank + self._gather()
        self._blank = self._held = self._wanted = ""
        self._candidate = self._certain = False
        shown: list[Event] = [self._shifted(begin)] if begin else []
        return [*shown, Delta(index + self._shift, text)] if text else shown

    def _show(self, text: str) -> list[Event]:
        """Text for the client; a block that is blank so far is not begun, since it may turn out to have no text."""
        assert self._index is not None
        if self._begin is None:
            return [Delta(self._index + self._shift, text)] if text else []
        text, self._blank = self._blank + text, ""
        if not text.strip():
            self._blank = text
            return []
        begin, self._begin = self._begin, None
        return [self._shifted(begin), Delta(self._index + self._shift, text)]

    # --- when it has ended -------------------------------------------------------------------------------------------

    def _decide(self, following: Event | None) -> list[Event]:
        """End the text block, with what was held as calls or as text."""
        assert self._stop is not None
        stop, self._stop, self._index = self._stop, None, None
        held, self._held = self._gather(), ""
        pieces: list[Piece] = [held]
        if self._candidate and not (isinstance(following, BlockStart) and isinstance(following.block, ToolCall)):
            pieces = self._pieces(held, last=isinstance(following, Finish))
        self._candidate = self._certain = False
        self._wanted = ""
        return self._blocks(pieces, stop)

    def _fail(self, failure: Failure) -> list[Event]:
        """What was held of a block that the client knows is shown; of another the client can still be told nothing."""
        shown = [] if self._begin is not None else self._show(self._gather())
        stop = [self._shifted(self._stop)] if self._stop is not None and shown else []
        self._stop = None
        return [*shown, *stop, failure]

    def _pieces(self, text: str, *, last: bool) -> list[Piece]:
        """Text and calls in their order, from where a call may begin."""
        pieces: list[Piece] = []
        rest, candidate, unmarked = text, True, False
        while rest:
            if self._tired:
                pieces.append(rest)
                break
            if not candidate:
                end, candidate = self._prose.find(rest, final=True)
                pieces.append(rest[:end])
                rest = rest[end:]
                continue
            cursor = Cursor(rest, 0, final=True)
            try:
                pieces += read(cursor, self._tools)
                unmarked = unmarked or is_unmarked(rest)
            except Mismatch:
                self._failed(cursor)
                cursor.at = len(opener_of(rest))
                self._prose.consume(rest[: cursor.at])
                pieces.append(rest[: cursor.at])
            rest, candidate = rest[cursor.at :], False
        if unmarked and not (last and isinstance(_last_said(pieces), Written)):
            return [text]
        return pieces

    def _blocks(self, pieces: list[Piece], stop: BlockStop) -> list[Event]:
        """The end of the text block, and the calls and texts that stand in its place or behind it."""
        said, self._blank = self._blank, ""
        begun, self._begin = self._begin is None, None
        at = stop.index + self._shift
        out: list[Event] = []
        calls = 0
        for piece in pieces:
            if isinstance(piece, str):
                said += piece
                continue
            calls += 1
            out += _text(at, said, begun=begun)
            at += bool(begun or said.strip())
            said, begun = "", False
            out += self._call(at, piece)
            at += 1
        if not calls:  # a blank or empty block stays what it is
            begin: list[Event] = [] if begun else [BlockStart(at, Text())]
            return [*begin, *([Delta(at, said)] if said else []), BlockStop(at)]
        out += _text(at, said, begun=False)
        self._shift = at + bool(said.strip()) - stop.index - 1
        return out

    def _call(self, index: int, written: Written) -> list[Event]:
        block = ToolCall(self._make_id(self._made), written.name)
        self._made += 1
        self.repairs.append(Loss(f"content.{index}", "emulated", WRITTEN))
        return [BlockStart(index, block), Delta(index, written.arguments), BlockStop(index)]

    def _shifted(self, event: Event) -> Event:
        if self._shift and isinstance(event, BlockStart | Delta | Signature | OpaqueDelta | BlockStop):
            return replace(event, index=event.index + self._shift)
        return event


def _text(index: int, said: str, *, begun: bool) -> list[Event]:
    """A text block, or the end of one; none for white space."""
    if not begun and not said.strip():
        return []
    begin: list[Event] = [] if begun else [BlockStart(index, Text())]
    return [*begin, *([Delta(index, said)] if said else []), BlockStop(index)]


def _last_said(pieces: list[Piece]) -> Piece | None:
    return next((piece for piece in reversed(pieces) if isinstance(piece, Written) or piece.strip()), None)
