"""Server-sent events, without I/O. WHATWG HTML, section 9.2 "Server-sent events"."""

from __future__ import annotations

from typing import NamedTuple

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""An event larger than this is an attack or a broken server; whole answers of every known provider are far smaller."""


class ServerSentEvent(NamedTuple):
    event: str
    data: bytes


class EventTooLarge(ValueError):
    """A line or event grew past `MAX_EVENT_BYTES`."""


class Decoder:
    """Bytes in, events out. A line ends in CRLF, LF or CR; a blank line ends an event."""

    __slots__ = (
        "_data",
        "_event",
        "_fresh",
        "_size",
        "_unfinished",
        "between",
    )

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []  # of one line: joined once, so that a long line costs no quadratic copying
        self._size = 0
        self._data: list[bytes] = []
        self._event = "message"
        self._fresh = True
        self.between = False
        """Whether an event has just ended, and nothing of the next one has come."""

    def decode(self, chunk: bytes) -> list[ServerSentEvent]:
        """All events that this chunk completes."""
        if (data := self.one(chunk)) is not None:
            return [ServerSentEvent("message", data)]
        self.between = False
        self._size += len(chunk)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of more than {MAX_EVENT_BYTES} bytes")
        ends_in_cr = bool(self._unfinished) and self._unfinished[-1].endswith(b"\r")
        if b"\n" not in chunk and b"\r" not in chunk and not ends_in_cr:
            self._unfinished.append(chunk)
            return []
        self._unfinished.append(chunk)
        lines = b"".join(self._unfinished).splitlines(keepends=True)
        # A final CR may be half of a CRLF: it waits with the unfinished line.
        unfinished = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._unfinished = [unfinished] if unfinished else []
        events: list[ServerSentEvent] = []
        for line in lines:
            self._line(line.rstrip(b"\r\n"), events)
        self.between = not (self._unfinished or self._data) and self._event == "message"
        return events

    def one(self, chunk: bytes) -> bytes | None:
        """The data of a chunk that is a whole `data:` event by itself, as most reads of a stream are; else None."""
        end = len(chunk) - 2
        if (
            self.between
            and chunk.find(b"\n") == end
            and chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and b"\r" not in chunk
            and end < MAX_EVENT_BYTES
        ):
            return chunk[6:end]
        return None

    def flush(self) -> list[ServerSentEvent]:
        """The last event. The standard drops one without its blank line; servers forget it often, so it counts."""
        events: list[ServerSentEvent] = []
        for line in b"".join(self._unfinished).splitlines():
            self._line(line, events)
        self._line(b"", events)
        self._unfinished = []
        return events

    def _line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                events.append(ServerSentEvent(self._event, b"\n".join(self._data)))
                self._data = []
            self._event = "message"
            self._size = 0
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
        elif line.startswith(b"event:"):
            self._event = line[6:].removeprefix(b" ").decode(errors="replace")


def encode(data: bytes, event: str = "message") -> bytes:
    """One event; `data` is split at its line feeds."""
    name = b"" if event == "message" else b"event: %s\n" % event.encode()
    return name + b"".join(b"data: %s\n" % line for line in data.split(b"\n")) + b"\n"
