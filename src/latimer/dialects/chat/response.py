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
from latimer.wire.template import Template, learn

from .stream import StreamDecoder

MOST_MISSES = 4
"""After so many templates in a row that fitted nothing, none is tried: each chunk has something of its own."""

_chunk: json.Decoder[wire.Chunk] = json.Decoder(wire.Chunk)


class ResponseDecoder(BodyDecoder):
    """Bytes in, events out. Chunks have no names: what they are stands in their fields."""

    __slots__ = (
        "_misses",
        "_stream",
        "_template",
    )

    _dialect = "Chat Completions"

    def __init__(self, reader: Reader) -> None:
        self._stream = StreamDecoder(reader)
        super().__init__(reader, self._stream)
        self._template: Template | None = None
        """Of chunks that say more of the open block. It holds until a chunk has said anything else."""
        self._misses = 0

    def more(self, data: bytes) -> Delta | None:
        """See `StreamDecoder.more`. What differs from the chunk before in its words alone is not even decoded."""
        if self._sse is None:
            return None
        if self._template is not None and self._sse.between and (text := self._template.text(data)):
            self._misses = 0
            return self._stream.grow(text)
        alone = self._sse.one(data)
        more = None if alone is None else self._stream.more(alone)
        if more is not None and self._misses < MOST_MISSES and not (self._template and self._template.fits(data)):
            self._misses += 1
            self._template = learn(data, more.data, self._read)
        return more

    def _read(self, event: bytes) -> str | None:
        assert self._sse is not None
        alone = self._sse.one(event)
        return None if alone is None else self._stream.words(alone)

    def _message(self, message: ServerSentEvent) -> list[Event]:
        """Where several came in one read, each may be a short one."""
        more = self._stream.more(message.data) if message.event == "message" else None
        return super()._message(message) if more is None else [more]

    def _data(self, data: bytes, name: str = "message", *, whole: bool = False) -> list[Event]:
        del name  # chunks have none
        self._template = None
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
