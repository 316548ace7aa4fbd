"""The body's top level: what is sent, what is clamped, what is refused, and that nothing vanishes unreported.

What both of OpenAI's APIs share is tested with Chat Completions, and by the laws of requests.
"""

from typing import Any

import pytest

from latimer.dialects.messages.request import decode_request
from latimer.dialects.responses.request import encode_request
from latimer.errors import Rejection
from tests.dialects.chat.asking import Json, user
from tests.dialects.chat.test_request import CARRIED, CLOSED, EXPLAINED, GIVEN, REFUSED
from tests.dialects.responses.asking import DEFAULT, Asked, profile, said
from tests.scenarios.checking import parse
from tests.scenarios.ledger import Ledger
from tests.scenarios.responses_rules import ResponsesRules

OFF = {"type": "disabled"}
ADAPTIVE = {"type": "adaptive"}
OMITTED = {"type": "adaptive", "display": "omitted"}
BUDGET = {"type": "enabled", "budget_tokens": 5000}


def effort(word: str) -> Json:
    return {"output_config": {"effort": word}}


def test_nothing_is_kept_at_the_provider() -> None:
    asked = Asked()
    assert asked.body == {
        "model": "m",
        "input": [said("hi")],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 1024,
        "stream": True,
    }
    assert not asked.losses


def test_the_strictest_server_takes_everything_at_once() -> None:
    openai = profile(
        request={
            "user_id": "safety_identifier",
            "session_key": "prompt_cache_key",
            "service_tier": True,
            "obfuscation": "off",
        },
        tools={"strict": True, "schema": "openai"},
        messages={"system_role": "developer"},
    )
    given = GIVEN | {"metadata": {"user_id": '{"session_id":"s-1"}'}}
    ResponsesRules().check(parse(Asked(rules=openai, **given).raw), Ledger())


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - CARRIED))
def test_what_is_not_carried_is_reported(name: str) -> None:
    assert EXPLAINED.get(name, name) in Asked(**GIVEN).lost


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_would_be_told_falsely_is_refused_by_name(name: str) -> None:
    more = {"output_config": {"format": {"schema": CLOSED}}} if name == "output_format" else {}
    with pytest.raises(Rejection) as refusal:
        Asked(**{name: REFUSED[name]}, **more)
    assert refusal.value.failure.message.startswith(name)


@pytest.mark.parametrize(
    ("rules", "asked", "sent", "lost"),
    [
        ({}, {}, None, set()),
        ({}, {"thinking": OMITTED}, None, set()),
        ({}, {"thinking": ADAPTIVE}, {"summary": "auto"}, set()),
        ({}, {"thinking": {"type": "adaptive", "display": "summarized"}}, {"summary": "auto"}, set()),
        ({}, {"thinking": {"type": "adaptive", "display": "updates"}}, {"summary": "auto"}, {"thinking.display"}),
        ({}, effort("high"), {"effort": "high"}, set()),
        ({}, effort("high") | {"thinking": ADAPTIVE}, {"effort": "high", "summary": "auto"}, set()),
        ({}, effort("max"), {"effort": "high"}, {"output_config.effort"}),
        ({"efforts": {"max": "max"}}, effort("max"), {"effort": "max"}, set()),
        ({"efforts": {"none": "none"}}, {"thinking": OFF}, {"effort": "none"}, set()),
        ({"summaries": False}, {"thinking": ADAPTIVE}, None, set()),
        (
            {"summaries": False},
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            None,
            {"thinking.display"},
        ),
        ({}, {"thinking": BUDGET}, {"effort": "medium", "summary": "auto"}, {"thinking.budget_tokens"}),
        ({"control": "none"}, effort("high") | {"thinking": ADAPTIVE}, None, {"output_config.effort"}),
        ({"control": "thinking_type"}, effort("low"), {"effort": "low"}, set()),
        ({"control": "enable_thinking", "budget_field": "thinking_budget"}, effort("low"), {"effort": "low"}, set()),
        ({"efforts": {"high": ""}}, effort("high"), None, {"output_config.effort"}),
    ],
)
def test_effort_is_all_there_is_to_say(rules: Json, asked: Json, sent: Json | None, lost: set[str]) -> None:
    encoded = Asked(rules=profile(reasoning=rules), max_tokens=32000, **asked)
    assert encoded.body.get("reasoning") == sent
    assert encoded.lost == lost


def test_an_effort_beside_a_budget_counts_more() -> None:
    asked = Asked(thinking={**BUDGET, "display": "omitted"}, max_tokens=32000, **effort("low"))
    assert asked.body["reasoning"] == {"effort": "low"}
    assert asked.lost == {"thinking.budget_tokens"}


@pytest.mark.parametrize(
    ("wanted", "rules", "sent", "lost"),
    [
        (15, {}, 16, True),
        (16, {}, 16, False),
        (1, {"efforts": {"none": "none"}}, 16, True),
        (0, {}, 0, True),
    ],
)
def test_no_fewer_tokens_are_asked_for_than_are_given(wanted: int, rules: Json, sent: int, lost: bool) -> None:
    asked = Asked(rules=profile(reasoning=rules), max_tokens=wanted)
    assert asked.body["max_output_tokens"] == sent
    assert ("max_tokens" in asked.lost) == lost


@pytest.mark.parametrize(
    ("efforts", "dropped", "room"), [({"none": "none"}, [], 0), ({}, [], 4096), ({"none": "none"}, ["reasoning"], 4096)]
)
def test_a_model_that_cannot_be_kept_from_thinking_gets_room_for_it(
    efforts: Json, dropped: list[str], room: int
) -> None:
    rules = profile(reasoning={"efforts": efforts, "control": "thinking_type"}, request={"drop": dropped})
    assert Asked(rules=rules, thinking=OFF, max_tokens=64).body["max_output_tokens"] == 64 + room


@pytest.mark.parametrize(
    ("style", "form"),
    [
        ("json_schema", {"type": "json_schema", "name": "output", "schema": CLOSED, "strict": True}),
        ("json_object", {"type": "json_object"}),
        ("prompt", None),
    ],
)
@pytest.mark.parametrize(
    ("prompt", "content", "before"),
    [("Title it.", "parts", ["Title it."]), (None, "parts", []), ("Title it.", "string_only", ["Title it."])],
)
def test_structured_output(style: str, form: Any, prompt: str | None, content: str, before: list[str]) -> None:
    rules = profile(request={"json_schema": style}, messages={"content": content})
    given = {"system": prompt} if prompt else {}
    asked = Asked(rules=rules, output_format={"schema": CLOSED}, **given)
    assert asked.body.get("text", {}).get("format") == form
    system = asked.input[0]["content"] if len(asked.input) > 1 else []
    told = system.split("\n\n") if isinstance(system, str) else [part["text"] for part in system]
    assert told[: len(before)] == before
    assert [each.split(":")[0] for each in told[len(before) :]] == (
        [] if style == "json_schema" else ["Answer with JSON only, matching this JSON Schema"]
    )


@pytest.mark.parametrize(
    ("rules", "wanted", "sent"),
    [
        ({}, None, {"stream": True}),
        ({"stream": "as_asked"}, None, {}),
        ({"stream": "as_asked"}, True, {"stream": True}),
        ({"obfuscation": "off"}, None, {"stream": True, "stream_options": {"include_obfuscation": False}}),
        ({"obfuscation": "off", "stream": "as_asked"}, None, {}),
    ],
)
def test_streams_are_asked_for(rules: Json, wanted: bool | None, sent: Json) -> None:
    asked = Asked(rules=profile(request=rules), stream=wanted)
    assert {key: value for key, value in asked.body.items() if key.startswith("stream")} == sent


def test_dropped_fields_are_reported_by_the_clients_name() -> None:
    dropped = ["reasoning", "temperature", "store", "include", "text", "max_output_tokens"]
    asked = Asked(
        rules=profile(request={"drop": dropped}), temperature=1, output_format={"schema": CLOSED}, **effort("high")
    )
    assert not asked.body.keys() & set(dropped)
    assert asked.lost == {"output_config.effort", "output_config.format", "temperature", "max_tokens"}


@pytest.mark.parametrize(("thinking", "sent"), [("disabled", True), ("adaptive", False)])
def test_some_fields_are_sent_only_where_thinking_is_off(thinking: str, sent: bool) -> None:
    rules = profile(request={"drop_when_thinking": ["temperature"]}, reasoning={"efforts": {"none": "none"}})
    asked = Asked(rules=rules, temperature=0.5, thinking={"type": thinking})
    assert ("temperature" in asked.body) == sent
    assert ("temperature" in asked.lost) != sent


def test_what_the_provider_wants_beside_is_sent() -> None:
    assert Asked(rules=profile(request={"extra_body": {"x": {"y": 1}}})).body["x"] == {"y": 1}


def test_the_mark_of_the_request_has_no_place() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    asked = Asked(user("a"), rules=profile(cache={"cache_control": "pass"}), cache_control=mark)
    assert b"cache_control" not in asked.raw
    assert [(loss.field, loss.action) for loss in asked.losses] == [("cache_control", "dropped")]


def test_an_image_that_is_too_large_is_refused_where_the_client_wants_that() -> None:
    data = "iVBORw0KGgoAAAANSUhEUgAAI/AAAAABCAYAAAAfFcSJ"
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data},
        "transformations": {"oversized_image": "error"},
    }
    with pytest.raises(Rejection, match="must not exceed"):
        Asked(user(image))


@pytest.mark.parametrize("depth", [50, 800])
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
