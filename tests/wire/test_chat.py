"""The Chat Completions wire types: as wide as servers are, and OpenAI's own answers in full."""

import pytest
from msgspec import ValidationError, json
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from latimer.wire import chat as wire

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHUNK = ChatCompletionChunk.model_validate(
    {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "service_tier": "default",
        "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}],
        "usage": USAGE,
    }
)
WHOLE = ChatCompletion.model_validate(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi", "refusal": None}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
)


def decode(raw: str | bytes) -> wire.Chunk:
    return json.decode(raw, type=wire.Chunk)


def test_a_chunk_of_the_sdk() -> None:
    chunk = decode(CHUNK.model_dump_json())
    assert chunk.choices
    assert chunk.choices[0].finish_reason == "tool_calls"
    assert chunk.choices[0].delta
    assert chunk.choices[0].delta.tool_calls == [wire.ToolCallDelta(0, "c", wire.FunctionDelta("f", "{}"))]
    assert chunk.usage == wire.CompletionUsage(5, 2, 7, wire.PromptTokensDetails(4))


def test_a_whole_answer_of_the_sdk() -> None:
    chunk = decode(WHOLE.model_dump_json())
    assert chunk.choices
    assert chunk.choices[0].message == wire.ChoiceDelta(content="hi")


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"id":7,"model":null,"choices":null,"usage":null,"error":null}',
        b'{"choices":[{"delta":null,"finish_reason":null,"index":null}]}',
        b'{"choices":[{"delta":{"content":[{"type":"text","text":"x"}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"id":3,"function":{"arguments":{"a":1}}}]}}]}',
        b'{"choices":[{"delta":{"reasoning":{"content":"x"}}}],"x_groq":{"id":"r","usage":{"prompt_tokens":1}}}',
        b'{"choices":[],"timings":{"predicted_ms":1.5},"obfuscation":"abc"}',
    ],
)
def test_what_servers_send(raw: bytes) -> None:
    decode(raw)


@pytest.mark.parametrize("raw", [b"[]", b'{"choices":{}}', b'{"choices":[{"delta":{"content":5}}]}', b'{"usage":[]}'])
def test_what_is_no_chunk(raw: bytes) -> None:
    with pytest.raises(ValidationError):
        decode(raw)
