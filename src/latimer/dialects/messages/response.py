"""An upstream's answer in Messages, where it has to be read and written anew: bytes in, events out."""

from __future__ import annotations

from msgspec import Struct, json

from latimer.dialects.body import BodyDecoder, lenient
from latimer.dialects.errors.failures import Asked, decode_body_error
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import Event
from latimer.wire.json_text import UNREADABLE, decode_mended

from .decoder import MessageEvents, decode_response


class Kind(Struct, frozen=True):
    """What a JSON object says it is."""

    type: str = ""


_kind: json.Decoder[Kind] = json.Decoder(Kind)


class ResponseDecoder(BodyDecoder):
    """Bytes in, events out: a stream or a whole message, told apart by the first byte."""

    _dialect = "Messages"

    def __init__(self, reader: Reader) -> None:
        self._messages = message_events(reader.asked)
        super().__init__(reader, self._messages)

    @property
    def done(self) -> bool:
        """Whether the upstream has said that nothing more follows."""
        return self._messages.done

    @property
    def signatures(self) -> list[str]:
        """Those of the answer's thinking, as `MessageEvents` has them."""
        return self._messages.signatures

    def _data(self, data: bytes, name: str = "message", *, whole: bool = False) -> list[Event]:
        del name  # the data says it, too
        if not whole:
            return self._messages.decode(data)
        events = decode_whole(data, self._reader.asked)
        if events is None:
            return self._messages.fail(self._unreadable(data, "no message"))
        return self._messages.whole(events)


def message_events(asked: Asked) -> MessageEvents:
    """The reader of a stream's events that tells failures as those of the upstream that was asked."""
    return MessageEvents(lambda data: decode_body_error(lenient(data), asked), asked.route)


def decode_whole(body: bytes, asked: Asked) -> list[Event] | None:
    """The events of a whole message, or of the error in its place; None for what is no JSON object."""
    try:
        kind = decode_mended(_kind, body).type
    except UNREADABLE:
        return None
    if kind != "message":
        return [decode_body_error(lenient(body), asked)]
    return [
        Failure("api_error", f"{asked.route}: {event.message}") if isinstance(event, Failure) else event
        for event in decode_response(body)
    ]
