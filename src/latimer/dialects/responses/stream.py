"""The stream decoder: events of the Responses API in, the hub's out.

Both are bracketed, yet what is heard counts here, not the brackets: a piece of text is passed on when it first comes,
be it in a delta, in the event that ends its part or its item, or in the whole output at the end.
"""

from __future__ import annotations

from typing import Any

from msgspec import json

from latimer.dialects.arguments import MalformedArguments, normalize
from latimer.dialects.blocks import BlockStream, BrokenAnswer, broken
from latimer.dialects.counts import fills_window, final_usage
from latimer.dialects.errors.failures import decode_body_error
from latimer.dialects.reader import Reader
from latimer.dialects.sealing import Sealed
from latimer.dialects.segments import Kind, Segment
from latimer.dialects.think_tags import ThinkSplitter
from latimer.errors import Failure
from latimer.events import Event, Finish, FinishReason, Start, Usage
from latimer.wire import responses as wire
from latimer.wire.json_text import unparsed_input

from .extras import Extras
from .items import Item, ItemKind, Items, PartName, kind_of
from .reasoning_items import sealed_item
from .usage import decode_usage

ITEM_OF: dict[PartName, ItemKind] = {
    "text": "message",
    "refusal": "message",
    "summary": "reasoning",
    "content": "reasoning",
    "arguments": "function_call",
    "input": "custom_tool_call",
}
DELTAS: dict[str, PartName] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "content",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
WHOLES: dict[str, PartName] = {
    "response.output_text.done": "text",
    "response.refusal.done": "refusal",
    "response.reasoning_summary_text.done": "summary",
    "response.reasoning_text.done": "content",
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}
PARTS: dict[str, PartName] = {
    "output_text": "text",
    "text": "text",
    "refusal": "refusal",
    "summary_text": "summary",
    "reasoning_text": "content",
}
"""Types of parts, wherever they stand."""
ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
"""Events that end an answer, and the status that is meant where it is not said."""
UNFINISHED = ("queued", "in_progress")
INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "max_messages": "pause",
    "steered": "pause",
}
"""`incomplete_details.reason`; an unknown one is read as `length`, since something is missing."""


class StreamDecoder(BlockStream):
    """Events in, events out. After a `Finish` or a `Failure` nothing more is said."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._items = Items()
        self._splitter = ThinkSplitter() if reader.think_tags else None
        self._speaker: Item | None = None
        self._refusal = ""
        self._cut = False
        self._usage: Usage | None = None
        self._extras = Extras()

    @property
    def finished(self) -> bool:
        """Whether the answer is complete: the event that says so has the usage, too."""
        return self._ended

    def decode(self, event: wire.StreamEvent, name: str) -> list[Event]:
        """What this event causes. `name` is its type."""
        return self._caused(self._event, event, name)

    def decode_whole(self, response: wire.Response) -> list[Event]:
        """What a whole answer says."""
        return self._caused(self._end, response, response.status if response.status in UNFINISHED else "completed")

    def flush(self, *, complete: bool) -> list[Event]:
        """The last events. `complete`: the upstream said that it was done, though not with which status."""
        return self._caused(self._close, complete)

    def _close(self, complete: bool) -> None:
        if not (complete and self._blocks.any):
            raise broken(self._reader, "the connection ended before the answer was complete")
        self._finish("stop")

    # --- one event ---------------------------------------------------------------------------------------------------

    def _event(self, event: wire.StreamEvent, name: str) -> None:
        if part := DELTAS.get(name):
            self._begin(None)
            item = self._items.of(ITEM_OF[part], event)
            if isinstance(event.delta, str) and event.delta:
                self._hear(item, part, _place(event, part), event.delta)
        elif part := WHOLES.get(name):
            self._begin(None)
            self._whole_part(self._items.of(ITEM_OF[part], event), part, event)
        elif event.item is not None and name == "response.output_item.added":
            self._begin(None)
            self._added(event.item, event.output_index)
        elif event.item is not None and name == "response.output_item.done":
            self._begin(None)
            self._done(event.item, event.output_index)
        elif name == "response.output_text.annotation.added":
            self._extras.annotated()
        elif name in ENDS:
            self._end(event.response or wire.Response(), ENDS[name])
        elif event.response is not None:
            self._begin(event.response)

    def _begin(self, response: wire.Response | None) -> None:
        if self._started:
            return
        self._started = True
        estimate = Usage(input_tokens=self._reader.asked.input_estimate)
        known = response or wire.Response()
        self._blocks.events.append(Start(known.id or "", known.model or "", estimate))

    def _whole_part(self, item: Item, part: PartName, event: wire.StreamEvent) -> None:
        if part == "arguments" and event.name and item.segment is not None and not item.segment.name:
            item.segment.name = event.name
        full = {"refusal": event.refusal, "arguments": _text(event.arguments), "input": event.input}.get(part)
        self._fill(item, part, _place(event, part), event.text or "" if full is None else full)

    def _added(self, given: wire.Item, index: int | None) -> None:
        kind = kind_of(given)
        if kind is None:
            return
        item = self._items.added(kind, given, index)
        if kind in ("function_call", "custom_tool_call"):
            self._call(item, given)
        elif kind == "reasoning" and given.encrypted_content and item.segment is None:
            # What is encrypted is whole only when the item is done, so the block stays open for it.
            self._segment(item, "reasoning").held = True
            self._blocks.advance()

    def _done(self, given: wire.Item, index: int | None) -> None:
        kind = kind_of(given)
        if kind is None:
            self._other(given)
        else:
            self._absorb(self._items.finished(kind, given, index), given)

    def _absorb(self, item: Item, given: wire.Item) -> None:
        """All that a finished item holds and that was not heard before."""
        item.done = True
        match item.kind:
            case "message":
                self._parts(item, given.content, "text")
            case "reasoning":
                self._parts(item, given.summary, "summary")
                self._parts(item, given.content, "content")
                self._seal(item, given.encrypted_content or "")
            case "function_call":
                self._call(item, given)
                self._fill(item, "arguments", 0, _text(given.arguments) or "")
                self._end_call(item)
            case "custom_tool_call":
                self._call(item, given)
                self._fill(item, "input", 0, given.input if isinstance(given.input, str) else "")
                if given.status != "incomplete":
                    self._end_custom_call(item)
        self._extras.of_item(given)

    def _parts(self, item: Item, content: list[wire.Part] | str | None, default: PartName) -> None:
        if isinstance(content, str):
            self._fill(item, default, 0, content)
            return
        for place, part in enumerate(content or ()):
            name = PARTS.get(part.type)
            if name is None or ITEM_OF[name] != item.kind:
                self._extras.drop(f"output.{item.kind}.{part.type}", "a part that is not known")
            else:
                self._fill(item, name, place, (part.refusal if name == "refusal" else part.text) or "")
                self._extras.of_part(part)

    def _other(self, given: wire.Item) -> None:
        """An item of another type: never asked for, but servers may run tools of their own."""
        words = self._extras.of_other(given)
        if words:
            self._release_held()
            segment = Segment("text")
            self._blocks.queue(segment)
            self._blocks.add(segment, words)

    # --- what is heard -----------------------------------------------------------------------------------------------

    def _fill(self, item: Item, part: PartName, place: int, full: str) -> None:
        if missing := item.missing(part, place, full):
            self._hear(item, part, place, missing)

    def _hear(self, item: Item, part: PartName, place: int, text: str) -> None:
        first = item.hear(part, place, text)
        match part:
            case "text":
                self._speak(item, text)
            case "refusal":
                self._release_held()
                self._refusal += text
                self._say(item, "text", text)
            case "summary" | "content":
                self._think(item, part, text, first=first)
            case "arguments":
                self._blocks.add(self._call(item, None), text)
            case "input":
                self._call(item, None)

    def _speak(self, item: Item, text: str) -> None:
        if self._splitter is None:
            self._say(item, "text", text)
            return
        if item is not self._speaker:
            if self._speaker is not None:
                self._release_held()  # a tag does not begin in one message and end in the next
            self._speaker = item
        for kind, piece in self._splitter.split(text):
            self._say_split(item, kind, piece)

    def _say_split(self, item: Item, kind: Kind, piece: str) -> None:
        if kind == "reasoning":
            item.thoughts.append(piece)
        self._say(item, kind, piece)

    def _release_held(self) -> None:
        pieces = self._splitter.flush() if self._splitter is not None else []
        if self._speaker is not None:
            for kind, piece in pieces:
                self._say_split(self._speaker, kind, piece)

    def _think(self, item: Item, part: PartName, text: str, *, first: bool) -> None:
        """A reasoning item has two lists; the one that comes first is shown, the other only sealed."""
        self._release_held()
        self._splitter = None  # a server that separates reasoning leaves no tags
        between = "\n\n" if first and item.shown else ""
        item.shown = item.shown or part
        if part == item.shown:
            self._say(item, "reasoning", between + text)

    def _say(self, item: Item, kind: Kind, text: str) -> None:
        segment = item.segment
        if segment is None or segment.closed or segment.kind != kind:
            segment = self._segment(item, kind)
        self._blocks.add(segment, text)

    def _segment(self, item: Item, kind: Kind) -> Segment:
        """A new segment for an item. The first one of its reasoning seals the item, others only what they show."""
        segment = Segment(kind)
        if kind == "reasoning" and item.sealed:
            segment.field = item.shown or "summary"
        elif kind == "reasoning":
            item.sealed = True
            segment.seal = lambda: self._sealed(item)
        item.segment = segment
        self._blocks.queue(segment)
        return segment

    # --- reasoning ---------------------------------------------------------------------------------------------------

    def _sealed(self, item: Item, *, seen: bool = True) -> Sealed:
        """What a block's signature says of the item. `seen`: the block shows the item's text."""
        if item.kind == "message":
            item_id, summary, content = "", [], ["".join(item.thoughts)]
        else:
            item_id, summary, content = item.id, item.texts("summary"), item.texts("content")
        shown = summary if item.shown == "summary" else content
        text = "\n\n".join(shown) if seen and not self._reader.seal_text else ""
        route = self._reader.asked.route
        return sealed_item(route, item_id, item.encrypted, summary=summary, content=content, shown=text)

    def _seal(self, item: Item, encrypted: str) -> None:
        """The end of a reasoning item. What is encrypted is sealed in a block of its own if it comes too late."""
        late = item.segment is None or item.segment.closed
        if encrypted and late and encrypted != item.encrypted:
            self._release_held()
            self._segment(item, "reasoning").seal = lambda: self._sealed(item, seen=False)
        item.encrypted = encrypted or item.encrypted
        if item.segment is not None:
            item.segment.ended = True
            self._blocks.advance()

    # --- calls -------------------------------------------------------------------------------------------------------

    def _call(self, item: Item, given: wire.Item | None) -> Segment:
        """The call's segment, with what is known of it by now."""
        call = item.segment
        if call is None:
            self._release_held()
            call = item.segment = Segment("call", held=item.kind == "custom_tool_call")
            self._blocks.queue(call)
        call.id = item.call_id or item.id
        if given is not None and given.name and not call.name:
            call.name = f"{given.namespace}__{given.name}" if given.namespace else given.name
        self._blocks.advance()
        return call

    def _end_call(self, item: Item) -> None:
        """A call is over with its item, unless the limit may have cut it: that is told at the very end."""
        call = self._call(item, None)
        try:
            normalize(call.text)
        except MalformedArguments:
            return
        call.ended = True
        self._blocks.advance()

    def _end_custom_call(self, item: Item) -> None:
        """A custom tool takes text, and Messages has only objects."""
        call = self._call(item, None)
        if call.ended:
            return
        said = "".join(item.texts("input"))
        value = unparsed_input(said) if self._cut else {"input": said}
        call.ended = True
        self._blocks.add(call, json.encode(value).decode())

    # --- the end -----------------------------------------------------------------------------------------------------

    def _end(self, response: wire.Response, meant: str) -> None:
        self._begin(response)
        self._extras.of_answer(response.service_tier, response.moderation)
        self._extras.transformed(response.input_transformations)
        if response.usage is not None:
            self._usage = decode_usage(response.usage)
        status = response.status if response.status in ENDS.values() else meant
        if status == "failed" or (response.error and status not in ("completed", "incomplete")):
            raise BrokenAnswer(self._failure(response.error))
        if status not in ("completed", "incomplete"):
            raise broken(self._reader, f"the provider ended the answer with {status!r}")
        self._cut = status == "incomplete"
        for item, given in self._items.match(response.output or []):
            if item is None:
                self._other(given)
            else:
                self._absorb(item, given)
        reason: FinishReason = "stop"
        if not self._cut and self._torn():
            # llama.cpp calls what the limit has cut completed, too; half a command must not be mended and run.
            self._cut, reason = True, "length"
            self._extras.lose("status", "'completed' at the output limit, read as cut by it")
        elif self._cut:
            word = (response.incomplete_details and response.incomplete_details.reason) or ""
            reason = INCOMPLETE.get(word, "length")
            self._extras.incomplete(word, known=word in INCOMPLETE)
        self._finish(reason)

    def _torn(self) -> bool:
        """Whether a call stops in the middle of its arguments, and the answer at its limit or beyond."""
        limit = self._reader.asked.max_tokens
        if not (limit and self._usage and self._usage.output_tokens >= limit):
            return False
        calls = [item.segment for item in self._items if item.kind == "function_call"]
        return any(call is not None and not (call.ended or call.complete) for call in calls)

    def _failure(self, error: Any) -> Failure:
        if not error:
            return broken(self._reader, "the provider ended the answer with 'failed' and no reason").failure
        return decode_body_error({"error": error}, self._reader.asked)

    def _finish(self, reason: FinishReason) -> None:
        self._begin(None)
        self._release_held()
        for item in self._items:
            if item.kind == "custom_tool_call":
                self._end_custom_call(item)
        self._blocks.finish(cut=self._cut)
        self._ended = True
        asked = self._reader.asked
        if self._refusal:
            reason = "content_filter"
        elif reason == "length" and fills_window(self._usage, asked):
            reason = "context_window"
        elif reason == "stop" and self._blocks.calls:
            reason = "tool_call"
        usage = final_usage(self._usage, asked, self._blocks.chars, self._extras)
        self._blocks.events.append(
            Finish(
                reason,
                usage,
                explanation=self._refusal or None,
                tier=self._extras.tier,
                losses=self._extras.losses,
            )
        )


def _place(event: wire.StreamEvent, part: PartName) -> int:
    """Where in its list a part stands; arguments are no list."""
    return (event.summary_index if part == "summary" else event.content_index) or 0


def _text(arguments: str | dict[str, Any] | None) -> str | None:
    return json.encode(arguments).decode() if isinstance(arguments, dict) else arguments
