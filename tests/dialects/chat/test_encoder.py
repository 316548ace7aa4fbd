"""Events as Chat Completions, as the official SDK's types have them."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from latimer.dialects.chat.encoder import FROM_FINISH_REASON, StreamEncoder, encode_response
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

SAID: list[Event] = [
    Start("x", "m"),
    BlockStart(0, Reasoning()),
    Delta(0, "hm"),
    Signature(0, "sig"),
    BlockStop(0),
    BlockStart(1, Text()),
    Delta(1, "a"),
    Delta(1, "b"),
    BlockStop(1),
    BlockStart(2, ToolCall("c1", "f")),
    Delta(2, '{"a":'),
    Delta(2, "1}"),
    BlockStop(2),
    BlockStart(3, Opaque("messages", b'{"type":"hologram"}')),
    OpaqueDelta(3, b"{}"),
    BlockStop(3),
    BlockStart(4, ToolCall("c2", "g")),
    BlockStop(4),
    Finish("tool_call", Usage(100, 10, 60, 20, 4)),
]


def chunks(events: list[Event]) -> list[Any]:
    encoder = StreamEncoder()
    lines = b"".join([encoder.encode(event) for event in events]).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_a_stream() -> None:
    read = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks(SAID)]
    assert {(chunk.id, chunk.model, chunk.object) for chunk in read} == {("x", "m", "chat.completion.chunk")}
    deltas = [chunk.choices[0].delta for chunk in read if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "ab"
    fragments = [entry for delta in deltas for entry in delta.tool_calls or ()]
    assert [(entry.index, entry.id, entry.function and entry.function.name) for entry in fragments if entry.id] == [
        (0, "c1", "f"),
        (1, "c2", "g"),
    ]
    assert [chunk.choices[0].finish_reason for chunk in read if chunk.choices][-1] == "tool_calls"
    usage = read[-1].usage
    assert not read[-1].choices
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 10, 110)


def test_a_whole_answer() -> None:
    answer = ChatCompletion.model_validate(json.loads(encode_response(SAID)))
    message: Any = answer.choices[0].message
    assert (message.content, message.reasoning_content) == ("ab", "hm")
    assert [(made.id, made.function.name, made.function.arguments) for made in message.tool_calls] == [
        ("c1", "f", '{"a":1}'),
        ("c2", "g", ""),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(("reason", "word"), sorted(FROM_FINISH_REASON.items()))
def test_reasons_are_openais_own(reason: Any, word: str) -> None:
    answer = ChatCompletion.model_validate(json.loads(encode_response([Start("x", "m"), Finish(reason, Usage())])))
    assert answer.choices[0].finish_reason == word
    assert answer.choices[0].message.content is None


def test_a_failure_is_an_error_object() -> None:
    failure = Failure("rate_limit_error", "slow down")
    expected = {"error": {"type": "rate_limit_error", "message": "slow down"}}
    assert json.loads(encode_response([failure])) == expected
    assert json.loads(StreamEncoder().encode(failure).decode().removeprefix("data: ")) == expected
