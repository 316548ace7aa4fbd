"""What the client has been shown of one answer, over all the attempts at it."""

from __future__ import annotations

from msgspec import Struct

from latimer.answer import Encoder
from latimer.errors import Failure
from latimer.events import (
    CHARS_PER_TOKEN,
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
)


class Said(Struct):
    """A block as far as it was shown. `parts` are its deltas."""

    block: Block
    parts: list[str]
    signature: str = ""
    closed: bool = False

    @property
    def text(self) -> str:
        """All that its deltas said."""
        return "".join(self.parts)


class Shown:
    """An encoder that takes note of what passes, and keeps back what could not be taken back.

    A tool call goes to the client when it is whole: half of one could be neither finished nor withdrawn. A failure is
    kept in `failure`, since the answer may go on.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._call: list[Event] | None = None
        self.said: list[Said] = []
        self.failure: Failure | None = None
        self.usage = Usage()
        """What the upstream, or an estimate, said of the prompt when the answer began."""
        self.strange = False
        """Whether there was something that no request could be told of: a block or a delta without a name here."""

    def begin(self) -> None:
        """Forget an attempt that came to nothing, or was cut off in a tool call."""
        self._call, self.failure = None, None

    def encode(self, event: Event) -> bytes:
        """The bytes of an event; b'' while it is kept back."""
        if self._call is not None:
            return self._of_a_call(self._call, event)
        match event:
            case BlockStart(block=ToolCall()):
                self._call = [event]
                return b""
            case Failure():
                self.failure = event
                return b""
            case _:
                self._note(event)
                return self._encoder.encode(event)

    def give_up(self, failure: Failure) -> bytes:
        """The end of an answer that does not go on."""
        return self._encoder.encode(failure)

    @property
    def open(self) -> Said | None:
        """The block that the client waits for more of."""
        return self.said[-1] if self.said and not self.said[-1].closed else None

    @property
    def text(self) -> str:
        """All text for the reader."""
        return "".join(said.text for said in self.said if isinstance(said.block, Text))

    @property
    def called(self) -> bool:
        """Whether there is a tool call, which is a whole one."""
        return any(isinstance(said.block, ToolCall) for said in self.said)

    @property
    def tokens(self) -> int:
        """About how many tokens it took."""
        return -(-sum(len(part) for said in self.said for part in said.parts) // CHARS_PER_TOKEN)

    def _of_a_call(self, held: list[Event], event: Event) -> bytes:
        if isinstance(event, Failure):
            self._call, self.failure = None, event
            return b""
        held.append(event)
        if not isinstance(event, BlockStop):
            return b""
        self._call = None
        for each in held:
            self._note(each)
        return b"".join([self._encoder.encode(each) for each in held])

    def _note(self, event: Event) -> None:
        match event:
            case Delta(data=data):
                self.said[-1].parts.append(data)
            case BlockStart(block=block):
                self.said.append(Said(block, []))
                self.strange = self.strange or isinstance(block, Opaque)
            case Signature(data=data) if isinstance(self.said[-1].block, Reasoning):
                self.said[-1].signature = data
            case OpaqueDelta():
                self.strange = True
            case BlockStop():
                self.said[-1].closed = True
            case Start(usage=usage):
                self.usage = usage
            case _:
                pass
