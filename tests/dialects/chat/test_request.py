"""The body's top level: what is sent, what is clamped, what is refused, and that nothing vanishes unreported."""

import json
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace

from latimer.dialects.chat.request import encode_request
from latimer.dialects.messages.request import decode_request
from latimer.errors import Rejection
from latimer.wire.messages import RequestBody
from tests.dialects.chat.asking import (
    DEFAULT,
    Asked,
    Json,
    assistant,
    call,
    marked,
    parsed,
    profile,
    result,
    system,
    text,
    tool,
    user,
)

CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
GIVEN: dict[str, Any] = {
    "system": "Be brief.",
    "stream": True,
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "tools": [tool()],
    "tool_choice": {"type": "any"},
    "metadata": {"user_id": "u"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "max"},
    "output_format": {"type": "json_schema", "schema": CLOSED},
    "service_tier": "standard_only",
    "speed": "fast",
    "cache_control": {"type": "ephemeral"},
    "diagnostics": {"previous_message_id": "msg_0"},
    "billing_policy": {"type": "billing_policy", "bill_to": "self"},
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "fallbacks": "default",
    "fallback_credit_token": {"token": "t", "mode": "best_effort"},
    "safeguards": [{"type": "dangerous_tool_use"}],
    "user_profile_id": "p",
    "workspace_id": "w",
    "betas": ["b"],
}
REFUSED: dict[str, Any] = {
    "thread": {"type": "create"},
    "compaction": {"type": "summarize"},
    "fallbacks": [{"model": "other"}],
    "fallback_credit_token": "t",
    "mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}],
    "container": "c",
    "inference_geo": "eu",
    "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
    "output_format": {"schema": CLOSED},
}
CARRIED = {"system", "stream", "temperature", "top_p", "tools", "tool_choice", "output_format"}
EXPLAINED = {
    "metadata": "metadata.user_id",
    "thinking": "thinking.budget_tokens",
    "output_config": "output_config.effort",
}


def test_the_table_knows_every_field() -> None:
    assert GIVEN.keys() | REFUSED.keys() | {"model", "messages", "max_tokens"} == set(RequestBody.__struct_fields__)
    assert {field.name for field in structs.fields(RequestBody)} >= GIVEN.keys()


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - CARRIED))
def test_what_is_not_carried_is_reported(name: str) -> None:
    assert EXPLAINED.get(name, name) in Asked(**GIVEN).lost


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_would_be_told_falsely_is_refused_by_name(name: str) -> None:
    more = {"output_config": {"format": {"schema": CLOSED}}} if name == "output_format" else {}
    with pytest.raises(Rejection) as refusal:
        Asked(**{name: REFUSED[name]}, **more)
    assert refusal.value.failure.status == 400
    assert refusal.value.failure.message.startswith(name)


def test_a_thread_that_goes_on_is_not_found() -> None:
    with pytest.raises(Rejection) as refusal:
        Asked(thread={"type": "continue", "previous_message_id": "msg_1"})
    assert refusal.value.failure.status == 404
    assert refusal.value.failure.details == {"error_code": "thread_not_found"}


@pytest.mark.parametrize(
    ("given", "silent"),
    [
        ({"service_tier": "auto"}, True),
        ({"context_management": {"edits": []}}, False),  # nobody has looked at it
        ({"fallbacks": []}, True),
        ({"betas": []}, True),
        ({"tools": [], "tool_choice": {"type": "none"}}, True),
    ],
)
def test_what_asks_for_nothing_is_no_loss(given: Json, silent: bool) -> None:
    assert (not Asked(**given).losses) == silent


@pytest.mark.parametrize(
    ("rules", "estimate", "sent"),
    [
        ({}, 0, 32000),
        ({"max_output": 8192}, 0, 8192),
        ({"max_output": 64000}, 0, 32000),
        ({"context_window": 16000}, 8000, 7000),
        ({"context_window": 16000, "max_output": 4096}, 8000, 4096),
        ({"context_window": 16000}, 20000, 256),
    ],
)
def test_max_tokens_fits_model_and_window(rules: Json, estimate: int, sent: int) -> None:
    asked = Asked(rules=profile(request=rules), estimate=estimate, max_tokens=32000)
    assert asked.body["max_tokens"] == sent
    assert ("max_tokens" in asked.lost) == (sent < 32000)


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({"type": "string"}, False),
        ({"anyOf": [CLOSED]}, False),
        ({**CLOSED, "properties": {"a": {"type": "object"}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"type": "string", "minLength": 1}}}, False),
        ({**CLOSED, "$defs": {"d": {"type": "object", "properties": {}}}}, False),
    ],
)
def test_strict_only_for_schemas_that_are(schema: Json, strict: bool) -> None:
    form = Asked(output_config={"format": {"type": "json_schema", "schema": schema}}).body["response_format"]
    assert form["json_schema"] == {"name": "output", "schema": schema, "strict": strict}


def test_a_schema_in_the_prompt_joins_the_only_system_message() -> None:
    rules = profile(request={"json_schema": "prompt"}, messages={"content": "parts"})
    asked = Asked(rules=rules, system="Title it.", output_format={"schema": CLOSED})
    assert [message["role"] for message in asked.messages] == ["system", "user"]
    assert [part["text"].split("\n")[0] for part in asked.messages[0]["content"]] == [
        "Title it.",
        "Answer with JSON only, matching this JSON Schema:",
    ]


@pytest.mark.parametrize(
    ("rules", "fields"),
    [
        ({}, set()),
        ({"user_id": "user"}, {"user"}),
        (
            {"user_id": "safety_identifier", "session_key": "prompt_cache_key"},
            {"safety_identifier", "prompt_cache_key"},
        ),
    ],
)
def test_the_user_is_never_named(rules: Json, fields: set[str]) -> None:
    one = Asked(rules=profile(request=rules), metadata={"user_id": '{"device_id":"d-1","session_id":"s-1"}'})
    assert b"d-1" not in one.raw
    assert b"s-1" not in one.raw
    assert fields <= one.body.keys()
    again = Asked("later", rules=profile(request=rules), metadata={"user_id": '{"device_id":"d-1","session_id":"s-1"}'})
    other = Asked(rules=profile(request=rules), metadata={"user_id": '{"device_id":"d-1","session_id":"s-2"}'})
    for field in fields:
        assert one.body[field] == again.body[field] != other.body[field]


@pytest.mark.parametrize(
    ("rules", "wanted", "sent"),
    [
        ({}, None, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"usage": "unasked"}, True, {"stream": True}),
        ({"stream": "as_asked"}, None, {}),
        ({"stream": "as_asked"}, True, {"stream": True, "stream_options": {"include_usage": True}}),
    ],
)
def test_streams_are_asked_for(rules: Json, wanted: bool | None, sent: Json) -> None:
    asked = Asked(rules=profile(request=rules), stream=wanted)
    assert {key: value for key, value in asked.body.items() if key.startswith("stream")} == sent


def test_dropped_fields_are_reported_by_the_clients_name() -> None:
    rules = profile(request={"drop": ["reasoning_effort", "temperature", "stream_options", "top_p"]})
    asked = Asked(rules=rules, temperature=1, output_config={"effort": "high"})
    assert not {"reasoning_effort", "temperature", "stream_options"} & asked.body.keys()
    assert asked.lost == {"output_config.effort", "temperature"}


def test_extra_body_is_the_users_last_word() -> None:
    assert Asked(rules=profile(request={"extra_body": {"max_tokens": 7, "x": {"y": 1}}})).body["x"] == {"y": 1}


def test_the_same_request_gives_the_same_bytes() -> None:
    assert Asked(**GIVEN).raw == Asked(**GIVEN).raw


@pytest.mark.parametrize("depth", [50, 200, 400, 800, 5000])
def test_deep_nesting_is_served_or_refused_and_crashes_nothing(depth: int) -> None:
    schema = '{"type":"object","properties":{"a":' * depth + "{}" + "}}" * depth
    tools = f'"tools":[{{"name":"t","input_schema":{schema}}}]'
    body = f'{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"hi"}}],{tools}}}'
    try:
        request = decode_request(body.encode())
        encode_request(request, model="m", route="p/m", profile=DEFAULT)
    except Rejection as rejection:
        assert rejection.failure.status == 400
        assert depth > 50


@pytest.mark.parametrize("field", ["metadata", "session"])
def test_the_session_goes_where_the_provider_looks_for_it(field: str) -> None:
    metadata = {"metadata": {"user_id": '{"session_id":"s-1"}'}} if field == "metadata" else {}
    request = replace(parsed(**metadata), session="s-1")
    rules = profile(request={"session_key": "prompt_cache_key"}, cache={"session_headers": ["x-a", "x-b"]})
    outgoing = encode_request(request, model="m", route="p/m", profile=rules)
    key = json.loads(outgoing.body)["prompt_cache_key"]
    assert outgoing.headers == {"x-a": key, "x-b": key}
    assert key == request.session_key
    assert encode_request(request, model="m", route="p/m", profile=DEFAULT).headers == {}
    assert encode_request(parsed(), model="m", route="p/m", profile=rules).headers == {}


def test_headers_alone_carry_the_session_too() -> None:
    rules = profile(cache={"session_headers": ["x-a"]})
    asked = Asked(metadata={"user_id": '{"session_id":"s-1"}'}, rules=rules)
    assert [loss.action for loss in asked.losses if loss.field == "metadata.user_id"] == ["approximated"]


ENDED = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ([user("a"), assistant("b"), user(text("c"), text("d"))], (2, 1)),
        ([user("go"), assistant(call("toolu_A")), user(result("toolu_A"))], (2, 0)),
        ([user("go"), assistant(call("toolu_A")), user(result("toolu_A")), system("s")], (3, 0)),
    ],
)
def test_the_mark_of_the_request_stands_at_its_end(said: list[Json], place: tuple[int, int]) -> None:
    asked = Asked(*said, rules=profile(cache={"cache_control": "pass"}), cache_control=ENDED)
    assert asked.messages[place[0]]["content"][place[1]]["cache_control"] == ENDED
    assert asked.raw.count(b"cache_control") == 1
    assert [(loss.field, loss.action) for loss in asked.losses] == [("cache_control", "emulated")]


def test_a_mark_on_the_last_part_is_enough() -> None:
    asked = Asked(user(marked(text("a"))), rules=profile(cache={"cache_control": "pass"}), cache_control=ENDED)
    assert asked.messages[-1]["content"] == [marked(text("a"))]


@pytest.mark.parametrize(("said", "sent"), [(0, 0.01), (0.01, 0.01), (1, 1)])
def test_the_least_temperature(said: float, sent: float) -> None:
    asked = Asked("hi", rules=profile(request={"least_temperature": 0.01}), temperature=said)
    assert asked.body["temperature"] == sent
    assert ("temperature" in asked.lost) is (said != sent)


def test_what_is_not_taken_while_the_model_thinks() -> None:
    rules = profile(request={"drop_when_thinking": ["temperature"]}, reasoning={"efforts": {"none": "none"}})
    thinking = Asked("hi", rules=rules, temperature=1, top_p=0.5, thinking={"type": "adaptive"}, max_tokens=4096)
    assert ("temperature" in thinking.body, thinking.body["top_p"]) == (False, 0.5)
    assert "temperature" in thinking.lost
    assert Asked("hi", rules=rules, temperature=1, thinking={"type": "disabled"}).body["temperature"] == 1
