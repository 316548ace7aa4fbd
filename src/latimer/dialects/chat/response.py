"""The response: bytes of a stream or of a whole answer in, events out. A whole one is a stream that arrived at once."""

from __future__ import annotations

from msgspec import json
from msgspec.structs import replace

from latimer.dialects.errors.error_body import holds_error
from latimer.dialects.errors.failures import decode_body_error
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import Event
from latimer.wire import chat as wire
from latimer.wire import sse
from latimer.wire.json_text import UNREADABLE, decode_mended

from .stream import StreamDecoder

MAX_WHOLE_BYTES = 64 * 1024 * 1024
BEFORE = b"\xef\xbb\xbf \t\r\n"
"""What may stand before an answer: a byte order mark, and the blank bytes with which some servers keep a line open."""

_chunk: json.Decoder[wire.Chunk] = json.Decoder(wire.Chunk)


class ResponseDecoder:
    """Bytes in, events out. The body's first byte tells a stream from a whole answer: servers err in content types."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._stream = StreamDecoder(reader)
        self._sse: sse.Decoder | None = None
        self._whole: list[bytes] = []
        self._is_whole = False
        self._size = 0
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether the answer is complete but for its usage."""
        return self._stream.finished

    @property
    def done(self) -> bool:
        """Whether the upstream has said that nothing more follows."""
        return self._done

    def decode(self, data: bytes) -> list[Event]:
        """The events that these bytes cause."""
        if self._sse is None:
            self._whole.append(data)
            if self._is_whole or not self._sniff():
                return self._limit(len(data))
            data = b"".join(self._whole)
        assert self._sse is not None
        try:
            received = self._sse.decode(data)
        except sse.EventTooLarge as error:
            return self._stream.fail(self._broken(str(error)))
        events: list[Event] = []
        for message in received:
            events += self._message(message)
        return events

    def flush(self) -> list[Event]:
        """The last events, once the connection has ended."""
        events: list[Event] = []
        if self._sse is not None:
            for message in self._sse.flush():
                # After the finish reason only the usage can have been cut, and the answer is whole without it.
                if not self.finished or isinstance(_lenient(message.data), dict):
                    events += self._message(message)
            return events + self._stream.flush(complete=self._done)
        body = b"".join(self._whole).lstrip(BEFORE)
        if not body:
            return self._stream.fail(self._broken("an empty body"))
        events = self._data(body, whole=True)
        return events + self._stream.flush(complete=True)

    def fail(self, failure: Failure) -> list[Event]:
        """End the answer with a failure of the connection; one that had its finish reason is whole all the same."""
        return self._stream.flush(complete=True) if self.finished else self._stream.fail(failure)

    def _sniff(self) -> bool:
        """Whether the body is a stream. Undecided bytes count as a whole answer until more come."""
        start = b"".join(self._whole).lstrip(BEFORE)
        self._is_whole = start.startswith((b"{", b"[", b"<"))
        if not start or self._is_whole:
            return False
        self._sse = sse.Decoder()
        return True

    def _limit(self, more: int) -> list[Event]:
        self._size += more
        if self._size > MAX_WHOLE_BYTES:
            return self._stream.fail(self._broken(f"an answer of more than {MAX_WHOLE_BYTES} bytes"))
        return []

    def _message(self, message: sse.ServerSentEvent) -> list[Event]:
        if message.data.strip() == b"[DONE]":
            self._done = True
            return []
        if not message.data.strip():
            return []
        if message.event == "error":
            return self._stream.fail(decode_body_error(_lenient(message.data), self._reader.asked))
        return self._data(message.data, whole=False)

    def _data(self, data: bytes, *, whole: bool) -> list[Event]:
        try:
            chunk = decode_mended(_chunk, data)
        except UNREADABLE as error:
            return self._stream.fail(self._unreadable(data, str(error)))
        if chunk.choices is None and chunk.usage is None and chunk.error == wire.NULL:
            body = _lenient(data)
            if whole or holds_error(body):
                return self._stream.fail(decode_body_error(body, self._reader.asked))
        try:
            return self._stream.decode(chunk)
        except UNREADABLE as error:  # inside a subtree that was kept raw
            return self._stream.fail(self._unreadable(data, str(error)))

    def _unreadable(self, data: bytes, error: str) -> Failure:
        if data.lstrip()[:1] == b"<":
            what = "it answered with a web page. Check base_url (--upstream): it usually ends in /v1"
            return replace(self._broken(what), should_retry=False)
        return self._broken(f"it sent what is not Chat Completions ({error})")

    def _broken(self, what: str) -> Failure:
        return Failure("api_error", f"{self._reader.asked.route}: {what}")


def _lenient(data: bytes) -> object:
    try:
        return json.decode(data)
    except UNREADABLE:
        return data.decode("utf-8", "replace")
