"""The response: bytes of a stream or of a whole answer in, events out. A whole one is a stream that arrived at once."""

from __future__ import annotations

from msgspec import json

from latimer.dialects.body import BodyDecoder, lenient
from latimer.dialects.errors.error_body import holds_error
from latimer.dialects.errors.failures import decode_body_error
from latimer.dialects.reader import Reader
from latimer.events import Delta, Event
from latimer.wire import chat as wire
from latimer.wire.json_text import UNREADABLE, decode_mended
from latimer.wire.sse import ServerSentEvent

from .stream import StreamDecoder

_chunk: json.Decoder[wire.Chunk] = json.Decoder(wire.Chunk)


class ResponseDecoder(BodyDecoder):
    """Bytes in, events out. Chunks have no names: what they are stands in their fields."""

    _dialect = "Chat Completions"

    def __init__(self, reader: Reader) -> None:
        self._stream = StreamDecoder(reader)
        super().__init__(reader, self._stream)

    def more(self, data: bytes) -> Delta | None:
        """See `StreamDecoder.more`."""
        if self._sse is None:
            return None
        alone = self._sse.one(data)
        return None if alone is None else self._stream.more(alone)

    def _message(self, message: ServerSentEvent) -> list[Event]:
        """Where several came in one read, each may be a short one."""
        more = self._stream.more(message.data) if message.event == "message" else None
        return super()._message(message) if more is None else [more]

    def _data(self, data: bytes, name: str = "message", *, whole: bool = False) -> list[Event]:
        del name  # chunks have none
        try:
            chunk = decode_mended(_chunk, data)
        except UNREADABLE as error:
            return self._stream.fail(self._unreadable(data, str(error)))
        if chunk.choices is None and chunk.usage is None and chunk.error == wire.NULL:
            body = lenient(data)
            if whole or holds_error(body):
                return self._stream.fail(decode_body_error(body, self._reader.asked))
        try:
            return self._stream.decode(chunk)
        except UNREADABLE as error:  # inside a subtree that was kept raw
            return self._stream.fail(self._unreadable(data, str(error)))
