"""The scripted upstream itself, driven by the official `openai` SDK: a test bench nobody checked proves nothing."""

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.scenarios.replies import Call, Say, events, html, overflow, rate_limited
from tests.scenarios.rules import Rules
from tests.upstream import Exchange, Upstream, playing

CHINESE = "你好世界。这是一个跨越字节边界的回答。"
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
ASK: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(key="sk-test") as server:
        yield server


@pytest.fixture
def client(upstream: Upstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.url, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


def test_whole_reply(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.play([Say("hello", calls=(Call("weather", {"city": "Oslo"}),), reasoning="hm")])
    reply = client.chat.completions.create(model="m", messages=ASK, tools=[WEATHER])  # type: ignore[list-item]
    message = reply.choices[0].message
    assert message.content == "hello"
    assert message.reasoning_content == "hm"  # type: ignore[attr-defined]
    assert message.tool_calls is not None
    assert message.tool_calls[0].type == "function"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo"}
    assert reply.choices[0].finish_reason == "tool_calls"
    assert upstream.last.tools == {"weather": WEATHER["function"]}


@pytest.mark.parametrize("size", [1, 2, 7])
def test_streamed_reply_split_inside_characters(upstream: Upstream, client: openai.OpenAI, size: int) -> None:
    say = Say(CHINESE, calls=(Call("weather", {"city": "奥斯陆"}),), reasoning="想一想")
    upstream.play(lambda exchange: exchange.render(say).sliced(size))
    with client.chat.completions.stream(
        model="m",
        messages=ASK,
        tools=[WEATHER],  # type: ignore[list-item]
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()
    message = final.choices[0].message
    assert message.content == CHINESE
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "奥斯陆"}
    assert final.usage is not None
    assert final.usage.prompt_tokens == len(upstream.last.raw) // 4


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (rate_limited(), openai.RateLimitError),
        (overflow(9000, 8192), openai.BadRequestError),
        (events({"error": {"message": "overloaded", "code": 503}}), openai.APIError),
    ],
)
def test_failures(upstream: Upstream, client: openai.OpenAI, reply: Any, error: type[Exception]) -> None:
    upstream.play([reply])
    with pytest.raises(error):
        list(client.chat.completions.create(model="m", messages=ASK, stream=True))


def test_wrong_key(upstream: Upstream, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-other").chat.completions.create(model="m", messages=ASK)


def test_html_in_a_200(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.play([html()])
    assert client.chat.completions.create(model="m", messages=ASK).startswith("<!DOCTYPE")  # type: ignore[attr-defined]


def test_cut_ended_and_paused(upstream: Upstream, client: openai.OpenAI) -> None:
    say = Say("one two three four five six", piece=4)
    upstream.play(
        [
            lambda exchange: exchange.render(say).cut(b"two"),
            lambda exchange: exchange.render(say).ended(b"two"),
            lambda exchange: exchange.render(say).paused(0.3),
        ]
    )
    read: list[str] = []
    with pytest.raises(openai.APIConnectionError):
        read.extend(_texts(client))
    assert "".join(_texts(client)) == "one two "
    start = time.monotonic()
    assert "".join(_texts(client)) == say.text
    assert time.monotonic() - start > 0.3


def _texts(client: openai.OpenAI) -> Iterator[str]:
    for chunk in client.chat.completions.create(model="m", messages=ASK, stream=True):
        yield from (choice.delta.content or "" for choice in chunk.choices)


def test_a_client_that_leaves_is_on_record(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.play(lambda exchange: exchange.render(Say("word " * 50)).paced(0.1))
    stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    assert upstream.last.gone.wait(2)


def test_a_failing_script_is_on_record(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.play([])
    with pytest.raises(openai.BadRequestError, match="has only 0"):
        client.chat.completions.create(model="m", messages=ASK)
    assert len(upstream.failures) == 1


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
TOOLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}


def _call(**changes: Any) -> dict[str, Any]:
    function = {**CALL["function"], **changes.pop("function", {})}  # type: ignore[dict-item]
    return {"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": function, **changes}]}


def _tool(**changes: Any) -> dict[str, Any]:
    return {"type": "function", "function": {**WEATHER["function"], **changes}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"top_k": 3}, "top_k"),
        ({"model": "other"}, "does not exist"),
        ({"messages": []}, "empty"),
        ({"max_tokens": 0}, "positive"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "exclusive"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": []}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"tools": [_tool(name="a" * 65)]}, "name"),
        ({"tools": [_tool(name="a.b")]}, "name"),
        ({"tools": [_tool(cache_control={"type": "ephemeral"})]}, "cache_control"),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, "defer_loading"),
        ({"tools": [WEATHER, WEATHER]}, "unique"),
        ({"tools": [_tool(parameters={"type": "string"})]}, "object"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "no such tool"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}, "name"),
        ({"messages": [{"role": "model", "content": "hi"}]}, "role"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty string"),
        ({"messages": [{"role": "user", "content": []}]}, "empty array"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "empty string"),
        ({"messages": [{"role": "user", "content": "hi", "cache_control": {}}]}, "cache_control"),
        ({"messages": [{"role": "assistant", "content": None}]}, "null"),
        ({"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}]}, "reasoning_content"),
        ({"messages": [TOOLED]}, "did not have response"),
        ({"messages": [TOOLED, ASK[0], RESULT]}, "must be followed"),
        ({"messages": [RESULT]}, "must be a response"),
        ({"messages": [TOOLED, RESULT, RESULT]}, "must be a response"),
        ({"messages": [TOOLED, {**RESULT, "content": [IMAGE]}]}, "content type"),
        ({"messages": [TOOLED, {**RESULT, "content": ""}]}, "empty string"),
        ({"messages": [_call(id="c" * 41), {**RESULT, "tool_call_id": "c" * 41}]}, "maximum length"),
        ({"messages": [_call(function={"arguments": ""}), RESULT]}, "not JSON"),
        ({"messages": [_call(function={"arguments": "[]"}), RESULT]}, "not a JSON object"),
        ({"messages": [_call(function={"arguments": {}}), RESULT]}, "expected a string"),
    ],
)
def test_malformed_requests(upstream: Upstream, client: openai.OpenAI, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=complaint):
        client.post("/chat/completions", body={"model": "m", "messages": ASK, **fields}, cast_to=object)
    assert complaint in upstream.refused[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [TOOLED, RESULT], "tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
        {"messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "what?"}]}]},
        {"messages": [{"role": "developer", "content": "be brief"}, *ASK, {"role": "system", "content": "now"}]},
        {"tools": [_tool(parameters={"type": "object", "properties": {"cache_control": {"type": "string"}}})]},
        {"max_completion_tokens": 9, "temperature": 1, "stop": ["a"], "user": "u", "reasoning_effort": "high"},
    ],
)
def test_well_formed_requests(upstream: Upstream, client: openai.OpenAI, fields: dict[str, Any]) -> None:
    upstream.play([Say("fine")])
    client.post("/chat/completions", body={"model": "m", "messages": ASK, **fields}, cast_to=object)
    assert upstream.refused == []


def test_rules_of_one_upstream_can_be_wider() -> None:
    message = {"role": "assistant", "content": "a", "reasoning_content": "b"}

    def script(exchange: Exchange) -> Say:
        return Say(exchange.messages[0]["reasoning_content"])

    with (
        playing(script, rules=Rules(message_keys=frozenset({"reasoning_content"}))) as upstream,
        openai.OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client,
    ):
        body = {"model": "m", "messages": [message, *ASK]}
        reply = client.post("/chat/completions", body=body, cast_to=openai.types.chat.ChatCompletion)
    assert reply.choices[0].message.content == "b"
