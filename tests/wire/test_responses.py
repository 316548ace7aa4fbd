"""The types of Responses take what servers send, and no more of it than is used."""

from typing import Any

import pytest
from msgspec import ValidationError, json
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseReasoningItem
from openai.types.responses.response_usage import ResponseUsage as SdkUsage

from latimer.wire.responses import Item, Response, ResponseUsage, StreamEvent


@pytest.mark.parametrize(
    ("own", "sdk"),
    [
        (Response, [SdkResponse]),
        (Item, [ResponseOutputMessage, ResponseReasoningItem, ResponseFunctionToolCall]),
        (ResponseUsage, [SdkUsage]),
    ],
)
def test_every_field_is_one_of_the_references(own: Any, sdk: list[Any]) -> None:
    known = {name for model in sdk for name in model.model_fields}
    assert set(own.__struct_fields__) <= known | {"input"}  # of a custom tool's call


@pytest.mark.parametrize(
    "data",
    [
        {"type": "response.output_text.delta", "delta": "a", "logprobs": [], "obfuscation": "x"},
        {"type": "odd", "delta": {"a": 1}, "item": None},
        {"response": {"id": None, "output": None, "usage": None, "instructions": ["anything"], "tools": [{}]}},
        {"item": {"type": "reasoning", "content": None, "summary": [], "encrypted_content": None}},
        {"item": {"type": "function_call", "arguments": {"a": 1}}},
        {"item": {"type": "message", "content": "text"}},
    ],
)
def test_what_servers_send_is_taken(data: dict[str, Any]) -> None:
    json.decode(json.encode(data), type=StreamEvent)


@pytest.mark.parametrize("data", [{"type": 1}, {"item": []}, {"output_index": "a"}, {"response": {"output": {}}}])
def test_what_no_field_allows_is_not(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        json.decode(json.encode(data), type=StreamEvent)
