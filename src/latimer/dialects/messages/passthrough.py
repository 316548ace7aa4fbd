"""An answer in Messages for a client that speaks Messages: its bytes go through as they came.

A copy is read for what Latimer must know: usage, the end, and failures, which the client is told of in the words it
acts on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Raw, json

from latimer.answer import Answer, Encoder
from latimer.dialects.body import BEFORE, MAX_WHOLE_BYTES, lenient
from latimer.dialects.effort import room_to_think
from latimer.dialects.errors.failures import decode_body_error
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import BlockStart, Event, Finish, Start, Text, Usage
from latimer.profile import Profile
from latimer.report import Loss
from latimer.wire import sse
from latimer.wire.json_text import UNREADABLE
from latimer.wire.splice import members, splice

from .request import Request
from .response import decode_whole, message_events

_BLANK = re.compile(rb"\n\r?\n|\r\r")
"""The blank line that ends an event."""
_DELTA = b"event: content_block_delta\ndata: "
UNIQUE = re.compile(r"[\w.:-]{16,}", re.ASCII)
"""Ids that may be one of their kind. Clients merge answers that share one (measured, Claude Code 2.1.330)."""


def translated_because(request: Request, profile: Profile) -> str:
    """Why this request's answer has to be read and written anew, '' when its bytes can go through.

    Beside these the gateway has its own reasons: tools that it runs for the model, and a review of tool calls.
    """
    rules = profile.native
    if not rules.passthrough:
        return "the profile has its answers repaired"
    if request.members and not rules.client_tools:
        return "members of toolsets were sent as functions"
    if request.one_call and not profile.tools.parallel:
        return "the provider does not hold itself to one tool call"
    if request.body.stop_sequences and not rules.takes("stop_sequences"):
        return "the provider does not stop at stop sequences"
    if request.applied_edits or request.compacted:
        return "the answer tells how the context was edited"
    if room_to_think(request, profile):
        return "the answer is cut after what the client allowed"
    return ""


class PassedAnswer:
    """What `latimer.answer.Answer` is to a translated answer, for one whose bytes go through.

    `encoder` words a failure. `instead` makes the answer that is translated, for the cases in which bytes cannot go
    through: the upstream gave a stream for a message or a message for a stream, or `greeted` says that the client has
    had a `message_start` already. `model` is put in the place of the upstream's name for it, where it is given.
    """

    def __init__(
        self,
        reader: Reader,
        encoder: Encoder,
        instead: Callable[[], Answer],
        *,
        stream: bool,
        model: str | None = None,
        greeted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._make_instead = instead
        self._instead: Answer | None = None
        self._wants_stream = stream
        self._model = model
        self._greeted = greeted
        self._events = message_events(reader.asked)
        self._kind: Literal["", "stream", "whole"] = ""
        self._waiting: list[bytes] = []  # of an event or a whole answer: joined once, so that a long one is not copied
        self._size = 0
        self._held: list[bytes] = []
        self._heading = b""
        self._spoken = False
        self._failure: Failure | None = None
        self._usage: Usage | None = None

    @property
    def steady(self) -> bool:
        """Whether the newest bytes were only more of a block."""
        return self._instead.steady if self._instead else False

    @property
    def spoken(self) -> bool:
        """Whether the client has been told something that cannot be taken back."""
        return self._instead.spoken if self._instead else self._spoken

    @property
    def failure(self) -> Failure | None:
        """How it went wrong; while not `spoken` the client has not been told."""
        return self._instead.failure if self._instead else self._failure

    @property
    def usage(self) -> Usage | None:
        """At the end, if all went well."""
        return self._instead.usage if self._instead else self._usage

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What of the answer could not be carried: nothing, while its bytes go through."""
        return self._instead.losses if self._instead else ()

    @property
    def repairs(self) -> list[Loss]:
        """What was put right of the model's answer."""
        return self._instead.repairs if self._instead else []

    @property
    def signatures(self) -> list[str]:
        """What the upstream has signed."""
        return self._instead.signatures if self._instead else self._events.signatures

    @property
    def over(self) -> bool:
        """Whether the upstream's connection can be let go."""
        return self._instead.over if self._instead else self._failure is not None or self._usage is not None

    @property
    def announced(self) -> bool:
        """Whether the upstream has said that nothing more follows."""
        return self._instead.announced if self._instead else self._events.done

    @property
    def settling(self) -> bool:
        """Whether the answer is complete and only its usage may still come. Messages says both at once."""
        return self._instead.settling if self._instead else False

    def feed(self, data: bytes) -> bytes:
        """What to tell the client after these bytes: whole events."""
        if self._instead:
            return self._instead.feed(data)
        if not self._waiting and self._spoken and self._is_delta(data):
            return data
        if self.over:
            return b""
        self._waiting.append(data)
        self._size += len(data)
        self._kind = self._kind or self._sniff()
        if self._kind and self._kind != ("stream" if self._wants_stream else "whole"):
            return self._translate()
        if self._kind == "stream" and _BLANK.search(self._edge()):
            return self._stream(b"".join(self._waiting))
        limit = sse.MAX_EVENT_BYTES if self._kind == "stream" else MAX_WHOLE_BYTES
        return self._fail(self._events.broken(f"more than {limit} bytes in one piece")) if self._size > limit else b""

    def end(self) -> bytes:
        """What to tell the client now that the upstream has closed in good order."""
        if self._instead:
            return self._instead.end()
        if self.over:
            return b""
        rest = b"".join(self._waiting)
        if self._kind != "stream":
            return self._whole(rest)
        # The blank line after the last event is often forgotten; of one that was cut nothing is passed on.
        events = self._read(rest)
        if not events or not isinstance(events[-1], Finish):
            return self._fail([*events, *self._events.flush()])
        out = self._speak(rest + (b"\n" if rest.endswith(b"\n") else b"\n\n"), events[-1])
        return out + (self._instead.end() if self._instead else b"")

    def cut(self, failure: Failure) -> bytes:
        """What to tell the client now that the upstream is lost."""
        if self._instead:
            return self._instead.cut(failure)
        return b"" if self.over else self._fail(self._events.fail(failure))

    def _sniff(self) -> Literal["", "stream", "whole"]:
        """By the first byte, since servers err in content types; '' while there is none."""
        start = b"".join(self._waiting).lstrip(BEFORE)
        if not start:
            return ""
        return "whole" if start.startswith((b"{", b"[", b"<")) else "stream"

    def _edge(self) -> bytes:
        """The newest bytes, and those before them that may begin a blank line."""
        *before, newest = self._waiting
        return b"".join(before[-3:])[-3:] + newest

    def _stream(self, text: bytes) -> bytes:
        """Every event that is whole by now; the rest waits."""
        out: list[bytes] = []
        start = 0
        for blank in _BLANK.finditer(text):
            frame, start = text[start : blank.end()], blank.end()
            out.append(self._frame(frame))
            if self._instead:
                return b"".join([*out, self._instead.feed(text[start:])])
            if self.over:
                break
        rest = text[start:]
        self._waiting, self._size = [rest] if rest else [], len(rest)
        return b"".join(out)

    def _is_delta(self, frame: bytes) -> bool:
        """Whether the bytes are one event with more of the open block, as most reads of a live stream are."""
        return (
            frame.startswith(_DELTA)
            and frame.endswith(b"\n\n")
            and frame.count(b"\n") == 3
            and b"\r" not in frame
            and self._events.is_delta(frame[len(_DELTA) : -2])
        )

    def _frame(self, frame: bytes) -> bytes:
        """What to tell the client of one event."""
        if self._is_delta(frame):
            return frame if self._spoken else self._speak(frame)
        events = self._read(frame)
        last = events[-1] if events else None
        if isinstance(last, Failure):
            return self._fail(events)
        if self._spoken and not isinstance(last, Finish):
            return frame
        if last is None or isinstance(last, Start) or _says_nothing(last):
            self._held.append(frame)
            return b""
        return self._speak(frame, last)

    def _read(self, frame: bytes) -> list[Event]:
        """The events that a frame causes: none, or one."""
        decoder = sse.Decoder()
        events: list[Event] = []
        for message in decoder.decode(frame) + decoder.flush():
            if message.event == "error":
                failure = decode_body_error(lenient(message.data), self._reader.asked)
                return events + self._events.fail(failure)
            events += self._events.decode(message.data)
            if events and isinstance(events[-1], Start):
                self._heading = message.data
        return events

    def _speak(self, frame: bytes, event: Event | None = None) -> bytes:
        """What was held and the event after it: from here on nothing can be taken back."""
        if not self._spoken:
            before = b"".join(self._held)
            named = self._named(self._heading, "message")
            if named is None or self._heading not in before or self._greeted():
                self._waiting = [before, frame]
                return self._translate()
            self._spoken = True
            frame = before.replace(self._heading, named, 1) + frame
        if isinstance(event, Finish):
            self._usage = event.usage
        return frame

    def _whole(self, body: bytes) -> bytes:
        """A whole message as it came; anything else says best what it is when it is read anew."""
        events = decode_whole(body.lstrip(BEFORE), self._reader.asked)
        if events is None:
            return self._translate() + (self._instead.end() if self._instead else b"")
        last = events[-1]
        if not isinstance(last, Finish):
            return self._fail(events)
        # A message that does not say why it ended is no message to its clients.
        named = self._named(body.lstrip(BEFORE), "") if _says_why(body.lstrip(BEFORE)) else None
        if named is None:
            return self._translate() + (self._instead.end() if self._instead else b"")
        self._events.whole(events)
        self._spoken, self._usage = True, last.usage
        return named

    def _named(self, data: bytes, key: str) -> bytes | None:
        """The message, or the event that holds it under `key`, with what the client must know it by; None if it cannot
        be read.
        """
        try:
            message = members(data)[key] if key else Raw(data)
            found = members(message)
            changes: dict[str, bytes | None] = {}
            if self._model is not None:
                changes["model"] = json.encode(self._model)
            if not UNIQUE.fullmatch(json.decode(found["id"], type=str)):
                changes["id"] = json.encode(self._reader.message_id)
            return splice(data, {key: splice(message, changes)}) if key else splice(data, changes)
        except (KeyError, *UNREADABLE):
            return None

    def _translate(self) -> bytes:
        """Let the answer be read and written anew, from its beginning."""
        self._instead = self._make_instead()
        return self._instead.feed(b"".join(self._waiting))

    def _fail(self, events: list[Event]) -> bytes:
        """The failure that ends the events: told in the stream once it has begun, else kept for an honest status."""
        self._failure = next((event for event in events if isinstance(event, Failure)), None)
        return self._encoder.encode(self._failure) if self._failure and self._spoken else b""


def _says_nothing(event: Event) -> bool:
    """Whether another upstream's answer could still begin here: text has begun, and there is none of it yet.

    The beginning of thinking goes out at once: where thinking is hidden, nothing else comes for minutes.
    """
    return isinstance(event, BlockStart) and isinstance(event.block, Text)


def _says_why(message: bytes) -> bool:
    return members(message).get("stop_reason", Raw(b"null")) != Raw(b"null")
