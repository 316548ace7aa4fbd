"""What a model may say, as events and as the bytes of both dialects, and any way to cut, spoil or chunk those bytes."""

import json
from typing import Any, get_args

from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.errors import STATUS, Failure
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
    ToolCall,
    Usage,
)
from latimer.wire import sse

REASONS = st.sampled_from(get_args(FinishReason))
WORDS = st.sampled_from(
    ["a", " ", "\n", "\r\n", '"', "\\", "<think>", "</think>", "<", "é", "你好", "😀", "\u2028", "END"]
)
TEXTS = st.text(max_size=12) | st.lists(WORDS, max_size=6).map("".join)
SPOKEN = TEXTS.filter(bool)
NAMES = st.text("abzAZ09_-", min_size=1, max_size=6)
IDS = st.text("abzAZ09_-", min_size=1, max_size=12)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
COUNTS = st.integers(0, 10**7)


def dumped(value: Any) -> str:
    """Compact JSON, unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- any way to cut -------------------------------------------------------------------------------------------------


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The bytes in pieces: cut at any places, or into pieces of one size."""
    if not data:
        return []
    if draw(st.booleans()):
        size = draw(st.integers(1, 16))
        places = list(range(0, len(data), size))
    else:
        places = sorted({0, *draw(st.lists(st.integers(0, len(data) - 1), max_size=8))})
    return [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]


def pieces(text: str) -> st.SearchStrategy[list[str]]:
    """The text in pieces of one or more characters."""
    cuts = st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4).map(sorted)
    return cuts.map(lambda at: [part for a, b in zip([0, *at], [*at, len(text)], strict=True) if (part := text[a:b])])


# --- answers --------------------------------------------------------------------------------------------------------


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Counts that fit together: caches within the input, reasoning within the output."""
    read, write, rest = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    reasoning, spoken = draw(COUNTS), draw(COUNTS)
    searches, fetches = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return Usage(read + write + rest, reasoning + spoken, read, write, reasoning, searches, fetches)


FAILURES = st.builds(
    Failure,
    st.sampled_from(list(STATUS)),
    TEXTS,
    st.none() | st.dictionaries(NAMES, st.integers(0, 9) | TEXTS, min_size=1, max_size=2),
)
FINISHES = st.builds(Finish, REASONS, usages())
STARTS = st.builds(Start, TEXTS, TEXTS, usages())


def _bracketed(blocks: list[tuple[Block, list[tuple[type, Any]]]]) -> list[Event]:
    events: list[Event] = []
    for index, (block, inner) in enumerate(blocks):
        events.append(BlockStart(index, block))
        events += [kind(index, data) for kind, data in inner]
        events.append(BlockStop(index))
    return events


DELTAS = st.tuples(st.just(Delta), TEXTS)
SIGNATURES = st.tuples(st.just(Signature), TEXTS)
# An unknown type, so that nobody takes it for text; a newline, since that would break a frame.
OPAQUE_JSON = st.dictionaries(NAMES, VALUES, max_size=2).map(lambda more: {**more, "type": "unheard_of"})
OPAQUE_RAW = OPAQUE_JSON.map(lambda value: dumped(value).encode())
PRETTY_RAW = OPAQUE_JSON.map(lambda value: json.dumps(value, indent=1).encode())
OPAQUE_DELTAS = st.tuples(st.just(OpaqueDelta), OPAQUE_RAW)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Anything that `events.check` accepts: deltas and signatures in any block, a failure at any point."""
    block = st.one_of(
        st.just(Text()),
        st.just(Reasoning()),
        st.builds(ToolCall, IDS, NAMES),
        st.builds(Opaque, st.sampled_from(["messages", "elsewhere"]), OPAQUE_RAW | PRETTY_RAW),
    )
    inner = st.lists(DELTAS | SIGNATURES | st.tuples(st.just(OpaqueDelta), OPAQUE_RAW | PRETTY_RAW), max_size=4)
    whole = [draw(STARTS), *_bracketed(draw(st.lists(st.tuples(block, inner), max_size=4))), draw(FINISHES)]
    if not draw(st.booleans()):
        return whole
    return [*whole[: draw(st.integers(0, len(whole) - 1))], draw(FAILURES)]


@st.composite
def arguments(draw: st.DrawFn) -> str:
    """The text of one JSON object, as models write it: with spaces, escapes, or without."""
    value = draw(OBJECTS)
    if draw(st.booleans()):
        return dumped(value)
    return json.dumps(value, indent=draw(st.sampled_from([None, 1])))


@st.composite
def calls(draw: st.DrawFn, ids: list[str]) -> tuple[Block, list[tuple[type, Any]]]:
    """A tool call with a fresh id and whole arguments in fragments."""
    call_id = draw(IDS.filter(lambda one: one not in ids))
    ids.append(call_id)
    text = draw(arguments())
    return ToolCall(call_id, draw(NAMES)), [(Delta, part) for part in draw(pieces(text))]


@st.composite
def messages_answers(draw: st.DrawFn, *, opaque: bool = True) -> list[Event]:
    """What a Messages answer can say: signatures in reasoning only, unknown deltas and blocks as raw JSON."""
    ids: list[str] = []
    foreign = st.lists(OPAQUE_DELTAS, max_size=2) if opaque else st.just([])
    kinds: list[st.SearchStrategy[Any]] = [
        st.tuples(st.just(Text()), st.tuples(st.lists(DELTAS, max_size=4), foreign).map(lambda two: two[0] + two[1])),
        st.tuples(
            st.just(Reasoning()),
            st.tuples(st.lists(DELTAS, max_size=3), st.lists(SIGNATURES, max_size=1)).map(lambda two: two[0] + two[1]),
        ),
        calls(ids),
    ]
    if opaque:
        kinds.append(st.tuples(st.builds(Opaque, st.just("messages"), OPAQUE_RAW), foreign))
    blocks = [draw(st.one_of(kinds)) for _ in range(draw(st.integers(0, 4)))]
    usage, reason = draw(usages()), draw(REASONS)
    matched = draw(st.none() | SPOKEN) if reason == "stop" else None
    why = draw(st.none() | TEXTS) if reason == "content_filter" else None
    return [draw(STARTS), *_bracketed(blocks), Finish(reason, usage, matched, why)]


@st.composite
def chat_answers(draw: st.DrawFn, *, canonical: bool = False) -> list[Event]:
    """What a Chat Completions answer can say: no neighbours of one kind, nothing empty, no opaque block, no signature.

    `canonical`: at most one reasoning, one text and then calls, which is all that a whole answer has fields for.
    """
    ids: list[str] = []
    spoken = st.lists(st.tuples(st.just(Delta), SPOKEN), min_size=1, max_size=4)
    blocks: list[tuple[Block, list[tuple[type, Any]]]] = []
    if canonical:
        blocks = [(kind, draw(spoken)) for kind in (Reasoning(), Text()) if draw(st.booleans())]
        blocks += [draw(calls(ids)) for _ in range(draw(st.integers(0, 3)))]
    else:
        for _ in range(draw(st.integers(0, 5))):
            kind = draw(st.sampled_from(["text", "reasoning", "call"]))
            last = type(blocks[-1][0]) if blocks else None
            if kind == "call":
                blocks.append(draw(calls(ids)))
            elif last is not (Text if kind == "text" else Reasoning):
                blocks.append((Text() if kind == "text" else Reasoning(), draw(spoken)))
    ended = draw(st.sampled_from(["length", "content_filter"]) | st.none())
    usage = replace(draw(usages()), web_searches=0, web_fetches=0)
    return [draw(STARTS), *_bracketed(blocks), Finish(ended or ("tool_call" if ids else "stop"), usage)]


@st.composite
def responses_answers(draw: st.DrawFn) -> list[Event]:
    """What a Responses answer can say: items of one kind may follow each other, and reasoning may be sealed only."""
    ids: list[str] = []
    spoken = st.lists(st.tuples(st.just(Delta), SPOKEN), min_size=1, max_size=3)
    encrypted = st.lists(st.tuples(st.just(Signature), SPOKEN), min_size=1, max_size=1)
    thought = st.tuples(st.just([]) | spoken, encrypted).map(lambda two: two[0] + two[1]) | spoken
    kinds = [st.tuples(st.just(Text()), spoken), st.tuples(st.just(Reasoning()), thought), calls(ids)]
    blocks = [draw(st.one_of(kinds)) for _ in range(draw(st.integers(0, 5)))]
    ended = draw(st.sampled_from(["length", "content_filter"]) | st.none())
    usage = replace(draw(usages()), web_searches=0, web_fetches=0)
    return [draw(STARTS), *_bracketed(blocks), Finish(ended or ("tool_call" if ids else "stop"), usage)]


def without_deltas_of_no_kind(events: list[Event]) -> list[Event]:
    """A whole message has no place for deltas that the hub has no word for, such as citations."""
    return [event for event in events if not isinstance(event, OpaqueDelta)]


ANSWERS: dict[str, st.SearchStrategy[list[Event]]] = {
    "chat": chat_answers(),
    "responses": responses_answers(),
    "messages": messages_answers(),
}
"""What each upstream dialect can say."""
CANONICAL: dict[str, st.SearchStrategy[list[Event]]] = {
    "chat": chat_answers(canonical=True),
    "responses": responses_answers(),
    "messages": messages_answers().map(without_deltas_of_no_kind),
}
"""What each can say in a whole answer."""

# --- bytes of all dialects, right and wrong ------------------------------------------------------------------------

_STRANGE = VALUES | st.lists(st.dictionaries(NAMES, VALUES, max_size=2), max_size=2)


def loosely(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of the fields, now and then with a value of any kind in one."""
    right = st.fixed_dictionaries({}, optional=fields)
    wrong = st.dictionaries(st.sampled_from(list(fields)), _STRANGE, max_size=1)
    return st.tuples(right, st.booleans(), st.booleans(), wrong).map(
        lambda drawn: drawn[0] | drawn[3] if drawn[1] and drawn[2] else drawn[0]
    )


_PART = loosely({"type": st.sampled_from(["text", "thinking"]), "text": TEXTS, "thinking": TEXTS})
_FUNCTION = loosely({"name": NAMES | TEXTS, "arguments": TEXTS | OBJECTS | arguments() | st.just('{"a"')})
_CALL = loosely(
    {
        "index": st.integers(0, 2) | st.none(),
        "id": IDS | TEXTS | st.integers(0, 3) | st.none(),
        "function": _FUNCTION,
        "extra_content": VALUES,
    }
)
_SAID = loosely(
    {
        "role": st.just("assistant"),
        "content": TEXTS | st.none() | st.lists(_PART, max_size=2),
        "reasoning_content": TEXTS,
        "reasoning": TEXTS | loosely({"content": TEXTS}),
        "reasoning_text": TEXTS,
        "reasoning_details": st.lists(
            loosely({"type": NAMES, "index": st.integers(0, 1), "text": TEXTS, "data": TEXTS, "id": NUMBERS}),
            max_size=2,
        ),
        "refusal": TEXTS,
        "tool_calls": st.lists(_CALL, max_size=2),
        "function_call": _FUNCTION,
    }
)
_CHOICE = loosely(
    {
        "index": st.integers(0, 1) | st.none(),
        "delta": _SAID,
        "message": _SAID,
        "finish_reason": st.none() | st.sampled_from(["stop", "tool_calls", "length", "error", "STOP", "what"]),
        "usage": loosely({"prompt_tokens": NUMBERS}),
    }
)
CHUNKS = loosely(
    {
        "id": IDS | st.integers(),
        "model": NAMES,
        "choices": st.lists(_CHOICE, max_size=2),
        "usage": loosely(
            {
                "prompt_tokens": st.integers(-5, 100),
                "completion_tokens": st.integers(-5, 100),
                "total_tokens": st.integers(0, 300),
                "prompt_tokens_details": loosely({"cached_tokens": st.integers(-5, 200)}),
                "completion_tokens_details": loosely({"reasoning_tokens": st.integers(-5, 200)}),
            }
        ),
    }
) | st.just({"error": {"message": "no"}})
_BLOCK = loosely(
    {
        "type": st.sampled_from(["text", "thinking", "tool_use", "server_tool_use"]),
        "id": IDS,
        "name": NAMES,
        "text": TEXTS,
        "thinking": TEXTS,
        "signature": TEXTS,
        "input": OBJECTS,
    }
)
_MESSAGE = loosely(
    {
        "id": IDS,
        "model": NAMES,
        "content": st.lists(_BLOCK, max_size=3),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "odd"]),
        "usage": loosely({"input_tokens": COUNTS, "output_tokens": COUNTS}),
    }
)
MESSAGES_EVENTS = loosely(
    {
        "type": st.sampled_from(
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
                "ping",
                "error",
                "odd",
            ]
        ),
        "index": st.integers(0, 2),
        "message": _MESSAGE,
        "content_block": _BLOCK,
        "delta": loosely(
            {
                "type": st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "odd"]),
                "text": TEXTS,
                "partial_json": TEXTS,
                "stop_reason": NAMES,
            }
        ),
        "error": loosely({"type": NAMES, "message": TEXTS}),
    }
)


def framed(values: list[Any], *, end: bytes = b"") -> bytes:
    """JSON values as the events of a stream."""
    return b"".join(sse.encode(dumped(value).encode()) for value in values) + end


CHAT_BYTES = st.tuples(st.lists(CHUNKS, max_size=8), st.sampled_from([b"", b"data: [DONE]\n\n"])).map(
    lambda two: framed(two[0], end=two[1])
) | CHUNKS.map(lambda chunk: dumped(chunk).encode())
_RESPONSES_PART = loosely(
    {
        "type": st.sampled_from(["output_text", "refusal", "summary_text", "reasoning_text", "odd"]),
        "text": TEXTS,
        "refusal": TEXTS,
    }
)
_ITEM_IDS = st.sampled_from(["i", "j"]) | IDS
_OUTPUT_ITEM = loosely(
    {
        "type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "web_search_call"]),
        "id": _ITEM_IDS,
        "status": st.sampled_from(["completed", "incomplete", "in_progress"]),
        "content": st.lists(_RESPONSES_PART, max_size=2) | TEXTS | st.none(),
        "summary": st.lists(_RESPONSES_PART, max_size=2),
        "encrypted_content": TEXTS | st.none(),
        "call_id": _ITEM_IDS,
        "name": NAMES,
        "arguments": TEXTS | OBJECTS | arguments() | st.just('{"a"'),
        "input": TEXTS,
    }
)
_RESPONSE = loosely(
    {
        "id": IDS,
        "model": NAMES,
        "status": st.sampled_from(
            ["completed", "completed", "incomplete", "failed", "cancelled", "in_progress", "odd"]
        ),
        "output": st.lists(_OUTPUT_ITEM, max_size=3),
        "usage": loosely({"input_tokens": st.integers(-5, 100), "output_tokens": st.integers(-5, 100)}),
        "error": st.none() | loosely({"code": NAMES, "message": TEXTS}),
        "incomplete_details": st.none() | loosely({"reason": st.sampled_from(["max_output_tokens", "steered", "odd"])}),
    }
)
_SAYING = [
    f"response.{what}.{end}"
    for what in (
        "output_text",
        "refusal",
        "reasoning_summary_text",
        "reasoning_text",
        "function_call_arguments",
        "custom_tool_call_input",
        "output_item",
    )
    for end in ("delta", "done", "added")
]
_RESPONSES_ENDS = ["response.completed", "response.incomplete", "response.failed"]
_RESPONSES_EVENT = {
    "item": _OUTPUT_ITEM,
    "item_id": _ITEM_IDS,
    "output_index": st.integers(0, 2),
    "content_index": st.integers(0, 1),
    "summary_index": st.integers(0, 1),
    "delta": TEXTS | arguments() | st.just('{"a"'),
    "text": TEXTS,
    "refusal": TEXTS,
    "arguments": arguments() | TEXTS,
    "input": TEXTS,
    "code": NAMES,
    "message": TEXTS,
}
_TYPES = st.sampled_from(_SAYING) | st.sampled_from(["response.created", *_RESPONSES_ENDS, "error", "odd"])
RESPONSES_EVENTS = st.tuples(loosely(_RESPONSES_EVENT | {"response": _RESPONSE}), _TYPES).map(
    lambda two: two[0] | {"type": two[1]}
) | loosely(_RESPONSES_EVENT | {"response": _RESPONSE, "type": _TYPES})
RESPONSES_BYTES = st.lists(RESPONSES_EVENTS, max_size=8).map(framed) | _RESPONSE.map(lambda body: dumped(body).encode())
MESSAGES_BYTES = st.lists(MESSAGES_EVENTS, max_size=10).map(framed)
_WHOLE_MESSAGE = _MESSAGE.map(lambda message: dumped({"type": "message", **message}).encode())
BYTES = {"chat": CHAT_BYTES, "responses": RESPONSES_BYTES, "messages": MESSAGES_BYTES | _WHOLE_MESSAGE}
"""Bytes that look like an answer of an upstream dialect."""
_SCRAPS = [b"data: ", b"data:", b"{", b"}", b'"', b"\n", b"\r", b"[DONE]", b"\xef\xbb\xbf", b"\xff", b" "]
JUNK = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(_SCRAPS), max_size=20).map(b"".join),
    st.sampled_from([b"", b"<html>nginx</html>", b'"\\ud83d"', b"null", b"data: null\n\n"]),
)


@st.composite
def spoiled(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few replaced, removed, doubled or added."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 30)))
        match draw(st.sampled_from(["remove", "insert", "repeat", "replace"])):
            case "remove":
                data = data[:start] + data[end:]
            case "insert":
                data = data[:start] + draw(st.binary(max_size=4)) + data[start:]
            case "repeat":
                data = data[:end] + data[start:end] + data[end:]
            case _:
                data = data[:start] + draw(st.binary(min_size=1, max_size=4)) + data[end:]
    return data


@st.composite
def reframed(draw: st.DrawFn, stream: bytes) -> bytes:
    """The same stream as other servers frame it: other line ends, comments, a byte order mark, no last blank line."""
    if draw(st.booleans()):
        stream = stream.replace(b"\n\n", b"\n\n: keep-alive\n\n")
    stream = stream.replace(b"\n", draw(st.sampled_from([b"\n", b"\r\n", b"\r"])))
    stream = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b": hello\n\n"])) + stream
    return stream.rstrip(b"\r\n") if draw(st.booleans()) else stream
