"""A Messages answer, streamed or whole, as events. Its grammar is the hub's, so both map event for event."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw, json

from latimer.errors import STATUS, ErrorType, Failure
from latimer.events import (
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    Text,
    Tier,
    ToolCall,
    Usage,
)
from latimer.report import Loss
from latimer.wire import messages as wire
from latimer.wire import sse
from latimer.wire.json_text import UNREADABLE, decode_mended

from .encoder import DELTAS, DIALECT

FINISH_REASON: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "pause",
    "compaction": "compaction",
    "max_tokens": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
    "model_context_window_exceeded": "context_window",
}

EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
"""Types of events that mean something; `ping`, and what may come to be, means nothing."""

TIERS: dict[str, Tier] = {"priority": "priority", "batch": "batch"}

_event: json.Decoder[wire.StreamEvent] = json.Decoder(wire.StreamEvent)
_delta: json.Decoder[wire.BlockDelta] = json.Decoder(wire.BlockDelta)
_delta_event: json.Decoder[wire.DeltaEvent] = json.Decoder(wire.DeltaEvent)
_stop: json.Decoder[wire.StopDelta] = json.Decoder(wire.StopDelta)
_message: json.Decoder[wire.Message] = json.Decoder(wire.Message)
_block: json.Decoder[wire.OutputBlock] = json.Decoder(wire.OutputBlock)


def decode_usage(usage: wire.MessageUsage, start: Usage = Usage()) -> Usage:  # noqa: B008  # frozen
    """The hub's counts; what a final usage leaves out was said at the start."""
    details = usage.output_tokens_details
    reasoning = (details.thinking_tokens if details else None) or 0
    output = usage.output_tokens if usage.output_tokens is not None else start.output_tokens
    tools = usage.server_tool_use or wire.ServerToolUsage()
    searches, fetches = tools.web_search_requests or 0, tools.web_fetch_requests or 0
    if usage.input_tokens is None:
        read, write, prompt = start.cache_read_tokens, start.cache_write_tokens, start.input_tokens
    else:
        read, write = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        prompt = usage.input_tokens + read + write
    return Usage(prompt, output, read, write, reasoning, searches, fetches)


class MessageEvents:
    """The data of one event of a stream after the other in, the hub's events out.

    Blocks must come bracketed and in order, or the answer ends in a Failure. Events of types that are not known are
    passed over, as the API's reference asks. `fails` reads an error that the upstream tells in the stream; `route` is
    who failed.
    """

    def __init__(self, fails: Callable[[bytes], Failure] | None = None, route: str = "") -> None:
        self._fails = fails or _read_failure
        self._prefix = f"{route}: " if route else ""
        self._usage = Usage()
        self._state = "IDLE"
        self._index = -1
        self._block: Block = Text()
        self._finish: Finish | None = None
        self.signatures: list[str] = []
        """Those of the answer's thinking, so that they are not taken to another provider."""

    @property
    def finished(self) -> bool:
        """Never while the answer is not done: only `message_stop` says that it is whole."""
        return False

    @property
    def done(self) -> bool:
        """Whether the answer is over, one way or the other."""
        return self._state == "DONE"

    def decode(self, data: bytes) -> list[Event]:
        """The events that the data of one event of the stream causes."""
        if self._state == "DONE" or not data.strip():
            return []
        try:
            return self._translate(decode_mended(_event, data), data)
        except UNREADABLE as error:
            return self.broken(f"an event that is not Messages: {error}")

    def is_delta(self, data: bytes) -> bool:
        """Whether the data is that of a delta of the open block, of which nothing but its words is to be known."""
        if self._state != "BLOCK":
            return False
        try:
            event = _delta_event.decode(data)
        except UNREADABLE:
            return False
        known = event.type == "content_block_delta" and event.index == self._index
        if known and event.delta.signature:
            self.signatures.append(event.delta.signature)
        return known

    def flush(self, *, complete: bool = False) -> list[Event]:
        """The last events; an answer without its `message_stop` was cut, even if something says that it is complete."""
        return self.broken(f"the stream ended {'with [DONE], ' if complete else ''}before message_stop")

    def fail(self, failure: Failure) -> list[Event]:
        """End the answer with a failure, unless it is over."""
        if self._state == "DONE":
            return []
        self._state = "DONE"
        return [failure]

    def whole(self, events: list[Event]) -> list[Event]:
        """A whole answer is all there is, unless it came after the end."""
        if self._state == "DONE":
            return []
        self._state = "DONE"
        self.signatures += [event.data for event in events if isinstance(event, Signature)]
        return events

    def broken(self, what: str) -> list[Event]:
        """End the answer with what is wrong with it."""
        return self.fail(Failure("api_error", self._prefix + what))

    def _translate(self, event: wire.StreamEvent, data: bytes) -> list[Event]:
        match (self._state, event.type):
            case (_, "error"):
                return self.fail(self._fails(data))
            case ("IDLE", "message_start") if event.message:
                self._state = "OPEN"
                self._usage = decode_usage(event.message.usage)
                return [Start(event.message.id, event.message.model, self._usage)]
            case ("IDLE", "content_block_start"):
                # llama.cpp leaves the start out where the first token is half of a character.
                self._state = "OPEN"
                return [Start("", ""), *self._translate(event, data)]
            case ("OPEN", "content_block_start") if event.index == self._index + 1 and not self._finish:
                block = decode_block(event.content_block)
                self._state, self._index, self._block = "BLOCK", event.index, block
                return [BlockStart(event.index, block)]
            case ("BLOCK", "content_block_delta") if event.index == self._index:
                delta = _decode_delta(event.index, event.delta, self._block)
                if isinstance(delta, Signature):
                    self.signatures.append(delta.data)
                return [delta]
            case ("BLOCK", "content_block_stop") if event.index == self._index:
                self._state = "OPEN"
                return [BlockStop(event.index)]
            case ("OPEN", "message_delta"):
                usage = decode_usage(event.usage, self._usage)
                self._finish = _finish(_stop.decode(event.delta), usage, event.usage.service_tier)
                return []
            case ("OPEN", "message_stop") if self._finish:
                self._state = "DONE"
                return [self._finish]
            case (_, kind) if kind not in EVENTS:
                return []
            case _:
                return self.broken(f"{event.type} out of order")


class StreamDecoder:
    """Bytes of a stream in, events out."""

    def __init__(self) -> None:
        self._sse = sse.Decoder()
        self._events = MessageEvents()

    def decode(self, data: bytes) -> list[Event]:
        """The events that these bytes cause."""
        try:
            received = self._sse.decode(data)
        except sse.EventTooLarge as error:
            return self._events.broken(str(error))
        return [event for message in received for event in self._events.decode(message.data)]

    def flush(self) -> list[Event]:
        """The last events; an answer without its `message_stop` was cut."""
        events = [event for message in self._sse.flush() for event in self._events.decode(message.data)]
        return events + self._events.flush()


def decode_response(body: bytes) -> list[Event]:
    """A whole message as events."""
    try:
        envelope = decode_mended(_event, body) if b'"error"' in body else None
        if envelope and envelope.type == "error":
            return [_read_failure(body)]
        message = decode_mended(_message, body)
        usage = decode_usage(message.usage)
        events: list[Event] = [Start(message.id, message.model, usage)]
        for index, raw in enumerate(message.content):
            events += _whole_block(index, raw)
    except UNREADABLE as error:
        return [Failure("api_error", f"an answer that is not Messages: {error}")]
    ending = wire.StopDelta(message.stop_reason, message.stop_sequence, message.stop_details, message.container)
    return [*events, _finish(ending, usage, message.usage.service_tier)]


def decode_block(raw: Raw) -> Block:
    """A block at its start."""
    block = _block.decode(raw)
    match block.type:
        case "text":
            return Text()
        case "thinking":
            return Reasoning()
        case "tool_use":
            return ToolCall(block.id, block.name, block.toolset_name)
        case _:
            return Opaque(DIALECT, bytes(raw))


def _whole_block(index: int, raw: Raw) -> list[Event]:
    kind, block = decode_block(raw), _block.decode(raw)
    inner: list[Event] = []
    match kind:
        case Text() if block.text:
            inner = [Delta(index, block.text), *(_citation(index, citation) for citation in block.citations or ())]
        case Reasoning():
            inner = [Delta(index, block.thinking)] if block.thinking else []
            inner += [Signature(index, block.signature)] if block.signature else []
        case ToolCall():
            inner = [Delta(index, bytes(block.input).decode())]
        case _:
            pass
    return [BlockStart(index, kind), *inner, BlockStop(index)]


def _decode_delta(index: int, raw: Raw, block: Block) -> Event:
    """A delta of the block's own kind; any other (a citation, or more of an opaque block) stays as it is."""
    delta = _delta.decode(raw)
    kind, key = DELTAS.get(type(block), ("", ""))
    if delta.type == kind:
        return Delta(index, getattr(delta, key))
    if delta.type == "signature_delta" and isinstance(block, Reasoning):
        return Signature(index, delta.signature)
    return OpaqueDelta(index, bytes(raw))


def _finish(stop: wire.StopDelta, usage: Usage, tier: str | None) -> Finish:
    reason = FINISH_REASON.get(stop.stop_reason or "", "stop")
    details = stop.stop_details or wire.StopDetails()
    held = (Loss("container", "dropped", "nothing that this gateway runs is in it"),)
    losses = held if wire.given(stop.container) else ()
    tier = TIERS.get(tier or "")
    return Finish(reason, usage, stop.stop_sequence, details.explanation, details.category, tier, losses)


def _citation(index: int, citation: Raw) -> OpaqueDelta:
    """A citation of a whole message as a stream would bring it."""
    return OpaqueDelta(index, b'{"type":"citations_delta","citation":%b}' % bytes(citation))


def _read_failure(data: bytes) -> Failure:
    """An error in Messages' own words."""
    error = decode_mended(_event, data).error
    if error is None:
        return Failure("api_error", "an error event without an error")
    known: dict[str, ErrorType] = {kind: kind for kind in STATUS}
    return Failure(known.get(error.type, "api_error"), error.message, error.details)
