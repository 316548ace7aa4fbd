"""Answers of three dialects, streamed and whole, and everything that is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.policy.probing.answers import Called, Reply, read_reply
from latimer.profile import Dialect

PARIS = Called("c1", "get_weather", '{"city": "Paris"}')


def stream(*items: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(item).encode() for item in items) + b"data: [DONE]\n\n"


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": 0, "function": {"arguments": arguments, **more.pop("function", {})}, **more}


CHAT = stream(
    chunk(role="assistant", reasoning_content="Hm"),
    chunk(tool_calls=[piece('{"city": ', id="c1", function={"name": "get_weather"})]),
    chunk(tool_calls=[piece('"Paris"}')]),
    chunk("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}},
)
MESSAGES = stream(
    {"type": "message_start", "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 4}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"city": '}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"Paris"}'}},
    {"type": "message_delta", "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)
RESPONSES = stream(
    {"type": "response.created", "response": {"status": "in_progress", "output": []}},
    {
        "type": "response.completed",
        "response": {
            "status": "completed",
            "output": [
                {"type": "reasoning"},
                {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
            ],
            "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}},
        },
    },
)


@pytest.mark.parametrize(
    ("dialect", "body", "reasoning"),
    [
        ("chat", CHAT, "reasoning_content"),
        ("messages", MESSAGES, "thinking"),
        ("responses", RESPONSES, "reasoning items"),
    ],
)
def test_streams(dialect: Dialect, body: bytes, reasoning: str) -> None:
    reply = read_reply(dialect, 1, 200, body)
    assert reply.calls == (PARIS,)
    assert reply.calls[0].whole
    assert (reply.reasoning, reply.usage, reply.input_tokens, reply.cached_tokens) == (reasoning, True, 9, 4)
    assert reply.complete
    assert reply.verdict == "taken"
    cut = read_reply(dialect, 1, 200, body[: len(body) // 2])
    assert not cut.complete


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"reasoning": "x"}, "reasoning"),
        ({"reasoning_details": [{"text": "x"}]}, "reasoning_details"),
        ({"content": "<think>x</think>y"}, "<think>"),
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "y"}]}, "thinking parts"),
        ({"content": "y"}, ""),
    ],
)
def test_where_reasoning_comes(message: dict[str, Any], field: str) -> None:
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert read_reply("chat", 1, 200, body).reasoning == field


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (400, b'{"error": {"message": "no"}}', "refused"),
        (422, b"[]", "refused"),
        (404, b"<html>", "refused"),
        (429, b"{}", "broken"),
        (503, b"", "broken"),
        (500, b'{"error": {"message": "boom"}}', "broken"),
        (500, b'{"error": {"message": "image input is not supported"}}', "refused"),
        (200, b'{"error": {"message": "no"}}', "refused"),
        (200, b'{"error": {"message": "busy", "code": 503}}', "broken"),
        (200, b'data: {"error": {"message": "no"}}\n\n', "refused"),
        (200, b"<html>Sign in</html>", "refused"),
        (200, b"", "refused"),
        (0, b"", "broken"),
    ],
)
def test_verdicts(status: int, body: bytes, verdict: str) -> None:
    assert read_reply("chat", 1, status, body).verdict == verdict


def test_a_question_that_was_not_asked() -> None:
    assert Reply().verdict == "unasked"


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
@given(body=st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["message", "response.completed", "content_block_delta"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "message", "delta", "content", "tool_calls", "usage", "type", "response", "output",
                         "status", "index", "item", "content_block", "prompt_tokens_details"]), inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())), status=st.sampled_from([0, 200, 400, 500]))  # fmt: skip
def test_it_never_raises(dialect: Dialect, body: bytes, status: int) -> None:
    reply = read_reply(dialect, 1, status, body)
    assert reply.verdict in {"taken", "refused", "broken"}
    assert isinstance(reply.said, str)
    read_reply(dialect, 1, status, b"data: %s\n\n" % body)
