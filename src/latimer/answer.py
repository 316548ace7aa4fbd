"""One answer on its way through: upstream bytes in, client bytes out, by decoder, stages and encoder.

This is the seam between translation and transport: whatever moves the bytes needs only `feed`, `end` and `cut`.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from latimer.errors import Failure
from latimer.events import Delta, Event, Finish, Start, Usage
from latimer.report import Loss
from latimer.stages import Stage


class Decoder(Protocol):
    """Bytes of an upstream's answer in, events out."""

    @property
    def finished(self) -> bool: ...
    @property
    def done(self) -> bool: ...
    def more(self, data: bytes) -> Delta | None:
        """The event of bytes that say only more of the open block; None: `decode` must see them."""
        ...

    def decode(self, data: bytes) -> list[Event]: ...
    def flush(self) -> list[Event]: ...
    def fail(self, failure: Failure) -> list[Event]: ...


class Encoder(Protocol):
    """Events in, bytes for the client out."""

    def encode(self, event: Event) -> bytes: ...


class Answer:
    """Bytes through, and what became of them.

    `spoken`: the client has been told something that cannot be taken back, so the request must not be tried again.
    `failure`: how it went wrong; while not `spoken` the client has not been told. `usage`: at the end, if all went
    well, and with it `losses`: what of the answer could not be carried or was put right. `over`: nothing more is needed
    from the upstream. `steady`: the newest bytes were only more of a block, so none of all that has changed with them.
    """

    __slots__ = (
        "_busy",
        "_decoder",
        "_encoder",
        "_flows",
        "_stages",
        "_start",
        "failure",
        "losses",
        "spoken",
        "steady",
        "usage",
    )

    def __init__(self, decoder: Decoder, stages: list[Stage], encoder: Encoder) -> None:
        self._decoder = decoder
        self._stages = stages
        self._encoder = encoder
        self._start: Start | None = None
        self.spoken = False
        self.steady = False
        self._flows = False
        """Whether the client is in the middle of the answer, so that more of a block can go to it at once."""
        self._busy: list[Stage] = stages
        """The stages that have to see more of the open block."""
        self.failure: Failure | None = None
        self.usage: Usage | None = None
        self.losses: tuple[Loss, ...] = ()

    @property
    def over(self) -> bool:
        """Whether the upstream's connection can be let go."""
        return self.failure is not None or self.usage is not None or self._decoder.done

    @property
    def announced(self) -> bool:
        """Whether the upstream has said that nothing more follows."""
        return self._decoder.done

    @property
    def settling(self) -> bool:
        """Whether the answer is complete and only its usage may still come."""
        return self._decoder.finished

    @property
    def repairs(self) -> list[Loss]:
        """What was put right of the model's answer."""
        return [repair for stage in self._stages for repair in getattr(stage, "repairs", ())]

    @property
    def signatures(self) -> list[str]:
        """What the upstream itself has signed; Latimer's own seals say whose they are."""
        return list(getattr(self._decoder, "signatures", ()))

    def feed(self, data: bytes) -> bytes:
        """What to tell the client after these bytes."""
        more = self._decoder.more(data) if self._flows else None
        self.steady = more is not None
        if more is None:
            return self._emit(self._decoder.decode(data))
        # The way of nearly every token, so it does no more than it must: with what is in `decode` and `_emit` a token
        # costs a third more.
        return self._passed(more) if self._busy else self._encoder.encode(more)

    def end(self) -> bytes:
        """What to tell the client now that the upstream has closed in good order."""
        return self._emit(self._decoder.flush())

    def cut(self, failure: Failure) -> bytes:
        """What to tell the client now that the upstream is lost."""
        return self._emit(self._decoder.fail(failure))

    def _passed(self, more: Delta) -> bytes:
        """More of the block, by the stages that want it; what one of them makes of it is seen by all that follow."""
        for stage in self._busy:
            events = stage.pass_on(more)
            if len(events) != 1 or not isinstance(events[0], Delta):
                self.steady = False
                return self._emit(events, self._stages[self._stages.index(stage) + 1 :])
            more = events[0]
        return self._encoder.encode(more)

    def _emit(self, events: list[Event], stages: list[Stage] | None = None) -> bytes:
        for stage in self._stages if stages is None else stages:
            events = [out for event in events for out in stage.pass_on(event)]
        out = b"".join([self._told(event) for event in events])
        self._flows = self.spoken and self.failure is None and self.usage is None
        if self._flows:
            self._busy = [stage for stage in self._stages if not stage.idle]
        return out

    def _told(self, event: Event) -> bytes:
        """The start is held until something follows it: until then a failure can still be an honest HTTP status."""
        if self.failure is not None or self.usage is not None:
            return b""
        if isinstance(event, Start):
            self._start = event
            return b""
        if isinstance(event, Failure):
            self.failure = event
            return self._encoder.encode(event) if self.spoken else b""
        if isinstance(event, Finish):
            self.usage = event.usage
            if repairs := self.repairs:
                event = replace(event, losses=(*event.losses, *repairs))
            self.losses = event.losses
        out = self._encoder.encode(event)
        if not out:
            return b""
        if self._start is not None:
            out, self._start = self._encoder.encode(self._start) + out, None
        self.spoken = True
        return out
