"""Blocks: segments of an answer in, the hub's bracketed events out, whatever the order they arrive in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec import json

from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Reasoning, Signature, Text, ToolCall
from latimer.wire.json_text import unparsed_input

from .arguments import MalformedArguments, normalize
from .reader import Reader
from .sealing import Sealed, route_mark, seal
from .segments import NO_EXTRA, Segment
from .tools import hash_text

LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
JSON_SPACE = " \t\r\n"
"""All that JSON knows as space (RFC 8259); Python's own idea of it is wider."""


class BrokenAnswer(Exception):
    """The upstream broke its own dialect's rules, or said that it failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def broken(reader: Reader, what: str) -> BrokenAnswer:
    """What is wrong, told with the route's name."""
    return BrokenAnswer(Failure("api_error", f"{reader.asked.route}: {what}"))


class Blocks:
    """Opens, fills and closes the blocks of one answer, one after the other. `events` are those not yet taken.

    `calls` counts the tool calls that were opened, `chars` all that was said.
    """

    __slots__ = (
        "_cut",
        "_index",
        "_open",
        "_reader",
        "_used_ids",
        "_waiting",
        "calls",
        "chars",
        "events",
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.events: list[Event] = []
        self.calls = 0
        self.chars = 0
        self._index = -1
        self._open: Segment | None = None
        self._waiting: list[Segment] = []
        self._used_ids = set(reader.taken_ids)
        self._cut = False

    @property
    def any(self) -> bool:
        """Whether there is a block, open, closed or waiting."""
        return self._index >= 0 or self._open is not None or bool(self._waiting)

    @property
    def newest(self) -> Segment | None:
        """The segment that was begun last, if it can still grow."""
        return self._waiting[-1] if self._waiting else self._open

    def taken(self) -> list[Event]:
        """The events since the last time."""
        events, self.events = self.events, []
        return events

    def queue(self, segment: Segment) -> None:
        """Let a segment be the last; it opens when all before it are closed."""
        self._waiting.append(segment)

    def add(self, segment: Segment, text: str) -> None:
        """More of a segment, which must have been queued. Raises `BrokenAnswer` for more of a complete call."""
        if segment.kind == "call":
            self._add_arguments(segment, text)
        elif segment is self._open:
            self.chars += len(text)
            self._stream(segment, text)
        else:
            self.chars += len(text)
            segment.parts.append(text)
        self.advance()

    @property
    def growing(self) -> Segment | None:
        """The segment whose block is open, if more of it can go out at once: nothing else waits."""
        segment = self._open
        return None if segment is None or self._waiting or not segment.started else segment

    def grow(self, text: str) -> Delta | None:
        """More of the segment that is `growing`: what `add` would make of it; None if none is."""
        segment = self._open
        if segment is None or self._waiting or not segment.started:  # as `growing`, once for each token
            return None
        self.chars += len(text)
        if segment.kind == "call" or (self._reader.seal_text and segment.kind == "reasoning"):
            segment.parts.append(text)
        return Delta(self._index, text)

    def advance(self) -> None:
        """Open the next segment as often as the open one allows."""
        while self._waiting and (self._open is None or self._open.complete):
            self._next()

    def finish(self, *, cut: bool) -> None:
        """Open and close all that is left. `cut`: by the length limit, so that a call may be incomplete."""
        self._cut = cut
        while self._waiting:
            self._next()
        self._close()

    def _next(self) -> None:
        self._close()
        self._open = self._waiting.pop(0)
        self._begin(self._open)

    def _begin(self, segment: Segment) -> None:
        if segment.kind == "call":
            self._stream_call(segment, segment.text)
            return
        held, segment.parts = segment.text, []
        self._start_block(Text() if segment.kind == "text" else Reasoning())
        segment.started = True
        if held:
            self._stream(segment, held)

    def _stream(self, segment: Segment, text: str) -> None:
        self.events.append(Delta(self._index, text))
        if segment.kind == "reasoning" and self._reader.seal_text:
            segment.parts.append(text)

    def _add_arguments(self, call: Segment, text: str) -> None:
        if not text:
            return
        call.parts.append(text)
        if call is self._open:
            self._stream_call(call, text)
        elif call.closed and text.strip():
            raise broken(self._reader, f"more arguments for tool call {call.name!r} after it was complete")

    def _stream_call(self, call: Segment, text: str) -> None:
        """Pass arguments on as they come, once they are seen to be an object; others wait for the end to be mended."""
        self.chars += len(text)
        if call.started:
            self.events.append(Delta(self._index, text))
        elif call.name and call.text.lstrip(JSON_SPACE).startswith("{"):
            self._start_call(call)
            self.events.append(Delta(self._index, call.text))

    def _start_call(self, call: Segment) -> None:
        if not call.name:
            raise broken(self._reader, "a tool call without a name")
        call_id = self._client_id(call.id)
        if call.extra != NO_EXTRA:
            self._start_block(Reasoning())
            extra = Sealed(route_mark(self._reader.asked.route), calls={call_id: json.decode(call.extra)})
            self.events += [Signature(self._index, seal(extra)), BlockStop(self._index)]
        call.started = True
        self.calls += 1
        self._start_block(ToolCall(call_id, self._reader.names.get(call.name, call.name)))

    def _client_id(self, upstream: str) -> str:
        """The upstream's id where the client can use it: legal, and new in answer and conversation."""
        unique = upstream if LEGAL_ID.fullmatch(upstream) and upstream not in self._used_ids else ""
        call_id = unique or f"toolu_{hash_text(f'{self._reader.message_id}.{self.calls}', 24)}"
        self._used_ids.add(call_id)
        return call_id

    def _start_block(self, block: Text | Reasoning | ToolCall) -> None:
        self._index += 1
        self.events.append(BlockStart(self._index, block))

    def _close(self) -> None:
        """End the open block; the only place where blocks of the answer end."""
        segment, self._open = self._open, None
        if segment is None:
            return
        segment.closed = True
        if segment.kind == "reasoning":
            self.events.append(Signature(self._index, seal(segment.seal() if segment.seal else self._sealed(segment))))
        elif segment.kind == "call":
            self._settle_call(segment)
        self.events.append(BlockStop(self._index))

    def _settle_call(self, call: Segment) -> None:
        """Check what was streamed; send what had to wait. Cut off by the length limit, a call stays as it is.

        One that had not even begun as an object is told as the client tells such arguments: no reader takes them bare.
        """
        try:
            arguments = call.text if self._reader.raw_arguments else normalize(call.text)
        except MalformedArguments as error:
            if not self._cut:
                raise broken(self._reader, f"malformed arguments for tool {call.name!r}: {error}") from error
            arguments = json.encode(unparsed_input(call.text)).decode()
        if not call.started:
            self._start_call(call)
            self.events.append(Delta(self._index, arguments))

    def _sealed(self, segment: Segment) -> Sealed:
        field: Any = segment.field or "reasoning_content"
        hidden = segment.text if self._reader.seal_text else None
        return Sealed(
            route_mark(self._reader.asked.route), field, hidden, segment.details or None, opaque=segment.opaque
        )


class BlockStream:
    """What the stream decoders share: what they are told causes events, until the answer has ended or is broken."""

    __slots__ = (
        "_blocks",
        "_ended",
        "_reader",
        "_started",
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._blocks = Blocks(reader)
        self._started = self._ended = False

    def fail(self, failure: Failure) -> list[Event]:
        """End the answer with a failure that came from outside."""
        if not self._ended:
            self._fail(failure)
        return self._blocks.taken()

    def _caused(self, work: Callable[..., None], *told: object) -> list[Event]:
        """The events that reading `told` causes; what breaks the rules ends the answer."""
        if self._ended:
            return []
        try:
            work(*told)
        except BrokenAnswer as wrong:
            self._fail(wrong.failure)
        return self._blocks.taken()

    def _fail(self, failure: Failure) -> None:
        self._ended = True
        self._blocks.events.append(failure)
