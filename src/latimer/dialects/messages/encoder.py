"""Events as Anthropic Messages, streamed or whole: https://docs.anthropic.com/en/docs/build-with-claude/streaming.

Every event goes out as one preformatted write, since this runs once for each token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Raw, Struct, json

from latimer.errors import Failure
from latimer.events import (
    CHARS_PER_TOKEN,
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
    ToolCall,
    Usage,
    Verdict,
)
from latimer.report import header
from latimer.wire.json_text import UNREADABLE, mend_surrogates, unparsed_input

from .slots import Slots

STOP_REASON: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_call": "tool_use",
    "content_filter": "refusal",
    "context_window": "model_context_window_exceeded",
    "pause": "pause_turn",
    "compaction": "compaction",
}
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
DIALECT = "messages"
DELTAS: dict[type, tuple[str, str]] = {
    Text: ("text_delta", "text"),
    Reasoning: ("thinking_delta", "thinking"),
    ToolCall: ("input_json_delta", "partial_json"),
}
"""The type of a block's deltas, and the field that has their words."""

ITERATION = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
)
"""What is told of each of several rounds."""
_CITES = Raw(b'"citations_delta"')
TOKEN_QUANTUM = 16
"""Hidden thinking is counted in steps of so many tokens; the API's own steps are of a fixed size, too."""

_encode = json.Encoder().encode
_object: json.Decoder[dict[str, Raw]] = json.Decoder(dict[str, Raw])


class Heading(Struct, frozen=True):
    """What the client is told of the answer as a whole. `id` must be unique: clients merge answers that share one.

    `model` is the name the client asked for, by which it knows prices and abilities.
    """

    id: str
    model: str
    request_id: str
    hide_thinking: bool = False


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Anthropic counts cached input apart from the rest, and clients add the cache counters up, so none is null."""
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    encoded: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "server_tool_use": None,
        "service_tier": "standard",
    }
    if usage.web_searches or usage.web_fetches:
        counts = {"web_search_requests": usage.web_searches, "web_fetch_requests": usage.web_fetches}
        encoded["server_tool_use"] = counts
    if usage.reasoning_tokens:
        encoded["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return encoded


def encode_failure(failure: Failure, request_id: str) -> dict[str, Any]:
    """The error envelope, as body of an HTTP error and as data of an `error` event."""
    error: dict[str, Any] = {"type": failure.type, "message": failure.message}
    if failure.details:
        error["details"] = failure.details
    return {"type": "error", "error": error, "request_id": request_id}


class StreamEncoder:
    """Events in, bytes of a Messages stream out. `slots` may change until the first event."""

    __slots__ = (
        "_block",
        "_head",
        "_heading",
        "_hidden",
        "_index",
        "_muted",
        "_uncounted",
        "slots",
        "started",
    )

    def __init__(self, heading: Heading) -> None:
        self.slots = Slots()
        self._heading = heading
        self._head = b""
        self._block: Block = Text()
        self._index = -1
        self._muted = False
        self._hidden = False
        self.started = False
        self._uncounted = 0

    def encode(self, event: Event) -> bytes:
        """The bytes of one event; b'' when the client is not told of it."""
        match event:
            case Delta(data=data):
                return self._unseen(data) if self._muted else self._head + _encode(data) + b"}}\n\n"
            case BlockStart(block=block):
                return self._compaction() + self._block_start(block)
            case BlockStop():
                return self._block_stop()
            case Signature(data=data) if isinstance(self._block, Reasoning):
                return self._delta({"type": "signature_delta", "signature": data})
            case Signature():
                return b""
            case OpaqueDelta(raw=raw):
                return b"" if self._hidden else self._delta(_one_line(raw))
            case Start(usage=usage):
                return self.start(usage)
            case Finish():
                return self._compaction() + self._finish(event)
            case Failure():
                return _named("error", encode_failure(event, self._heading.request_id))

    def start(self, usage: Usage) -> bytes:
        """`message_start`, once: the gateway may need it before the upstream has said a word."""
        if self.started:
            return b""
        self.started = True
        return _event("message_start", {"message": _message(self._heading, [], None, usage) | self.slots.message})

    def _compaction(self) -> bytes:
        """The summary as the first block, before whatever comes first: an attempt that says nothing has not begun."""
        done = self.slots.compacted
        if done is None or self._index >= 0:
            return b""
        start = self._block_start(Opaque(DIALECT, b'{"type":"compaction","content":null}'))
        return start + self._delta({"type": "compaction_delta", "content": done.summary}) + self._block_stop()

    def _block_start(self, block: Block) -> bytes:
        """A block of another dialect is left out with all that is in it; the client's indexes have no gap there."""
        self._block = block
        self._hidden = _foreign(block) or (isinstance(block, Reasoning) and self._heading.hide_thinking)
        self._muted = self._hidden or type(block) not in DELTAS
        if _foreign(block):
            return b""
        self._index += 1
        kind, key = DELTAS.get(type(block), ("", ""))
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
            % (self._index, kind.encode(), key.encode())
        )
        return _event("content_block_start", {"index": self._index, "content_block": _empty(block)})

    def _unseen(self, data: str) -> bytes:
        """Thinking that is not shown is counted for clients that want to know that something happens."""
        if not self.slots.counts_thinking or not isinstance(self._block, Reasoning):
            return b""
        self._uncounted += len(data)
        steps, self._uncounted = divmod(self._uncounted, TOKEN_QUANTUM * CHARS_PER_TOKEN)
        if not steps:
            return b""
        return self._delta({"type": "thinking_delta", "thinking": "", "estimated_tokens": steps * TOKEN_QUANTUM})

    def _delta(self, delta: Any) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _block_stop(self) -> bytes:
        if _foreign(self._block):
            return b""
        return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index

    def _finish(self, finish: Finish) -> bytes:
        """What was lost of the answer is said in a comment, which every client skips: the headers are long gone."""
        body = {"delta": _ending(finish), "usage": _final_usage(finish, self.slots)} | self.slots.ending
        report = header(finish.losses)
        comment = f": latimer-report {report}\n".encode() if report else b""
        return comment + _event("message_delta", body) + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class WholeEncoder:
    """Events in; nothing out until the last one, which brings the whole message: the stream, folded."""

    def __init__(self, heading: Heading, content: Iterable[Any] = ()) -> None:
        self.slots = Slots()
        self._heading = heading
        self.content: list[Any] = list(content)
        """The blocks that are complete. What it is given to begin with was said earlier in the same message."""
        self._block: Block = Text()
        self._data: list[str] = []
        self._signature = ""
        self._citations: list[Raw] = []

    def encode(self, event: Event) -> bytes:
        """The message at its `Finish`, the error envelope at a `Failure`, else b''."""
        match event:
            case Delta(data=data):
                self._data.append(data)
            case BlockStart(block=block):
                self._block, self._data, self._signature, self._citations = block, [], "", []
            case Signature(data=data):
                self._signature = data
            case BlockStop():
                hide = self._heading.hide_thinking
                whole = _whole(self._block, "".join(self._data), self._signature, hide_thinking=hide)
                if self._citations:
                    whole["citations"] = self._citations
                self.content += [] if whole is None else [whole]
            case OpaqueDelta(raw=raw) if isinstance(self._block, Opaque):
                self._data.append(_partial_json(raw))
            case OpaqueDelta(raw=raw) if isinstance(self._block, Text):
                self._citations += _citation(raw)
            case Finish():
                done = self.slots.compacted
                first = [{"type": "compaction", "content": done.summary}] if done else []
                message = _message(self._heading, [*first, *self.content], event, event.usage)
                message |= {"usage": _final_usage(event, self.slots), **self.slots.message, **self.slots.ending}
                return _encode(message)
            case Failure():
                return _encode(encode_failure(event, self._heading.request_id))
            case Start() | OpaqueDelta():
                pass
        return b""


def encode_response(events: Iterable[Event], heading: Heading) -> bytes:
    """A whole message, or the error envelope when the answer ended in a failure."""
    encoder = WholeEncoder(heading)
    return b"".join([encoder.encode(event) for event in events])


def _message(heading: Heading, content: list[Any], finish: Finish | None, usage: Usage) -> dict[str, Any]:
    ending = _ending(finish) if finish else {"stop_reason": None, "stop_sequence": None, "stop_details": None}
    return {
        "id": heading.id,
        "type": "message",
        "role": "assistant",
        "model": heading.model,
        "content": content,
        **ending,
        "usage": encode_usage(usage),
    }


def _final_usage(finish: Finish, slots: Slots) -> dict[str, Any]:
    usage = encode_usage(finish.usage) | {"service_tier": finish.tier or "standard"}
    if slots.speed:
        usage["speed"] = "fast" if finish.tier == "priority" else "standard"
    if slots.compacted:
        usage["iterations"] = _iterations(finish, slots.compacted.usage)
    return usage | slots.usage


def _iterations(finish: Finish, summary: dict[str, Any]) -> list[Any]:
    """What the summary took, which counts apart, and then what the answer did, where there is one."""
    rounds = [("compaction", summary)]
    if finish.reason != "compaction":
        rounds.append(("message", encode_usage(finish.usage)))
    return [{"type": kind} | {key: usage.get(key) for key in ITERATION} for kind, usage in rounds]


def _ending(finish: Finish) -> dict[str, Any]:
    refused = finish.reason == "content_filter"
    details = {"type": "refusal", "category": finish.category, "explanation": finish.explanation} if refused else None
    ending = {
        "stop_reason": "stop_sequence" if finish.stop_sequence is not None else STOP_REASON[finish.reason],
        "stop_sequence": finish.stop_sequence,
        "stop_details": details,
    }
    return ending if finish.verdicts is None else ending | {"safeguard_results": _safeguard_results(finish.verdicts)}


def _safeguard_results(verdicts: dict[str, Verdict]) -> list[Any]:
    """Claude Code's auto mode reads it here; the form is in no SDK (measured, 2.1.330)."""
    calls = {call: _safeguard_result(verdict) for call, verdict in verdicts.items()}
    return [{"type": "dangerous_tool_use", "status": {"type": "available", "tool_uses": calls}}]


def _safeguard_result(verdict: Verdict) -> dict[str, str]:
    match verdict.outcome:
        case "not_flagged":
            return {"type": "evaluated", "outcome": "not_flagged"}
        case "flagged":
            return {"type": "evaluated", "outcome": "flagged", "explanation": verdict.why}
        case "unreviewed":
            return {"type": "skipped"}
        case "unavailable":
            return {"type": "unavailable", "reason": verdict.why}


def _empty(block: Block) -> Any:
    match block:
        case Text():
            return {"type": "text", "text": ""}
        case Reasoning():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case ToolCall():
            return _tool_use(block, {})
        case Opaque(raw=raw):
            return _one_line(raw)


def _tool_use(call: ToolCall, arguments: Any) -> dict[str, Any]:
    """The SDK's types of a toolset's calls want to be told who called."""
    block = {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
    return block | ({"toolset_name": call.toolset, "caller": {"type": "direct"}} if call.toolset else {})


def _foreign(block: Block) -> bool:
    return isinstance(block, Opaque) and block.dialect != DIALECT


def _one_line(raw: bytes) -> Raw:
    """JSON as an event's one line of data."""
    return Raw(json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw)


def _whole(block: Block, data: str, signature: str, *, hide_thinking: bool) -> Any:
    match block:
        case Text():
            return {"type": "text", "text": data}
        case Reasoning():
            return {"type": "thinking", "thinking": "" if hide_thinking else data, "signature": signature}
        case ToolCall():
            return _tool_use(block, _input(data))
        case Opaque(raw=raw):
            return None if _foreign(block) else _opaque(raw, data)


def _partial_json(raw: bytes) -> str:
    """The fragment of a tool's input in the delta of a block that the hub has no word for, '' in any other delta."""
    match json.decode(raw):
        case {"type": "input_json_delta", "partial_json": str(fragment)}:
            return fragment
        case _:
            return ""


def _citation(raw: bytes) -> list[Raw]:
    """The citation in the delta of a text, [] in any other delta."""
    delta = _object.decode(raw)
    return [delta["citation"]] if delta.get("type") == _CITES and "citation" in delta else []


def _opaque(raw: bytes, data: str) -> Raw:
    """The block as it began, with the input that its deltas brought."""
    if not data:
        return Raw(raw)
    return Raw(_encode(_object.decode(raw) | {"input": _input(data)}))


def _input(data: str) -> Any:
    """A call that the length limit cut off has no whole arguments; an object that says so keeps it from being run."""
    raw = mend_surrogates(data.encode()).strip() or b"{}"
    try:
        _object.decode(raw)
    except UNREADABLE:
        return unparsed_input(data)
    return Raw(raw)


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return _named(name, {"type": name, **fields})


def _named(name: str, body: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode(body))
