"""What steers reasoning, and how it is told from what is only not refused."""

from typing import Any

import pytest

from latimer.policy.probing.questions import ODD_WORD
from latimer.profile import Profile, ReasoningRules
from tests.policy.probing.imitation import Imitation, Json, answers, refusal, strict, without

LISTED = "Invalid value: 'latimer'. Supported values are: 'minimal', 'low', 'medium', 'high' and 'xhigh'."


def checked(message: str, **fields: Any) -> Any:
    def rule(body: Json) -> Any:
        return refusal(message, **fields) if body.get("reasoning_effort") == ODD_WORD else None

    return rule


def test_efforts_that_a_refusal_lists() -> None:
    upstream = Imitation([checked(LISTED, param="reasoning_effort")], reasoning="reasoning_content")
    found = upstream.probe()
    assert found.overlay["reasoning"]["efforts"] == {
        "none": "minimal",
        "low": "low",
        "medium": "medium",
        "high": "high",
        "xhigh": "xhigh",
        "max": "xhigh",
    }
    assert len([question for question in upstream.asked if question.about.startswith("control")]) == 1


def test_efforts_that_are_checked_in_silence() -> None:
    found = Imitation([checked("Bad request.")]).probe()
    assert answers(found)["control by reasoning_effort"] == "yes"
    assert "reasoning" not in found.overlay


@pytest.mark.parametrize(
    ("control", "off"),
    [
        ("thinking_type", {"thinking": {"type": "disabled"}}),
        ("enable_thinking", {"enable_thinking": False}),
        ("chat_template_kwargs", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("reasoning_enabled", {"reasoning": {"enabled": False}}),
    ],
)
def test_the_switch_with_which_reasoning_goes(control: str, off: Json) -> None:
    def thinks(body: Json) -> bool:
        return not off.items() <= body.items()

    assert Imitation(reasoning="reasoning_content", thinks=thinks).probe().overlay["reasoning"] == {"control": control}


def test_the_switch_with_which_reasoning_comes() -> None:
    def thinks(body: Json) -> bool:
        return body.get("thinking") == {"type": "enabled"}

    found = Imitation(reasoning="reasoning_content", thinks=thinks).probe()
    assert found.overlay["reasoning"] == {"control": "thinking_type"}


def test_what_is_taken_where_nothing_unknown_is() -> None:
    upstream = Imitation([strict("enable_thinking"), without("reasoning_effort")], reasoning="reasoning_content")
    assert upstream.probe().overlay["reasoning"] == {"control": "enable_thinking"}


def test_everything_is_refused() -> None:
    upstream = Imitation([strict(), without("reasoning_effort", "Unknown parameter: 'reasoning_effort'.")])
    assert upstream.probe().overlay["reasoning"] == {"control": "none"}


def test_everything_is_ignored() -> None:
    found = Imitation().probe(Profile(reasoning=ReasoningRules(control="thinking_type")))
    assert "reasoning" not in found.overlay
    assert answers(found)["control by thinking.type"] == "unclear"


def test_the_profiles_own_control_comes_first() -> None:
    upstream = Imitation(reasoning="reasoning_content")
    upstream.probe(Profile(reasoning=ReasoningRules(control="enable_thinking_and_effort")))
    first = next(question for question in upstream.asked if question.about.startswith("control"))
    assert "enable_thinking" in first.body
