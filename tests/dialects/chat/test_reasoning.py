"""Reasoning: how much is asked for, and the way of a provider's own through a signature and back."""

from typing import Any

import pytest

from latimer.dialects.effort import ROOM_TO_THINK
from latimer.dialects.sealing import Sealed, route_mark, seal
from tests.dialects.chat.asking import ROUTE, Asked, Json, assistant, call, profile, result, user

OFF = {"type": "disabled"}
ADAPTIVE = {"type": "adaptive"}


def budget(tokens: int) -> Json:
    return {"type": "enabled", "budget_tokens": tokens}


def effort(word: str) -> Json:
    return {"output_config": {"effort": word}}


def thought(sealed: Sealed, shown: str = "") -> Json:
    return {"type": "thinking", "thinking": shown, "signature": seal(sealed)}


SWITCH = {"control": "thinking_type", "efforts": {"none": "", "low": "low", "medium": "", "high": "high"}}
BUDGET = {"budget_field": "thinking_budget"}
FIELDS_OF_CONTROL = {
    "reasoning_effort",
    "reasoning",
    "thinking",
    "enable_thinking",
    "thinking_budget",
    "chat_template_kwargs",
}


@pytest.mark.parametrize(
    ("rules", "asked", "sent", "lost"),
    [
        ({}, {}, {}, set()),
        ({}, {"thinking": ADAPTIVE}, {}, set()),
        ({}, effort("high"), {"reasoning_effort": "high"}, set()),
        ({}, effort("max"), {"reasoning_effort": "high"}, {"output_config.effort"}),
        ({}, {"thinking": OFF}, {"reasoning_effort": "low"}, {"thinking.type", "max_tokens"}),
        ({"efforts": {"none": "none"}}, {"thinking": OFF}, {"reasoning_effort": "none"}, set()),
        ({"efforts": {"high": ""}}, effort("high"), {}, {"output_config.effort"}),
        ({}, {"thinking": budget(5000)}, {"reasoning_effort": "medium"}, {"thinking.budget_tokens"}),
        ({}, {"thinking": budget(5000), **effort("low")}, {"reasoning_effort": "low"}, {"thinking.budget_tokens"}),
        (BUDGET, {"thinking": budget(5000)}, {"reasoning_effort": "medium", "thinking_budget": 5000}, set()),
        ({"control": "none"}, {"thinking": ADAPTIVE}, {}, {"thinking.type"}),
        ({"control": "none"}, effort("high"), {}, {"output_config.effort"}),
        ({"control": "none"}, {}, {}, set()),
        ({"control": "effort_object"}, effort("low"), {"reasoning": {"effort": "low"}}, set()),
        (SWITCH, {}, {}, set()),
        (SWITCH, {"thinking": OFF}, {"thinking": {"type": "disabled"}}, set()),
        (SWITCH, {"thinking": ADAPTIVE}, {"thinking": {"type": "enabled"}}, set()),
        (SWITCH, effort("high"), {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}, set()),
        (SWITCH, effort("medium"), {"thinking": {"type": "enabled"}}, {"output_config.effort"}),
        ({"control": "enable_thinking"}, effort("high"), {"enable_thinking": True}, {"output_config.effort"}),
        ({"control": "enable_thinking"}, {"thinking": OFF}, {"enable_thinking": False}, set()),
        (
            {"control": "enable_thinking_and_effort"},
            effort("high"),
            {"enable_thinking": True, "reasoning_effort": "high"},
            set(),
        ),
        ({"control": "enable_thinking_and_effort"}, {"thinking": OFF}, {"enable_thinking": False}, set()),
        (
            {"control": "chat_template_kwargs", "template_switch": "thinking"},
            effort("high"),
            {"chat_template_kwargs": {"thinking": True}, "reasoning_effort": "high"},
            set(),
        ),
        (
            {"control": "chat_template_kwargs"},
            {"thinking": OFF},
            {"chat_template_kwargs": {"enable_thinking": False}},
            set(),
        ),
        ({"control": "reasoning_enabled"}, {"thinking": ADAPTIVE}, {"reasoning": {"enabled": True}}, set()),
        ({"control": "reasoning_enabled"}, {"thinking": OFF}, {"reasoning": {"enabled": False}}, set()),
        ({"control": "reasoning_enabled"}, {}, {}, set()),
        (
            SWITCH | {"thinking_fields": {"clear_thinking": False}},
            {"thinking": ADAPTIVE},
            {"thinking": {"type": "enabled", "clear_thinking": False}},
            set(),
        ),
        (SWITCH | {"thinking_fields": {"keep": "all"}}, {"thinking": OFF}, {"thinking": {"type": "disabled"}}, set()),
        ({"control": "none", "extra_body": {"reasoning": {"split": True}}}, {}, {"reasoning": {"split": True}}, set()),
        (
            {"control": "enable_thinking", **BUDGET},
            {"thinking": budget(5000)},
            {"enable_thinking": True, "thinking_budget": 5000},
            set(),
        ),
        ({}, {"thinking": {"type": "adaptive", "display": "omitted"}}, {}, set()),
        ({}, {"thinking": {"type": "adaptive", "display": "summarized"}}, {}, {"thinking.display"}),
        ({}, {"thinking": {"type": "between_tools"}}, {"reasoning_effort": "low"}, {"thinking.type"}),
    ],
)
def test_effort_in_the_providers_words(rules: Json, asked: Json, sent: Json, lost: set[str]) -> None:
    encoded = Asked(rules=profile(reasoning=rules), **asked)
    assert {key: value for key, value in encoded.body.items() if key in FIELDS_OF_CONTROL} == sent
    assert encoded.lost == lost


DISABLED = {"thinking": OFF}


@pytest.mark.parametrize(
    ("rules", "asked", "room"),
    [
        ({}, {**DISABLED, "max_tokens": 64}, ROOM_TO_THINK),
        ({}, {**DISABLED, "max_tokens": 4096}, 0),
        ({}, {**DISABLED, "max_tokens": 0}, 0),
        ({}, {"max_tokens": 64}, 0),
        ({}, {"thinking": ADAPTIVE, "max_tokens": 64}, 0),
        ({"efforts": {"none": "none"}}, {**DISABLED, "max_tokens": 64}, 0),
        ({"control": "effort_object", "efforts": {"none": "minimal"}}, {**DISABLED, "max_tokens": 64}, ROOM_TO_THINK),
        ({"control": "effort_object", "efforts": {"none": "none"}}, {**DISABLED, "max_tokens": 64}, 0),
        ({"control": "none"}, {**DISABLED, "max_tokens": 64}, ROOM_TO_THINK),
        (SWITCH, {**DISABLED, "max_tokens": 64}, 0),
        ({"control": "enable_thinking"}, {**DISABLED, "max_tokens": 64}, 0),
    ],
)
def test_a_model_that_cannot_be_kept_from_thinking_gets_room_for_it(rules: Json, asked: Json, room: int) -> None:
    encoded = Asked(rules=profile(reasoning=rules), **asked)
    assert encoded.body.get("max_tokens") == (asked["max_tokens"] + room)
    assert ("max_tokens" in encoded.lost) == (room > 0 or asked["max_tokens"] == 0)


def test_a_switch_that_is_never_sent_switches_nothing_off() -> None:
    rules = profile(reasoning=SWITCH, request={"drop": ["thinking"]})
    assert Asked(rules=rules, max_tokens=64, **DISABLED).body["max_tokens"] == 64 + ROOM_TO_THINK


def test_the_room_ends_where_the_model_does() -> None:
    encoded = Asked(rules=profile(request={"max_output": 1000}), max_tokens=64, **DISABLED)
    assert encoded.body["max_tokens"] == 1000


def mark(field: Any = "reasoning_content", **more: Any) -> Sealed:
    return Sealed(route_mark(ROUTE), field, **more)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([thought(mark(), "a"), thought(mark(), "b")], {"reasoning_content": "ab"}),
        ([thought(mark("reasoning"), "a")], {"reasoning": "a"}),
        ([thought(mark("reasoning_text", text="hidden"))], {"reasoning_text": "hidden"}),
        ([thought(mark("reasoning", details=[{"type": "t"}]), "a")], {"reasoning_details": [{"type": "t"}]}),
        ([{"type": "redacted_thinking", "data": seal(mark(text="hidden"))}], {"reasoning_content": "hidden"}),
        ([thought(mark("think"), "a")], {"content": "<think>a</think>\n\nsaid"}),
        ([thought(Sealed(route_mark("other/model")), "a")], {}),
    ],
)
def test_reasoning_goes_back_in_the_field_it_came_in(blocks: list[Json], message: Json) -> None:
    asked = Asked("go", assistant(*blocks, {"type": "text", "text": "said"}), "on")
    assert asked.messages[1] == {"role": "assistant", "content": "said", **message}


def test_a_providers_word_for_a_call_goes_back_with_it_even_where_reasoning_does_not() -> None:
    extra = {"google": {"thought_signature": "CiQB"}}
    said = assistant(thought(mark(calls={"toolu_A": extra})), call("toolu_A"), call("toolu_B"))
    answered = user(result("toolu_A"), result("toolu_B"))
    for replay in ("all", "never"):
        made = Asked("go", said, answered, rules=profile(reasoning={"replay": replay})).messages[1]["tool_calls"]
        assert [entry.get("extra_content") for entry in made] == [extra, None]


def test_reasoning_alone_is_no_message_and_the_loss_is_told() -> None:
    asked = Asked("go", assistant(thought(mark(), "a")), "on", rules=profile(reasoning={"replay_missing": "empty"}))
    assert [message["role"] for message in asked.messages] == ["user", "user"]
    assert asked.lost == {"messages.1"}
