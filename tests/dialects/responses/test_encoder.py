"""Events as Responses; the laws hold the decoder's mirror to what the official SDK reads."""

import json
from typing import Any

import pytest

from latimer.dialects.responses.encoder import INCOMPLETE, encode_response
from latimer.errors import Failure
from latimer.events import (
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
from tests.reading import RESPONSES

START = Start("r", "m")
ANSWER: list[Event] = [
    START,
    BlockStart(0, Reasoning()),
    Delta(0, "hm"),
    Signature(0, "enc"),
    BlockStop(0),
    BlockStart(1, Opaque("messages", b"{}")),
    OpaqueDelta(1, b"{}"),
    Delta(1, "x"),
    BlockStop(1),
    BlockStart(2, Text()),
    Delta(2, "hi"),
    BlockStop(2),
    BlockStart(3, ToolCall("c", "key", "computer")),
    Delta(3, "{}"),
    BlockStop(3),
    Finish("tool_call", Usage(3, 2), tier="priority"),
]


def frames(stream: bytes) -> list[dict[str, Any]]:
    """The events' data; each is named by its type and numbered."""
    found = []
    for number, frame in enumerate(stream.decode().split("\n\n")[:-1], 1):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        found.append(event)
    return found


def test_a_stream_has_openais_brackets() -> None:
    types = [event["type"].removeprefix("response.") for event in frames(RESPONSES.stream(ANSWER))]
    assert types == [
        "created",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_the_whole_answer_is_what_the_stream_ends_with() -> None:
    whole = json.loads(encode_response(ANSWER))
    assert whole == frames(RESPONSES.stream(ANSWER))[-1]["response"]
    reasoning, message, call = whole["output"]
    assert (reasoning["summary"], reasoning["encrypted_content"]) == ([{"type": "summary_text", "text": "hm"}], "enc")
    assert message["content"][0]["text"] == "hi"
    assert (call["call_id"], call["name"], call["arguments"]) == ("c", "computer__key", "{}")
    assert whole["service_tier"] == "priority"


@pytest.mark.parametrize("reason", ["stop", "pause", "compaction", *INCOMPLETE])
def test_every_ending(reason: FinishReason) -> None:
    whole = json.loads(encode_response([START, Finish(reason, Usage())]))
    cut = INCOMPLETE.get(reason)
    assert whole["status"] == ("incomplete" if cut else "completed")
    assert (whole["incomplete_details"] or {}).get("reason") == cut


def test_failures() -> None:
    failure = Failure("rate_limit_error", "slow")
    assert frames(RESPONSES.stream([START, failure]))[-1]["message"] == "slow"
    assert json.loads(encode_response([START, failure]))["error"]["message"] == "slow"
    for body in (RESPONSES.stream([START, failure]), RESPONSES.whole([START, failure])):
        again = RESPONSES.read([body])[-1]
        assert isinstance(again, Failure)
        assert again.type == "rate_limit_error"
