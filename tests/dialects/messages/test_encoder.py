"""A Messages answer, as bytes: exact where a client reads exactly, and honest where an answer was cut."""

import json
from typing import Any

import pytest

from latimer.dialects.messages.encoder import (
    Heading,
    StreamEncoder,
    WholeEncoder,
    encode_failure,
    encode_response,
    encode_usage,
)
from latimer.errors import Failure
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

HEADING = Heading("msg_1", "claude", "req_1")
HIDDEN = Heading("msg_1", "claude", "req_1", hide_thinking=True)
START, END = Start("upstream-id", "upstream-model", Usage(7)), Finish("stop", Usage(7, 3))


def block(index: int, kind: Block, *inner: Event) -> list[Event]:
    return [BlockStart(index, kind), *inner, BlockStop(index)]


def stream(events: list[Event], heading: Heading = HEADING) -> list[dict[str, Any]]:
    encoder = StreamEncoder(heading)
    frames = b"".join(encoder.encode(event) for event in events).decode().split("\n\n")
    return [json.loads(frame.split("\ndata: ")[1]) for frame in frames if frame]


def whole(events: list[Event], heading: Heading = HEADING) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(encode_response(events, heading))
    return message


def deltas(events: list[Event], heading: Heading = HEADING) -> list[dict[str, Any]]:
    return [event["delta"] for event in stream(events, heading) if event["type"] == "content_block_delta"]


def test_a_text_exactly() -> None:
    encoder = StreamEncoder(HEADING)
    said = [BlockStart(0, Text()), Delta(0, 'say "hé"\n'), BlockStop(0)]
    encoder.encode(START)
    assert b"".join(encoder.encode(event) for event in said).decode() == (
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"say \\"hé\\"\\n"}}\n\n'
        "event: content_block_stop\n"
        'data: {"type":"content_block_stop","index":0}\n\n'
    )


def test_the_client_reads_its_own_name_of_the_model_and_a_unique_id() -> None:
    message = stream([START, END])[0]["message"]
    assert (message["id"], message["model"]) == ("msg_1", "claude") == (whole([START, END])["id"], "claude")
    assert (message["content"], message["stop_reason"], message["usage"]["input_tokens"]) == ([], None, 7)


def test_the_start_is_said_once() -> None:
    encoder = StreamEncoder(HEADING)
    assert encoder.start(Usage())
    assert encoder.encode(START) == b""


@pytest.mark.parametrize(
    ("kind", "opened", "delta"),
    [
        (Text(), {"type": "text", "text": ""}, {"type": "text_delta", "text": "{}"}),
        (
            Reasoning(),
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "{}"},
        ),
        (
            ToolCall("t", "Bash"),
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {}},
            {"type": "input_json_delta", "partial_json": "{}"},
        ),
    ],
)
def test_each_kind_of_block(kind: Block, opened: dict[str, Any], delta: dict[str, Any]) -> None:
    events = stream([START, *block(0, kind, Delta(0, "{}")), END])
    assert [event.get("content_block", event.get("delta")) for event in events[1:3]] == [opened, delta]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_call", "tool_use"),
        ("content_filter", "refusal"),
        ("context_window", "model_context_window_exceeded"),
    ],
)
def test_stop_reasons(reason: FinishReason, told: str) -> None:
    ending = stream([START, Finish(reason, Usage())])[-2]["delta"]
    assert ending["stop_reason"] == whole([START, Finish(reason, Usage())])["stop_reason"] == told
    assert (ending["stop_details"] is not None) == (reason == "content_filter")


def test_a_matched_stop_sequence_and_a_refusal_are_explained() -> None:
    matched = stream([START, Finish("stop", Usage(), stop_sequence="</b>")])[-2]["delta"]
    assert (matched["stop_reason"], matched["stop_sequence"]) == ("stop_sequence", "</b>")
    refused = whole([START, Finish("content_filter", Usage(), explanation="no")])
    assert refused["stop_details"] == {"type": "refusal", "category": None, "explanation": "no"}


def test_usage_counts_cached_input_apart_and_has_no_nulls_to_add_up() -> None:
    usage = encode_usage(Usage(100, 20, 60, 10, 5))
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (
        30,
        60,
        10,
    )
    assert usage["output_tokens_details"] == {"thinking_tokens": 5}
    empty = encode_usage(Usage())
    assert (empty["cache_read_input_tokens"], empty["cache_creation_input_tokens"]) == (0, 0)


THOUGHT = block(0, Reasoning(), Delta(0, "hm"), Signature(0, "sig"))


def test_hidden_thinking_keeps_its_signature() -> None:
    assert deltas([START, *THOUGHT, END], HIDDEN) == [{"type": "signature_delta", "signature": "sig"}]
    assert whole([START, *THOUGHT, END], HIDDEN)["content"] == [
        {"type": "thinking", "thinking": "", "signature": "sig"}
    ]
    assert whole([START, *THOUGHT, END])["content"][0]["thinking"] == "hm"


def test_a_signature_never_goes_into_another_block() -> None:
    """Claude Code aborts on a delta that does not fit its block (measured, 2.1.330)."""
    assert deltas([START, *block(0, Text(), Signature(0, "sig")), END]) == []


def test_a_block_of_another_dialect_leaves_no_gap() -> None:
    foreign = block(0, Opaque("other", b"{}"), Delta(0, "x"), Signature(0, "x"), OpaqueDelta(0, b"{}"))
    events = stream([START, *foreign, *block(1, Text(), Delta(1, "hi")), END])
    assert [event["index"] for event in events if "index" in event] == [0, 0, 0]
    assert len(whole([START, *foreign, *block(1, Text()), END])["content"]) == 1


def test_an_opaque_block_of_this_dialect_is_one_line() -> None:
    pretty = b'{\n  "type": "server_tool_use",\r\n  "name": "a\\nb"\n}'
    opaque = block(0, Opaque("messages", pretty), OpaqueDelta(0, b'{"type":\n"x"}'))
    events = stream([START, *opaque, END])
    assert events[1]["content_block"] == {"type": "server_tool_use", "name": "a\nb"}
    assert events[2]["delta"] == {"type": "x"}
    assert whole([START, *opaque, END])["content"] == [json.loads(pretty)]


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ("  ", {}),
        ('{"n":123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        ('{"half":"\\ud83d"}', {"half": "\ufffd"}),
        ('{"command":"rm -r', {"__unparsedToolInput": {"raw": '{"command":"rm -r', "len": 17}}),
        ("[1]", {"__unparsedToolInput": {"raw": "[1]", "len": 3}}),
    ],
)
def test_arguments_of_a_whole_answer(data: str, read: dict[str, Any]) -> None:
    content = whole([START, *block(0, ToolCall("t", "Bash"), Delta(0, data)), END])["content"]
    assert content == [{"type": "tool_use", "id": "t", "name": "Bash", "input": read}]


def test_exact_numbers_stay_exact() -> None:
    body = encode_response([START, *block(0, ToolCall("t", "x"), Delta(0, '{"n":1.10}')), END], HEADING)
    assert b'"input":{"n":1.10}' in body


def test_a_failure_is_the_error_envelope_in_both_forms() -> None:
    failure = Failure("overloaded_error", "busy", {"code": 1})
    envelope = {"type": "error", "error": {"type": "overloaded_error", "message": "busy", "details": {"code": 1}}}
    expected = envelope | {"request_id": "req_1"}
    assert stream([START, failure])[-1] == whole([START, failure]) == encode_failure(failure, "req_1") == expected
    assert "details" not in encode_failure(Failure("api_error", "x"), "req_1")["error"]


def test_a_whole_answer_comes_at_its_end() -> None:
    encoder = WholeEncoder(HEADING)
    said = [START, *block(0, Text(), Delta(0, "a"), Delta(0, "b"))]
    assert [encoder.encode(event) for event in said] == [b""] * 5
    assert json.loads(encoder.encode(END))["content"] == [{"type": "text", "text": "ab"}]
