"""A Messages answer read back: the stream's order, what it may leave out, and what ends it."""

import json
from typing import Any

import pytest

from latimer.dialects.messages.decoder import StreamDecoder, decode_response, decode_usage
from latimer.errors import Failure
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
)
from latimer.wire import messages as wire

START = {"type": "message_start", "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 9}}}
ENDING = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
STOP = {"type": "message_stop"}
BEGUN, DONE = Start("m", "claude", Usage(9)), Finish("stop", Usage(9, 4))


def opened(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def closed(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


TEXT = opened({"type": "text", "text": ""})


def read(*events: dict[str, Any]) -> list[Event]:
    decoder = StreamDecoder()
    frames = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    return decoder.decode(frames) + decoder.flush()


def inside(block: dict[str, Any], *inner: dict[str, Any]) -> list[Event]:
    """The events between the start of a block and its end."""
    return read(START, opened(block), *inner, closed(), ENDING, STOP)[1:-2]


def failed(*events: dict[str, Any]) -> str:
    last = read(*events)[-1]
    assert isinstance(last, Failure)
    return last.message


def test_a_whole_conversation_turn() -> None:
    said = delta(type="text_delta", text="hi")
    assert read(START, {"type": "ping"}, TEXT, said, closed(), ENDING, STOP) == [
        BEGUN,
        BlockStart(0, Text()),
        Delta(0, "hi"),
        BlockStop(0),
        DONE,
    ]


@pytest.mark.parametrize(
    ("block", "inner", "events"),
    [
        ({"type": "text"}, delta(type="text_delta", text="x"), [BlockStart(0, Text()), Delta(0, "x")]),
        ({"type": "thinking"}, delta(type="thinking_delta", thinking="x"), [BlockStart(0, Reasoning()), Delta(0, "x")]),
        (
            {"type": "thinking"},
            delta(type="signature_delta", signature="s"),
            [BlockStart(0, Reasoning()), Signature(0, "s")],
        ),
        (
            {"type": "tool_use", "id": "a", "name": "b", "input": {}},
            delta(type="input_json_delta", partial_json="{"),
            [BlockStart(0, ToolCall("a", "b")), Delta(0, "{")],
        ),
        (
            {"type": "text"},
            delta(type="citations_delta", citation={}),
            [BlockStart(0, Text()), OpaqueDelta(0, b'{"type": "citations_delta", "citation": {}}')],
        ),
        (
            {"type": "server_tool_use"},
            delta(type="input_json_delta", partial_json="{"),
            [
                BlockStart(0, Opaque("messages", b'{"type": "server_tool_use"}')),
                OpaqueDelta(0, b'{"type": "input_json_delta", "partial_json": "{"}'),
            ],
        ),
    ],
)
def test_blocks_and_their_deltas(block: dict[str, Any], inner: dict[str, Any], events: list[Event]) -> None:
    assert inside(block, inner) == events


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "pause"),
        ("max_tokens", "length"),
        ("tool_use", "tool_call"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "context_window"),
        ("of_2028", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reasons(given: str | None, reason: str) -> None:
    ending = {"type": "message_delta", "delta": {"stop_reason": given}, "usage": {}}
    last = read(START, ending, STOP)[-1]
    assert isinstance(last, Finish)
    assert last.reason == reason


def test_an_event_of_an_unknown_type_is_passed_over() -> None:
    """As the API's reference asks of its readers."""
    assert read(START, {"type": "of_2028"}, ENDING, {"type": "of_2029"}, STOP) == [BEGUN, DONE]


@pytest.mark.parametrize(
    "events",
    [
        (delta(type="text_delta", text="x"),),
        (opened({"type": "text"}, 1),),
        (START, START),
        (START, delta(type="text_delta", text="x")),
        (START, opened({"type": "text"}, 1)),
        (START, TEXT, TEXT),
        (START, TEXT, delta(1, type="text_delta", text="x")),
        (START, TEXT, closed(1)),
        (START, TEXT, ENDING),
        (START, STOP),
        (START, ENDING, TEXT),
    ],
)
def test_what_is_out_of_order_ends_in_a_failure(events: tuple[dict[str, Any], ...]) -> None:
    assert failed(*events).endswith("out of order")


@pytest.mark.parametrize("events", [(), (START,), (START, TEXT), (START, TEXT, closed()), (START, ENDING)])
def test_what_is_cut_ends_in_a_failure(events: tuple[dict[str, Any], ...]) -> None:
    assert failed(*events) == "the stream ended before message_stop"


def test_a_missing_start_is_put_right() -> None:
    """llama.cpp leaves it out where the answer's first token is half of a character."""
    rest = [BlockStart(0, Text()), BlockStop(0), Finish("stop", Usage(0, 4))]
    assert read(TEXT, closed(), ENDING, STOP) == [Start("", ""), *rest]


def test_an_error_event_ends_it() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy", "details": {"a": 1}}}
    assert read(START, error, STOP) == [BEGUN, Failure("overloaded_error", "busy", {"a": 1})]
    assert read({"type": "error", "error": {"type": "of_2028", "message": "x"}}) == [Failure("api_error", "x")]
    assert failed({"type": "error"}) == "an error event without an error"


@pytest.mark.parametrize(
    "frame", [b"data: nonsense\n\n", b"data: []\n\n", b'data: {"type":5}\n\n', b'data: "\xff"\n\n']
)
def test_what_is_not_messages_ends_in_one_failure(frame: bytes) -> None:
    decoder = StreamDecoder()
    events = decoder.decode(frame + frame) + decoder.flush()
    assert len(events) == 1
    assert isinstance(events[0], Failure)
    assert "not Messages" in events[0].message


def test_half_an_emoji_is_mended() -> None:
    assert inside({"type": "text"}, delta(type="text_delta", text="\ud83d"))[1:] == [Delta(0, "\ufffd")]


@pytest.mark.parametrize(
    ("final", "counts"),
    [
        (wire.MessageUsage(output_tokens=5), Usage(100, 5, 60, 10)),
        (wire.MessageUsage(1, 5, 2, 3), Usage(6, 5, 2, 3)),
        (wire.MessageUsage(), Usage(100, 1, 60, 10)),
        (
            wire.MessageUsage(output_tokens=5, output_tokens_details=wire.OutputTokensDetails(4)),
            Usage(100, 5, 60, 10, 4),
        ),
    ],
)
def test_a_final_usage_completes_the_first(final: wire.MessageUsage, counts: Usage) -> None:
    assert decode_usage(final, Usage(100, 1, 60, 10)) == counts


def test_a_whole_message() -> None:
    message = {
        "id": "m",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": 'an "error" in words'},
            {"type": "tool_use", "id": "a", "name": "b", "input": {"n": 1.5}},
            {"type": "text", "text": ""},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 9, "output_tokens": 4},
    }
    assert decode_response(json.dumps(message, separators=(",", ":")).encode()) == [
        Start("m", "claude", Usage(9, 4)),
        *[BlockStart(0, Reasoning()), Delta(0, "hm"), Signature(0, "s"), BlockStop(0)],
        *[BlockStart(1, Text()), Delta(1, 'an "error" in words'), BlockStop(1)],
        *[BlockStart(2, ToolCall("a", "b")), Delta(2, '{"n":1.5}'), BlockStop(2)],
        *[BlockStart(3, Text()), BlockStop(3)],
        Finish("tool_call", Usage(9, 4)),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"type":"error"}', b'{"id":"m","model":"c","content":[5]}'])
def test_a_body_that_is_no_message_is_one_failure(body: bytes) -> None:
    events = decode_response(body)
    assert len(events) == 1
    assert isinstance(events[0], Failure)


def test_an_error_body() -> None:
    body = b'{"type":"error","error":{"type":"not_found_error","message":"model: x"},"request_id":"r"}'
    assert decode_response(body) == [Failure("not_found_error", "model: x")]
