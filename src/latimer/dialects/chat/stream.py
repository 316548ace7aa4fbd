"""The stream decoder: chunks in, events out. The one decoder that has to infer where blocks begin and end."""

from __future__ import annotations

import re
from typing import Any

from msgspec import json

from latimer.dialects.errors.failures import decode_body_error
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import (
    CHARS_PER_TOKEN,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Reasoning,
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
)
from latimer.wire import chat as wire
from latimer.wire.json_text import unparsed_input

from .arguments import MalformedArguments, normalize
from .extras import Extras
from .reasoning import Sealed, route_mark, seal
from .segments import CallFinder, Kind, Segment, merge_details, part_texts
from .think_tags import ThinkSplitter
from .tools import hash_text
from .usage import decode_usage, find_usage

FINISH_REASON: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "length": "length",
    "max_tokens": "length",
    "model_length": "context_window",
    "max_context": "context_window",
    "model_context_window_exceeded": "context_window",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "sensitive": "content_filter",
}
"""OpenAI's words and the vendors' own; an unknown one is read as `stop`."""
FAILED = frozenset({"error", "abort", "cancelled", "network_error", "malformed_function_call"})
OVERLOADED = frozenset({"insufficient_system_resource"})
LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
JSON_SPACE = " \t\r\n"
"""All that JSON knows as space (RFC 8259); Python's own idea of it is wider."""


class BrokenAnswer(Exception):
    """The upstream broke its own dialect's rules, or said that it failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class StreamDecoder:
    """Chunks in, events out; `flush` says how it ended. After a `Failure` nothing more is said."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._events: list[Event] = []
        self._started = self._ended = False
        self._index = -1
        self._open: Segment | None = None
        self._waiting: list[Segment] = []
        self._calls = CallFinder()
        self._call_count = 0
        self._used_ids = set(reader.taken_ids)
        self._splitter = ThinkSplitter() if reader.think_tags else None
        self._reason: str | None = None
        self._refusal = ""
        self._usage: Usage | None = None
        self._extras = Extras()
        self._worded = False
        self._chars = 0

    @property
    def finished(self) -> bool:
        """Whether the finish reason is known: only usage may still follow."""
        return self._reason is not None

    def decode(self, chunk: wire.Chunk) -> list[Event]:
        """The events that this chunk causes."""
        if self._ended:
            return []
        try:
            self._chunk(chunk)
        except BrokenAnswer as broken:
            self._fail(broken.failure)
        return self._taken()

    def fail(self, failure: Failure) -> list[Event]:
        """End the answer with a failure that came from outside."""
        if not self._ended:
            self._fail(failure)
        return self._taken()

    def flush(self, *, complete: bool) -> list[Event]:
        """The last events. `complete`: the upstream said that it was done; else only a finish reason proves it."""
        if self._ended:
            return []
        try:
            self._finish(complete=complete)
        except BrokenAnswer as broken:
            self._fail(broken.failure)
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _fail(self, failure: Failure) -> None:
        self._ended = True
        self._events.append(failure)

    def _broken(self, what: str) -> BrokenAnswer:
        return BrokenAnswer(Failure("api_error", f"{self._reader.asked.route}: {what}"))

    # --- one chunk ---------------------------------------------------------------------------------------------------

    def _chunk(self, chunk: wire.Chunk) -> None:
        if chunk.error != wire.NULL:
            raise BrokenAnswer(decode_body_error({"error": json.decode(chunk.error)}, self._reader.asked))
        if not self._started:
            self._started = True
            estimate = Usage(input_tokens=self._reader.asked.input_estimate)
            self._events.append(Start(str(chunk.id or ""), chunk.model or "", estimate))
        usage = find_usage(chunk)
        if usage is not None:
            self._usage = decode_usage(usage)
            self._extras.of_usage(usage)
        if chunk.service_tier or chunk.moderation:
            self._extras.of_chunk(chunk)
        for choice in chunk.choices or ():
            if not choice.index:
                self._choice(choice)
            else:
                self._extras.other_choice(choice)

    def _choice(self, choice: wire.Choice) -> None:
        if choice.logprobs or choice.content_filter_results:
            self._extras.of_choice(choice)
        delta = choice.delta or choice.message
        if delta is not None:
            self._reasoning(delta)
            if delta.content:
                self._worded = True
                self._content(delta.content)
            if delta.annotations or delta.audio or delta.images:
                self._wordless(delta)
            if delta.refusal:
                self._release_held()
                self._refusal += delta.refusal
                self._add("text", delta.refusal)
            for call in delta.tool_calls or ():
                self._call(call)
            if delta.function_call:
                self._call(wire.ToolCallDelta(0, None, delta.function_call))
        if choice.finish_reason and self._reason is None:
            self._reason = choice.finish_reason.lower()

    def _wordless(self, delta: wire.ChoiceDelta) -> None:
        words = self._extras.words(delta, spoken=self._worded)
        if words:
            self._release_held()
            self._add("text", words)

    def _reasoning(self, delta: wire.ChoiceDelta) -> None:
        """The first field that has text, since some gateways send the same text in two."""
        if delta.reasoning_content:
            self._think("reasoning_content", delta.reasoning_content)
        elif delta.reasoning:
            self._think("reasoning", _inner_text(delta.reasoning))
        elif delta.reasoning_text:
            self._think("reasoning_text", delta.reasoning_text)
        elif delta.reasoning_details:
            self._think("reasoning_details", "".join(_detail_text(entry) for entry in delta.reasoning_details))
        if delta.reasoning_details:
            segment = self._segment("reasoning")
            merge_details(segment.details, delta.reasoning_details)

    def _think(self, field: str, text: str) -> None:
        self._release_held()
        self._splitter = None  # a server that separates reasoning leaves no tags
        if text:
            self._segment("reasoning").field = field
            self._add("reasoning", text)

    def _content(self, content: str | list[Any]) -> None:
        if isinstance(content, list):
            self._release_held()
            for kind, text in part_texts(content):
                if text:
                    self._add(kind, text, field="parts")
        elif self._splitter is None:
            self._add("text", content)
        else:
            for kind, text in self._splitter.split(content):
                self._add(kind, text, field="think")

    def _call(self, delta: wire.ToolCallDelta) -> None:
        call, new = self._calls.find(delta)
        if new:
            self._release_held()
            self._waiting.append(call)
        if delta.extra_content != wire.NULL:
            call.extra = delta.extra_content
        arguments = delta.function.arguments if delta.function else None
        text = json.encode(arguments).decode() if isinstance(arguments, dict) else arguments or ""
        if text:
            call.parts.append(text)
            if call is self._open:
                self._stream_call(call, text)
            elif call not in self._waiting and text.strip():
                raise self._broken(f"more arguments for tool call {call.name!r} after it was complete")
        self._advance()

    # --- segments ----------------------------------------------------------------------------------------------------

    def _segment(self, kind: Kind) -> Segment:
        """The segment that text or reasoning goes to: the newest one, if it is of this kind."""
        newest = self._waiting[-1] if self._waiting else self._open
        if newest is not None and newest.kind == kind:
            return newest
        segment = Segment(kind)
        self._waiting.append(segment)
        return segment

    def _add(self, kind: Kind, text: str, field: str = "") -> None:
        segment = self._segment(kind)
        if kind == "reasoning" and field:
            segment.field = field
        self._chars += len(text)
        if segment is self._open:
            self._stream(segment, text)
        else:
            segment.parts.append(text)
            self._advance()

    def _stream(self, segment: Segment, text: str) -> None:
        self._events.append(Delta(self._index, text))
        if segment.kind == "reasoning" and self._reader.seal_text:
            segment.parts.append(text)

    def _advance(self) -> None:
        """Open the next segment as often as the open one allows."""
        while self._waiting and (self._open is None or self._open.complete):
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

    def _stream_call(self, call: Segment, text: str) -> None:
        """Pass arguments on as they come, once they are seen to be an object; others wait for the end to be mended."""
        self._chars += len(text)
        if call.started:
            self._events.append(Delta(self._index, text))
        elif call.name and call.text.lstrip(JSON_SPACE).startswith("{"):
            self._start_call(call)
            self._events.append(Delta(self._index, call.text))

    def _start_call(self, call: Segment) -> None:
        if not call.name:
            raise self._broken("a tool call without a name")
        call_id = self._client_id(call.id)
        if call.extra != wire.NULL:
            self._start_block(Reasoning())
            extra = Sealed(route_mark(self._reader.asked.route), calls={call_id: json.decode(call.extra)})
            self._events += [Signature(self._index, seal(extra)), BlockStop(self._index)]
        call.started = True
        self._call_count += 1
        self._start_block(ToolCall(call_id, self._reader.names.get(call.name, call.name)))

    def _client_id(self, upstream: str) -> str:
        """The upstream's id where the client can use it: legal, and new in answer and conversation."""
        unique = upstream if LEGAL_ID.fullmatch(upstream) and upstream not in self._used_ids else ""
        call_id = unique or f"toolu_{hash_text(f'{self._reader.message_id}.{self._call_count}', 24)}"
        self._used_ids.add(call_id)
        return call_id

    def _start_block(self, block: Text | Reasoning | ToolCall) -> None:
        self._index += 1
        self._events.append(BlockStart(self._index, block))

    def _close(self) -> None:
        """End the open block; the only place where blocks of the answer end."""
        segment, self._open = self._open, None
        if segment is None:
            return
        if segment.kind == "reasoning":
            self._events.append(Signature(self._index, self._sealed(segment)))
        elif segment.kind == "call":
            self._settle_call(segment)
        self._events.append(BlockStop(self._index))

    def _settle_call(self, call: Segment) -> None:
        """Check what was streamed; send what had to wait. Cut off by the length limit, a call stays as it is.

        One that had not even begun as an object is told as the client tells such arguments: no reader takes them bare.
        """
        cut = self._reason in ("length", "max_tokens")
        try:
            arguments = call.text if self._reader.raw_arguments else normalize(call.text)
        except MalformedArguments as error:
            if not cut:
                raise self._broken(f"malformed arguments for tool {call.name!r}: {error}") from error
            arguments = json.encode(unparsed_input(call.text)).decode()
        if not call.started:
            self._start_call(call)
            self._events.append(Delta(self._index, arguments))

    def _sealed(self, segment: Segment) -> str:
        field: Any = segment.field or "reasoning_content"
        hidden = segment.text if self._reader.seal_text else None
        return seal(Sealed(route_mark(self._reader.asked.route), field, hidden, segment.details or None))

    def _release_held(self) -> None:
        if self._splitter is not None:
            for kind, text in self._splitter.flush():
                self._add(kind, text, field="think")

    # --- the end -----------------------------------------------------------------------------------------------------

    def _finish(self, *, complete: bool) -> None:
        if self._reason is None and not (complete and self._index + len(self._waiting) >= 0):
            raise self._broken("the connection ended before the answer was complete")
        if self._reason in FAILED:
            raise self._broken(f"the provider ended the answer with {self._reason!r}")
        if self._reason in OVERLOADED:
            raise BrokenAnswer(Failure("overloaded_error", f"{self._reader.asked.route}: {self._reason}"))
        if not self._started:
            raise self._broken("an empty answer")
        self._release_held()
        while self._waiting:
            self._close()
            self._open = self._waiting.pop(0)
            self._begin(self._open)
        self._close()
        self._ended = True
        reason, usage = self._hub_reason(), self._final_usage()
        explanation = self._refusal or self._extras.filtered or None
        if reason != "content_filter":
            explanation = None
        self._events.append(
            Finish(reason, usage, explanation=explanation, tier=self._extras.tier, losses=self._extras.losses)
        )

    def _hub_reason(self) -> FinishReason:
        """A call that was made counts more than the word for the end: several servers say `stop` after one."""
        word = self._reason or "stop"
        reason = FINISH_REASON.get(word, "stop")
        if word not in FINISH_REASON:
            self._extras.lose("choices.0.finish_reason", f"unknown {word!r}, read as the end")
        if self._refusal:
            return "content_filter"
        if reason == "length" and self._fills_window():
            return "context_window"
        if reason in ("stop", "tool_call"):
            return "tool_call" if self._call_count else "stop"
        return reason

    def _fills_window(self) -> bool:
        """Whether the answer ended because the whole window was full, not its own share of it."""
        window, usage = self._reader.asked.context_window, self._usage
        return bool(window and usage and usage.input_tokens + usage.output_tokens >= window)

    def _final_usage(self) -> Usage:
        if self._usage is not None:
            return self._usage
        self._extras.lose("usage", "the provider did not count, so it is estimated")
        return Usage(self._reader.asked.input_estimate, -(-self._chars // CHARS_PER_TOKEN))


def _inner_text(reasoning: str | dict[str, Any]) -> str:
    if isinstance(reasoning, str):
        return reasoning
    return next((str(reasoning[key]) for key in ("content", "text", "summary") if reasoning.get(key)), "")


def _detail_text(entry: dict[str, Any]) -> str:
    value = entry.get("text") or entry.get("summary") or ""
    return value if isinstance(value, str) else ""
