"""The scripted upstream as a Responses and as a Messages server, driven by the official SDKs."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.scenarios.replies import Call, Say, rate_limited
from tests.upstream import Exchange, Upstream

Json = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA, "strict": False}
TOOL = {"name": "weather", "description": "d", "input_schema": SCHEMA}
SAY = Say("Let me look.", calls=(Call("weather", {"city": "奥斯陆"}),), reasoning="想一想 🤔 hm")
ASK = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
USE = {"type": "tool_use", "id": "c1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(key="sk-test") as server:
        yield server


@pytest.fixture
def client(upstream: Upstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.url, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def claude(upstream: Upstream) -> Iterator[anthropic.Anthropic]:
    base = upstream.url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


def respond(client: openai.OpenAI, *, streaming: bool, **fields: Any) -> Any:
    """An answer of the Responses API, through the SDK's strict reading of it."""
    request = {"model": "m", "input": [ASK], **fields}
    if not streaming:
        return client.responses.create(**request)
    with client.responses.stream(**request) as stream:
        events = list(stream)
    assert next(event.sequence_number for event in events if hasattr(event, "sequence_number")) == 0
    return stream.get_final_response()


@pytest.mark.parametrize("streaming", [True, False])
def test_responses_reply(upstream: Upstream, client: openai.OpenAI, streaming: bool) -> None:
    upstream.play([SAY])
    reply = respond(client, streaming=streaming, tools=[FUNCTION], instructions="be brief")
    thought, message, call = reply.output
    assert thought.summary[0].text == SAY.reasoning
    assert message.content[0].text == SAY.text
    assert json.loads(call.arguments) == {"city": "奥斯陆"}
    assert reply.usage.input_tokens == len(upstream.last.raw) // 4
    assert list(upstream.last.tools) == ["weather"]
    assert upstream.last.said("system") == ["be brief"]


@pytest.mark.parametrize("streaming", [True, False])
def test_messages_reply(upstream: Upstream, claude: anthropic.Anthropic, streaming: bool) -> None:
    upstream.play([SAY])
    request: Json = {"model": "m", "max_tokens": 99, "messages": [ASK], "tools": [TOOL], "system": "be brief"}
    if streaming:
        with claude.messages.stream(**request) as stream:
            reply: Any = stream.get_final_message()
    else:
        reply = claude.messages.create(**request)
    thought, text, use = reply.content
    assert (thought.thinking, text.text, use.input) == (SAY.reasoning, SAY.text, {"city": "奥斯陆"})
    assert reply.stop_reason == "tool_use"
    assert reply.usage.input_tokens == len(upstream.last.raw) // 4
    assert upstream.last.said("system") == ["be brief"]


def test_what_a_responses_server_said_comes_back(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.play([SAY, Say("Fine.")])
    first = respond(client, streaming=True, tools=[FUNCTION])
    items = [item.model_dump(exclude_none=True) for item in first.output]
    for item in items:
        item.pop("parsed_arguments", None)
        for part in item.get("content", ()):
            part.pop("parsed", None)
    result = {**OUTPUT, "call_id": first.output[2].call_id}
    request = {"model": "m", "input": [ASK, *items, result]}
    client.post("/responses", body=request, cast_to=object)
    assert (upstream.refused, upstream.last.rounds, upstream.last.results) == ([], 1, ["sunny"])
    assert [turn.reasoning for turn in upstream.last.turns] == [None, SAY.reasoning, None]
    thought, message, call = items
    broken: list[tuple[list[Json], str]] = [
        ([{**thought, "encrypted_content": "other"}, message, call, result], "could not be verified"),
        ([message, call, result, thought], "required following item"),
        ([thought, {**call, "call_id": "c1"}, OUTPUT], "required following item"),
        ([{**message, "id": "msg_999"}], "not found"),
    ]
    for items, complaint in broken:
        with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=complaint):
            client.post("/responses", body={"model": "m", "input": [ASK, *items]}, cast_to=object)


def test_what_a_messages_server_said_comes_back(upstream: Upstream, claude: anthropic.Anthropic) -> None:
    upstream.play([SAY, Say("Fine.")])
    request: Json = {"model": "m", "max_tokens": 99, "tools": [TOOL], "thinking": {"type": "adaptive"}}
    first = claude.messages.create(**request, messages=[ASK])
    blocks = [block.model_dump(exclude_none=True) for block in first.content]
    result = {"role": "user", "content": [{**RESULT, "tool_use_id": blocks[2]["id"]}]}
    claude.messages.create(**request, messages=[ASK, {"role": "assistant", "content": blocks}, result])
    assert (upstream.refused, upstream.last.rounds, upstream.last.results) == ([], 1, ["sunny"])
    thought, text, use = blocks
    for content, complaint in (
        ([{**thought, "signature": "other"}, text, use], "Invalid `signature`"),
        ([{**thought, "thinking": "other"}, text, use], "Invalid `signature`"),
        ([text, use], "Expected `thinking`"),
    ):
        with pytest.raises(anthropic.BadRequestError, match=complaint):
            claude.messages.create(**request, messages=[ASK, {"role": "assistant", "content": content}, result])


def test_keys_and_failures(upstream: Upstream, client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-other").responses.create(model="m", input="hi")
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="sk-other").messages.create(model="m", max_tokens=9, messages=[ASK])  # type: ignore[list-item]
    upstream.play([rate_limited()])
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="m", input="hi")
    counted = claude.messages.count_tokens(model="m", messages=[ASK])  # type: ignore[list-item]
    assert counted.input_tokens > 0


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"top_k": 3}, "top_k"),
        ({"messages": [ASK]}, "messages"),
        ({"model": "other"}, "does not exist"),
        ({"input": []}, "input"),
        ({"instructions": ""}, "instructions"),
        ({"max_output_tokens": 9}, "below minimum"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": True}}, "include_usage"),
        ({"include": ["everything"]}, "include"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"reasoning": {"budget_tokens": 5}}, "budget_tokens"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "name"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}}, "not strict"),
        ({"tools": []}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [{"type": "function", "function": FUNCTION}]}, "function"),
        ({"tools": [{**FUNCTION, "name": "a.b"}]}, "name"),
        ({"tools": [{**FUNCTION, "strict": True}]}, "not strict"),
        ({"tools": [{key: FUNCTION[key] for key in ("type", "name", "parameters")}]}, "strict"),
        ({"tools": [{**FUNCTION, "cache_control": {}}]}, "cache_control"),
        ({"tools": [FUNCTION, FUNCTION]}, "unique"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "x"}}, "not found"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, "function"),
        ({"input": [{"role": "tool", "content": "x"}]}, "role"),
        ({"input": [{"role": "user", "content": ""}]}, "empty string"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "content type"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, "content type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": ""}]}]}, "empty string"),
        ({"input": [{**ASK, "phase": "commentary"}]}, "phase"),
        ({"input": [{**ASK, "cache_control": {}}]}, "cache_control"),
        ({"input": [OUTPUT, CALL]}, "No tool call found"),
        ({"input": [CALL, ASK]}, "No tool output found"),
        ({"input": [CALL, OUTPUT, OUTPUT]}, "No tool call found"),
        ({"input": [{**CALL, "arguments": ""}, OUTPUT]}, "not JSON"),
        ({"input": [{**CALL, "call_id": "c" * 65}, OUTPUT]}, "too long"),
        ({"input": [{**CALL, "id": "fc_7"}, OUTPUT]}, "not found"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
    ],
)
def test_malformed_responses_requests(upstream: Upstream, client: openai.OpenAI, fields: Json, complaint: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=complaint):
        client.post("/responses", body={"model": "m", "input": [ASK], **fields}, cast_to=object)
    assert len(upstream.refused) == 1


def turn(*blocks: Any, role: str = "user") -> Json:
    return {"role": role, "content": list(blocks)}


MARK = {"cache_control": {"type": "ephemeral"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"frobnicate": 3}, "frobnicate: Extra inputs are not permitted"),
        ({"model": "other"}, "model: other"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"temperature": 1.5}, "temperature"),
        ({"metadata": {"session": "x"}}, "metadata.session"),
        ({"output_config": {"effort": "extreme"}}, "output_config.effort"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater"),
        ({"thinking": {"type": "on"}}, "Input tag 'on'"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 5}}, "budget_tokens: Extra inputs"),
        ({"tools": [{"name": "a.b", "input_schema": SCHEMA}]}, "name"),
        ({"tools": [{**TOOL, "parameters": SCHEMA}]}, "parameters: Extra inputs"),
        ({"tools": [{"name": "weather"}]}, "valid dictionary"),
        ({"tools": [{**TOOL, "input_schema": {"type": "string"}}]}, "should be 'object'"),
        ({"tools": [TOOL, TOOL]}, "unique"),
        ({"tool_choice": {"type": "auto"}}, "while providing tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "not found"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "Input tag 'required'"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty content"),
        ({"messages": [{"role": "user", "content": " "}]}, "must be non-empty"),
        ({"messages": [{**ASK, "name": "x"}]}, "name: Extra inputs"),
        ({"messages": [turn({"type": "text", "text": "x", "index": 1})]}, "index: Extra inputs"),
        ({"messages": [turn({"type": "thinking", "thinking": "x", "signature": "y"})]}, "Input tag 'thinking'"),
        ({"messages": [turn(USE, role="assistant")]}, "without `tool_result`"),
        ({"messages": [turn(USE, role="assistant"), ASK]}, "without `tool_result`"),
        ({"messages": [turn(RESULT)]}, "unexpected `tool_use_id`"),
        ({"messages": [turn(USE, role="assistant"), turn({"type": "text", "text": "x"}, RESULT)]}, "comes first"),
        ({"messages": [turn({**USE, "id": "a:b"}, role="assistant"), turn(RESULT)]}, "tool_use.id"),
        ({"messages": [turn({"type": "thinking", "thinking": "x", "signature": ""}, role="assistant")]}, "signature"),
        ({"messages": [turn(*[{"type": "text", "text": "x", **MARK}] * 5)]}, "maximum of 4"),
        ({"messages": [turn({**IMAGE, "source": {**IMAGE["source"], "data": "?"}})]}, "base64"),  # type: ignore[dict-item]
    ],
)
def test_malformed_messages_requests(
    upstream: Upstream, claude: anthropic.Anthropic, fields: Json, complaint: str
) -> None:
    body = {"model": "m", "max_tokens": 1500, "messages": [ASK], **fields}
    with pytest.raises((anthropic.BadRequestError, anthropic.NotFoundError), match=complaint):
        claude.post("/v1/messages", body=body, cast_to=object)
    assert len(upstream.refused) == 1


def test_well_formed_requests(upstream: Upstream, client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    def script(exchange: Exchange) -> Say:
        return Say(exchange.said("user")[0])

    upstream.play(script)
    pixel = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    items = [ASK, CALL, {**OUTPUT, "output": [pixel]}, {"role": "assistant", "content": "hm", "phase": "commentary"}]
    rich: Json = {"instructions": "x", "store": False, "include": ["reasoning.encrypted_content"], "input": items}
    rich |= {"tools": [FUNCTION], "tool_choice": "required", "reasoning": {"effort": "low", "summary": "auto"}}
    client.post("/responses", body={"model": "m", **rich}, cast_to=object)
    history = [{**ASK}, turn(USE, role="assistant"), turn(RESULT, IMAGE), {"role": "system", "content": "now"}]
    body = {"model": "m", "max_tokens": 1500, "messages": history, "tools": [{**TOOL, **MARK}]}
    claude.post("/v1/messages?beta=true", body=body, cast_to=object)
    assert (upstream.refused, upstream.failures) == ([], [])
