"""How hard the model shall think, by whichever field says so. What is sent of it is tested in each dialect."""

from typing import Any

import pytest

from latimer.dialects.effort import requested_effort, thinks
from tests.dialects.chat.asking import Json, assistant, parsed, profile, system

OFF = {"type": "disabled"}
ADAPTIVE = {"type": "adaptive"}


def budget(tokens: int) -> Json:
    return {"type": "enabled", "budget_tokens": tokens}


def effort(word: str) -> Json:
    return {"output_config": {"effort": word}}


@pytest.mark.parametrize(
    ("fields", "wanted", "by"),
    [
        ({}, None, "thinking.type"),
        ({"thinking": ADAPTIVE}, None, "thinking.type"),
        ({"thinking": OFF}, "none", "thinking.type"),
        ({"thinking": OFF, **effort("high")}, "none", "thinking.type"),
        ({"thinking": {"type": "between_tools"}}, "none", "thinking.type"),
        (effort("xhigh"), "xhigh", "output_config.effort"),
        ({"thinking": ADAPTIVE, **effort("low")}, "low", "output_config.effort"),
        ({"thinking": budget(1024)}, "low", "thinking.budget_tokens"),
        ({"thinking": budget(4096)}, "medium", "thinking.budget_tokens"),
        ({"thinking": budget(16384)}, "high", "thinking.budget_tokens"),
        ({"thinking": budget(32768)}, "xhigh", "thinking.budget_tokens"),
        ({"thinking": budget(20000), **effort("low")}, "low", "output_config.effort"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 0}}, None, "thinking.type"),
    ],
)
def test_one_effort_from_many_fields(fields: Json, wanted: str | None, by: str) -> None:
    found = requested_effort(parsed(**fields))
    assert (found.effort, found.field) == (wanted, by)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (["a", system("s", output_config={"effort": "low"})], "low"),
        (["a", system("s", output_config={"effort": "low"}), system("t")], "low"),
        (["a", system("s", output_config={"effort": "low"}), assistant("x"), "b"], "high"),
    ],
)
def test_a_turn_may_set_its_own_effort(said: list[Any], wanted: str) -> None:
    assert requested_effort(parsed(*said, **effort("high"))).effort == wanted


SWITCHES = [
    "thinking_type",
    "enable_thinking",
    "enable_thinking_and_effort",
    "chat_template_kwargs",
    "reasoning_enabled",
]


@pytest.mark.parametrize(
    ("fields", "switched", "always"),
    [
        ({}, True, True),
        ({"thinking": ADAPTIVE, "max_tokens": 4096}, True, True),
        ({"thinking": ADAPTIVE, "max_tokens": 100}, False, True),
        ({"thinking": OFF}, False, True),
    ],
)
def test_whether_the_model_may_think(fields: Json, switched: bool, always: bool) -> None:
    for control in SWITCHES:
        assert thinks(parsed(**fields), profile(reasoning={"control": control})) is switched
    assert thinks(parsed(**fields), profile(reasoning={"control": "none"})) is always
    assert thinks(parsed(**fields), profile()) is always
    assert thinks(parsed(**fields), profile(reasoning={"efforts": {"none": "none"}})) is switched


@pytest.mark.parametrize(
    ("control", "field"),
    [("chat_template_kwargs", "chat_template_kwargs"), ("reasoning_enabled", "reasoning")],
)
def test_a_switch_that_is_not_sent_switches_nothing_off(control: str, field: str) -> None:
    rules = profile(reasoning={"control": control}, request={"drop": [field]})
    assert thinks(parsed(thinking=OFF), rules)
