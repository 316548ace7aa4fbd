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
    from the upstream.
    """

    def __init__(self, decoder: Decoder, stages: list[Stage], encoder: Encoder) -> None:
        self._decoder = decoder
        self._stages = stages
        self._encoder = encoder
        self._start: Start | None = None
        self.spoken = False
        self._flows = False
        """Whether the client is in the middle of the answer, so that more of a block can go to it at once."""
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
        return self._emit(self._decoder.decode(data))

    def end(self) -> bytes:
        """What to tell the client now that the upstream has closed in good order."""
        return self._emit(self._decoder.flush())

    def cut(self, failure: Failure) -> bytes:
        """What to tell the client now that the upstream is lost."""
        return self._emit(self._decoder.fail(failure))

    def _emit(self, events: list[Event]) -> bytes:
        for stage in self._stages:
            # One event is the common case, once for each token.
            events = stage.pass_on(events[0]) if len(events) == 1 else [o for e in events for o in stage.pass_on(e)]
        if len(events) == 1:
            event = events[0]
            if self._flows and type(event) is Delta:
                return self._encoder.encode(event)
            return self._told(event)
        return b"".join([self._told(event) for event in events])

    def _told(self, event: Event) -> bytes:
        """The start is held until something follows it: until then a failure can still be an honest HTTP status."""
        if self.failure is not None or self.usage is not None:
            return b""
        if isinstance(event, Start):
            self._start = event
            return b""
        if isinstance(event, Failure):
            self._flows = False
            self.failure = event
            return self._encoder.encode(event) if self.spoken else b""
        if isinstance(event, Finish):
            self._flows = False
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
        self._flows = self.usage is None
        return out
