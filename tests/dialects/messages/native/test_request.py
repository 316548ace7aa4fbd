"""The request for an upstream that speaks Messages: the client's bytes but for what the profile says."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from latimer.dialects.messages.native.request import encode_request
from latimer.dialects.messages.request import NEW_VERSION, decode_request
from latimer.errors import Rejection
from latimer.profile import CacheRules, NativeRules, Profile, RequestRules, ToolRules
from tests.requests import encoded, requests

from .asking import ANTHROPIC, ANY, BASH, CASES, HELLO, MARK, body_of, everything_but, lost, native, sent

MAIN_LOOP = json.loads((CASES / "claude-code-main-loop" / "request.json").read_text())
BETAS = frozenset({"claude-code-20250219", "context-management-2025-06-27", "effort-2025-11-24"})


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("case", sorted(CASES.glob("*/request.json")), ids=lambda path: path.parent.name)
def test_with_everything_taken_only_the_model_differs(case: Path, indent: int | None) -> None:
    body = json.loads(case.read_text())
    raw = json.dumps(body, indent=indent).encode()
    try:
        request = decode_request(raw)
    except Rejection:
        return
    outgoing = encode_request(request, model="model-1", route="a/b", profile=ANTHROPIC, raw=raw)
    assert json.loads(outgoing.body)["model"] == "model-1"
    if b"\\ud" in raw or b"ltm1." in raw:
        return  # what is mended and taken out has its own tests
    assert outgoing.body == raw.replace(json.dumps(body["model"]).encode(), b'"model-1"', 1)
    assert outgoing.losses == []
    assert outgoing.sent == frozenset(body)


def test_claude_codes_request_at_an_endpoint_of_2023() -> None:
    outgoing = sent(MAIN_LOOP, Profile(), betas=BETAS)
    body = json.loads(outgoing.body)
    assert set(body) == {"model", "max_tokens", "messages", "system", "tools", "metadata", "thinking", "stream"}
    assert [tool["name"] for tool in body["tools"]] == ["Bash", "Read"]
    assert {message["role"] for message in body["messages"]} == {"user"}
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert "cache_control" not in outgoing.body.decode()
    assert "x-anthropic-billing-header" not in outgoing.body.decode()
    assert outgoing.headers == {"anthropic-version": "2023-06-01"}
    assert {"context_management", "output_config.effort", "thinking.display", "anthropic-beta"} <= lost(outgoing)


def test_a_rebuilt_request_goes_the_same_way() -> None:
    assert body_of(MAIN_LOOP, Profile(), rebuilt=True) == body_of(MAIN_LOOP, Profile())


@given(requests())
def test_any_request_is_sent_or_refused(asked: Any) -> None:
    """Both ways, and what is sent is JSON that Latimer's own parser takes again."""
    raw = encoded(asked)
    try:
        request = decode_request(raw)
    except Rejection:
        return
    for profile in (ANTHROPIC, Profile(), everything_but(thinking_in_calls=True, mid_system="tagged")):
        for source in (raw, None):
            try:
                outgoing = encode_request(request, model="m", route="a/b", profile=profile, raw=source)
            except Rejection:
                continue
            body = json.loads(outgoing.body)
            assert body["model"] == "m"
            assert outgoing.sent == frozenset(body)
            if body["messages"]:
                decode_request(outgoing.body)


@given(requests())
def test_no_field_of_the_top_level_is_lost_silently(asked: Any) -> None:
    raw = encoded(asked)
    try:
        request = decode_request(raw)
        outgoing = encode_request(request, model="m", route="a/b", profile=Profile(), raw=raw)
    except Rejection:
        return
    reported = {loss.field.split(".")[0] for loss in outgoing.losses}
    empty = (None, [], {}, "")
    gone = {name for name, value in asked.items() if name not in json.loads(outgoing.body) and value not in empty}
    assert gone - {"system", "output_format"} <= reported | {"metadata", "tools", "output_config", "tool_choice"}


def test_fields_that_are_not_taken_are_left_out_and_told() -> None:
    asked = HELLO | {"top_k": 3, "service_tier": "auto", "speed": None, "new_field": {"a": 1}, "safeguards": [{"a": 1}]}
    outgoing = sent(asked, Profile())
    assert set(json.loads(outgoing.body)) == {"model", "max_tokens", "messages", "top_k"}
    assert lost(outgoing) == {"service_tier", "new_field", "safeguards"}
    assert body_of(asked) == asked | {"model": "model-1"}


def test_the_profile_drops_and_adds_fields() -> None:
    rules = RequestRules(drop=frozenset({"thinking"}), drop_when_thinking=frozenset({"top_p"}), extra_body={"mode": 1})
    profile = Profile(request=rules)
    outgoing = sent(HELLO | {"top_p": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}}, profile)
    assert json.loads(outgoing.body) == HELLO | {"model": "model-1", "mode": 1}
    assert lost(outgoing) == {"thinking", "top_p"}


@pytest.mark.parametrize(
    "field",
    [
        {"thread": {"type": "create"}},
        {"compaction": {"type": "summarize"}},
        {"fallbacks": [{"model": "x"}]},
        {"mcp_servers": [{"name": "x"}]},
        {"container": "c"},
        {"inference_geo": "eu"},
        {"billing_policy": {"bill_to": "user_profile"}},
        {"fallback_credit_token": "t"},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
    ],
)
def test_what_may_not_be_ignored_is_refused_unless_it_is_taken(field: dict[str, Any]) -> None:
    with pytest.raises(Rejection):
        sent(HELLO | field, Profile())
    assert body_of(HELLO | field) == HELLO | field | {"model": "model-1"}


def test_max_tokens_are_clamped() -> None:
    profile = Profile(request=RequestRules(max_output=500))
    outgoing = sent(HELLO, profile)
    assert json.loads(outgoing.body)["max_tokens"] == 500
    assert lost(outgoing) == {"max_tokens"}
    window = Profile(request=RequestRules(context_window=1600))
    assert body_of(HELLO, window, input_estimate=800)["max_tokens"] == 700


def test_the_users_id_is_hashed_passed_or_dropped() -> None:
    asked = HELLO | {"metadata": {"user_id": "u"}}
    assert body_of(asked, Profile())["metadata"] == {"user_id": hashlib.sha256(b"u").hexdigest()}
    assert body_of(asked, native(user_id="pass"))["metadata"] == {"user_id": "u"}
    assert "metadata" not in body_of(asked, native(user_id="drop"))
    assert lost(sent(asked, native(user_id="drop"))) == {"metadata.user_id"}


def test_a_temperature_of_zero_where_none_is_taken() -> None:
    profile = Profile(request=RequestRules(least_temperature=0.01))
    assert body_of(HELLO | {"temperature": 0}, profile)["temperature"] == 0.01
    assert body_of(HELLO | {"temperature": 1}, profile)["temperature"] == 1
    refused = sent(HELLO | {"temperature": 1}, native(fields=frozenset()))
    assert "temperature" not in json.loads(refused.body)
    assert lost(refused) == {"temperature"}


def test_betas_by_globs() -> None:
    some = native(betas=frozenset({"effort-*", "claude-*"}), refused_betas=frozenset({"claude-code-*"}))
    outgoing = sent(HELLO, some, betas=BETAS)
    assert outgoing.headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "effort-2025-11-24"}
    (loss,) = outgoing.losses
    assert "claude-code-20250219, context-management-2025-06-27" in loss.why


def test_the_version_that_the_upstream_understands() -> None:
    assert sent(HELLO, version=NEW_VERSION).headers["anthropic-version"] == NEW_VERSION
    older = sent(HELLO, Profile(), version=NEW_VERSION)
    assert older.headers["anthropic-version"] == "2023-06-01"
    assert lost(older) == {"anthropic-version"}


def test_a_schema_goes_as_the_upstream_takes_it() -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    asked = HELLO | {"output_config": {"format": wanted, "effort": "low"}, "system": "Be brief."}
    told = sent(asked, Profile())
    assert json.loads(told.body)["system"].startswith("Be brief.\n\nAnswer with JSON only")
    assert '{"type": "object"}' in json.loads(told.body)["system"]
    assert {"output_config.format", "output_config.effort"} == lost(told)
    formats = native(output_config=frozenset({"format"}))
    assert body_of(asked, formats)["output_config"] == {"format": wanted}
    legacy = HELLO | {"output_format": wanted}
    assert body_of(legacy, formats) == HELLO | {"model": "model-1", "output_config": {"format": wanted}}
    assert body_of(legacy) == legacy | {"model": "model-1"}
    assert "Answer with JSON only" in body_of(legacy, Profile())["system"]


def test_the_requests_own_cache_mark() -> None:
    asked = HELLO | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert body_of(asked) == asked | {"model": "model-1"}
    assert lost(sent(asked, Profile())) == {"cache_control"}
    rules = NativeRules(fields=ANY)
    marks = Profile(cache=CacheRules(cache_control="pass"), native=rules)
    assert body_of(asked, marks)["cache_control"] == {"type": "ephemeral"}


def test_a_session_has_its_headers() -> None:
    profile = Profile(cache=CacheRules(session_headers=("x-session-affinity",)))
    asked = HELLO | {"metadata": {"user_id": json.dumps({"session_id": "s"})}}
    assert len(sent(asked, profile).headers["x-session-affinity"]) == 32


def test_tools_hidden_and_the_choice_with_them() -> None:
    asked = HELLO | {"tools": [BASH | MARK], "tool_choice": {"type": "none"}}
    profile = Profile(tools=ToolRules(choices=frozenset({"auto"})))
    assert body_of(asked, profile) == HELLO | {"model": "model-1"}
    assert lost(sent(asked, profile)) == {"tools"}


def test_half_an_emoji_is_mended() -> None:
    raw = b'{"model":"claude","max_tokens":5,"messages":[{"role":"user","content":"\\ud83d!"}]}'
    outgoing = encode_request(decode_request(raw), model="m", route="a/b", profile=ANTHROPIC, raw=raw)
    assert json.loads(outgoing.body)["messages"][0]["content"] == "\ufffd!"


def test_nesting_without_end_is_refused() -> None:
    deep = b'{"model":"c","max_tokens":5,"messages":[{"role":"user","content":"x"}],"metadata":%s%s}'
    raw = deep % (b'{"a":' * 100_000, b"1" + b"}" * 100_000)
    with pytest.raises(Rejection):
        encode_request(decode_request(raw), model="m", route="a/b", profile=Profile(), raw=raw)
