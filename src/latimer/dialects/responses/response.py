"""The response: bytes of a stream or of a whole answer in, events out. A whole one is a stream that arrived at once."""

from __future__ import annotations

from msgspec import json
from msgspec.structs import replace

from latimer.dialects.body import BodyDecoder, lenient
from latimer.dialects.errors.error_body import holds_error
from latimer.dialects.errors.failures import decode_body_error
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import Event
from latimer.wire import responses as wire
from latimer.wire.json_text import UNREADABLE, decode_mended

from .stream import ENDS, StreamDecoder

_event: json.Decoder[wire.StreamEvent] = json.Decoder(wire.StreamEvent)
_response: json.Decoder[wire.Response] = json.Decoder(wire.Response)


class ResponseDecoder(BodyDecoder):
    """Bytes in, events out. An event's type stands in its data; where it is missing there, the SSE name counts."""

    _dialect = "Responses"

    def __init__(self, reader: Reader) -> None:
        self._stream = StreamDecoder(reader)
        super().__init__(reader, self._stream)

    def _data(self, data: bytes, name: str = "message", *, whole: bool = False) -> list[Event]:
        try:
            if whole:
                return self._body(data)
            event = decode_mended(_event, data)
        except UNREADABLE as error:
            return self._stream.fail(self._unreadable(data, str(error)))
        name = event.type or name
        if name == "error" or not event.type:
            body = lenient(data)
            if name == "error" or holds_error(body):
                return self._stream.fail(decode_body_error(body, self._reader.asked))
            if _is_chat(body):
                return self._stream.fail(self._in_chat())
        self._done = self._done or name in ENDS
        return self._stream.decode(event, name)

    def _body(self, data: bytes) -> list[Event]:
        response = decode_mended(_response, data)
        if response.output is None and response.status is None:
            body = lenient(data)
            failure = self._in_chat() if _is_chat(body) else decode_body_error(body, self._reader.asked)
            return self._stream.fail(failure)
        return self._stream.decode_whole(response)

    def _in_chat(self) -> Failure:
        what = 'it answered in Chat Completions, not in Responses. Set endpoint.dialect = "chat"'
        return replace(self._broken(what), should_retry=False)


def _is_chat(body: object) -> bool:
    return isinstance(body, dict) and "choices" in body
