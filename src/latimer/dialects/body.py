"""The body of an answer of OpenAI's dialects: a stream or a whole answer, told apart by the first byte."""

from __future__ import annotations

from typing import Protocol

from msgspec import json
from msgspec.structs import replace

from latimer.errors import Failure
from latimer.events import Delta, Event
from latimer.wire import sse
from latimer.wire.json_text import UNREADABLE

from .errors.failures import decode_body_error
from .reader import Reader

MAX_WHOLE_BYTES = 64 * 1024 * 1024
BEFORE = b"\xef\xbb\xbf \t\r\n"
"""What may stand before an answer: a byte order mark, and the blank bytes with which some servers keep a line open."""


class Stream(Protocol):
    """What is said, without how it is framed."""

    @property
    def finished(self) -> bool: ...
    def flush(self, *, complete: bool) -> list[Event]: ...
    def fail(self, failure: Failure) -> list[Event]: ...


class BodyDecoder:
    """Bytes in, events out: a whole answer is a stream that arrived at once. Servers err in content types, so the
    body's first byte counts. A dialect says in `_data` what one event's data, or a whole answer, means.
    """

    __slots__ = (
        "_done",
        "_events",
        "_is_whole",
        "_reader",
        "_size",
        "_sse",
        "_whole",
    )

    _dialect: str
    """The dialect's name, for messages."""

    def __init__(self, reader: Reader, stream: Stream) -> None:
        self._reader = reader
        self._events = stream
        self._sse: sse.Decoder | None = None
        self._whole: list[bytes] = []
        self._is_whole = False
        self._size = 0
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether the answer is complete but for its usage."""
        return self._events.finished

    @property
    def done(self) -> bool:
        """Whether the upstream has said that nothing more follows."""
        return self._done

    def more(self, data: bytes) -> Delta | None:
        """The event of bytes that say only more of the open block; None: `decode` must see them."""
        del data
        return None

    def decode(self, data: bytes) -> list[Event]:
        """The events that these bytes cause."""
        if self._sse is None:
            self._whole.append(data)
            if self._is_whole or not self._sniff():
                return self._limit(len(data))
            data = b"".join(self._whole)
        assert self._sse is not None
        data_alone = self._sse.one(data)
        if data_alone is not None and data_alone.startswith(b"{"):
            return self._data(data_alone)
        try:
            received = self._sse.decode(data)
        except sse.EventTooLarge as error:
            return self._events.fail(self._broken(str(error)))
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
                if not self.finished or isinstance(lenient(message.data), dict):
                    events += self._message(message)
            return events + self._events.flush(complete=self._done)
        body = b"".join(self._whole).lstrip(BEFORE)
        if not body:
            return self._events.fail(self._broken("an empty body"))
        events = self._data(body, whole=True)
        return events + self._events.flush(complete=True)

    def fail(self, failure: Failure) -> list[Event]:
        """End the answer with a failure of the connection; one that had its finish reason is whole all the same."""
        return self._events.flush(complete=True) if self.finished else self._events.fail(failure)

    def _data(self, data: bytes, name: str = "message", *, whole: bool = False) -> list[Event]:
        raise NotImplementedError

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
            return self._events.fail(self._broken(f"an answer of more than {MAX_WHOLE_BYTES} bytes"))
        return []

    def _message(self, message: sse.ServerSentEvent) -> list[Event]:
        if message.data.strip() == b"[DONE]":
            self._done = True
            return []
        if not message.data.strip():
            return []
        if message.event == "error":
            return self._events.fail(decode_body_error(lenient(message.data), self._reader.asked))
        return self._data(message.data, message.event)

    def _unreadable(self, data: bytes, error: str) -> Failure:
        if data.lstrip()[:1] == b"<":
            what = "it answered with a web page. Check base_url (--upstream): it usually ends in /v1"
            return replace(self._broken(what), should_retry=False)
        return self._broken(f"it sent what is not {self._dialect} ({error})")

    def _broken(self, what: str) -> Failure:
        return Failure("api_error", f"{self._reader.asked.route}: {what}")


def lenient(data: bytes) -> object:
    """The JSON's value, or the text where it is none."""
    try:
        return json.decode(data)
    except UNREADABLE:
        return data.decode("utf-8", "replace")
