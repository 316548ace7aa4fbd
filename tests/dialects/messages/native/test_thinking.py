"""Thinking and effort, in what an upstream takes of them."""

from typing import Any

import pytest

from latimer.profile import NativeRules, Profile, ReasoningRules, RequestRules

from .asking import ANTHROPIC, HELLO, body_of, everything_but, lost, native, sent

ADAPTIVE = {"type": "adaptive", "display": "omitted"}
DISABLED = {"type": "disabled"}
EFFORT = frozenset({"effort"})
DEEPSEEK = Profile(
    reasoning=ReasoningRules(efforts={"low": "low", "medium": "high", "high": "high", "xhigh": "high", "max": "max"}),
    native=NativeRules(output_config=EFFORT),
)
ALWAYS = Profile(native=NativeRules(thinking=frozenset({"adaptive"}), output_config=EFFORT))


def settings(profile: Profile, thinking: Any = None, effort: str | None = None, **more: Any) -> tuple[Any, Any]:
    asked = HELLO | {"max_tokens": 100_000} | more
    asked |= {"thinking": thinking} if thinking else {}
    asked |= {"output_config": {"effort": effort}} if effort else {}
    body = body_of(asked, profile)
    return body.get("thinking"), body.get("output_config")


@pytest.mark.parametrize("kind", ["adaptive", "disabled", "between_tools", "of_2031"])
def test_what_is_taken_goes_as_it_is(kind: str) -> None:
    thinking = {"type": kind, "display": "updates", "block_binding": {"prefix_mismatch_behavior": "error"}}
    assert settings(ANTHROPIC, thinking, "xhigh") == (thinking, {"effort": "xhigh"})


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 32000), ("max", 63999), (None, 16384)],
)
def test_adaptive_thinking_as_a_budget(effort: str | None, budget: int) -> None:
    assert settings(Profile(), ADAPTIVE, effort) == ({"type": "enabled", "budget_tokens": budget}, None)


def test_a_budget_leaves_room_for_the_answer() -> None:
    assert settings(Profile(), ADAPTIVE, max_tokens=8000)[0] == {"type": "enabled", "budget_tokens": 6000}
    assert settings(Profile(), ADAPTIVE, max_tokens=500)[0] is None
    clamped = Profile(request=RequestRules(max_output=8000))
    enabled = {"type": "enabled", "budget_tokens": 31999}
    assert settings(clamped, enabled) == ({"type": "enabled", "budget_tokens": 6000}, None)
    assert settings(Profile(), enabled) == (enabled, None)


def test_display_that_is_not_taken_is_told() -> None:
    outgoing = sent(HELLO | {"max_tokens": 50_000, "thinking": ADAPTIVE}, Profile())
    assert {"thinking.display", "thinking.type"} == lost(outgoing)


def test_a_budget_becomes_an_effort_where_only_adaptive_thinking_is_taken() -> None:
    assert settings(ALWAYS, {"type": "enabled", "budget_tokens": 9000}) == ({"type": "adaptive"}, {"effort": "medium"})
    assert settings(ALWAYS, {"type": "enabled", "budget_tokens": 9000}, "low") == (
        {"type": "adaptive"},
        {"effort": "low"},
    )


def test_thinking_that_cannot_be_switched_off_is_the_least_there_is() -> None:
    assert settings(ALWAYS, DISABLED) == (None, {"effort": "low"})
    assert lost(sent(HELLO | {"max_tokens": 9000, "thinking": DISABLED}, ALWAYS)) == {"thinking.type"}


def test_a_short_answer_gets_room_where_thinking_cannot_be_switched_off() -> None:
    body = body_of(HELLO | {"max_tokens": 64, "thinking": DISABLED}, ALWAYS)
    assert body["max_tokens"] == 64 + 4096


def test_between_tools_is_disabled_to_the_classic_api() -> None:
    assert settings(Profile(), {"type": "between_tools"}) == (DISABLED, None)


def test_efforts_in_the_providers_words() -> None:
    enabled = {"type": "enabled", "budget_tokens": 2000}
    assert settings(DEEPSEEK, enabled, "medium") == (enabled, {"effort": "high"})
    assert settings(DEEPSEEK, enabled, "low") == (enabled, {"effort": "low"})
    assert settings(DEEPSEEK, enabled, "of_2031") == (enabled, None)
    assert settings(ANTHROPIC, enabled, "of_2031") == (enabled, {"effort": "of_2031"})


def test_no_effort_beside_thinking_that_is_switched_off() -> None:
    """DeepSeek: 400 "thinking options type cannot be disabled when reasoning_effort is set"."""
    assert settings(DEEPSEEK, DISABLED, "high") == (DISABLED, None)
    assert settings(ANTHROPIC, DISABLED, "high") == (DISABLED, {"effort": "high"})


def test_an_effort_without_thinking_goes_too() -> None:
    assert settings(DEEPSEEK, None, "max") == (None, {"effort": "max"})
    assert settings(Profile(), None, "max") == (None, None)


def test_the_effort_of_a_message_is_that_of_the_request() -> None:
    messages = [*HELLO["messages"], {"role": "system", "content": "x", "output_config": {"effort": "low"}}]
    assert settings(DEEPSEEK, None, "high", messages=messages)[1] == {"effort": "low"}
    assert settings(ANTHROPIC, None, "high", messages=messages)[1] == {"effort": "high"}


def test_other_members_of_the_configuration() -> None:
    asked = HELLO | {"output_config": {"effort": "low", "task_budget": {"type": "tokens", "total": 9}, "new": 1}}
    assert body_of(asked)["output_config"] == asked["output_config"]
    some = everything_but(output_config=EFFORT)
    assert body_of(asked, some)["output_config"] == {"effort": "low"}
    assert lost(sent(asked, some)) == {"output_config.task_budget", "output_config.new"}
    assert "output_config" not in body_of(asked, native())
