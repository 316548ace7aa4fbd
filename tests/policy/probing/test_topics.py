"""Topics whose reading takes more than whether a request was taken."""

import itertools
import json
from typing import Any

import pytest

from latimer.policy.probing.questions import HUGE
from latimer.profile import MediaRules, Profile, ToolRules
from tests.policy.probing.imitation import Imitation, Json, Rule, answers, refusal, strict


def refuses_large(message: str, **fields: Any) -> Rule:
    return lambda body: refusal(message, **fields) if body.get("max_tokens") == HUGE else None


def test_a_limit_that_a_refusal_names() -> None:
    found = Imitation([refuses_large("max_tokens is too large: 100000000. This model supports at most 16384.")]).probe()
    assert found.overlay["request"] == {"max_output": 16384}


def test_a_window_that_a_refusal_names() -> None:
    words = (
        "This model's maximum context length is 32768 tokens. However, you requested 100000008 tokens "
        "(8 in the messages, 100000000 in the completion)."
    )
    assert Imitation([refuses_large(words)]).probe().overlay["request"]["context_window"] == 32768


def test_a_huge_number_that_is_taken_says_nothing() -> None:
    upstream = Imitation()
    assert answers(upstream.probe())["output limit"] == "unclear"
    (question,) = [question for question in upstream.asked if question.body.get("max_tokens") == HUGE]
    assert question.glance, "its answer could be long, so it is let go"
    assert question.body["stream"]


def test_a_preset_is_not_overruled_by_mere_taking() -> None:
    careful = Profile(tools=ToolRules(choices=frozenset({"auto"}), parallel=False), media=MediaRules(images=False))
    found = Imitation(clever=False).probe(careful)
    assert {"tools", "media"}.isdisjoint(found.overlay)


def test_a_preset_is_overruled_by_what_was_seen() -> None:
    careful = Profile(tools=ToolRules(choices=frozenset({"auto"})), media=MediaRules(images=False))
    found = Imitation().probe(careful)
    assert found.overlay["tools"]["choices"] == ["auto", "named", "required"]
    assert found.overlay["media"]["images"] is True


def test_mistrals_word_for_required() -> None:
    def rule(body: Json) -> Any:
        return refusal("Input should be 'auto', 'any' or 'none'") if body.get("tool_choice") == "required" else None

    found = Imitation([rule]).probe()
    assert found.overlay["tools"] == {"required_word": "any"}


def test_instructions_from_the_developer_only() -> None:
    def rule(body: Json) -> Any:
        return refusal("No.") if any(message["role"] == "system" for message in body["messages"]) else None

    assert Imitation([rule]).probe().overlay["messages"] == {"mid_system": "tagged", "system_role": "developer"}


def test_roles_in_turn() -> None:
    def rule(body: Json) -> Any:
        seen = [message["role"] for message in body["messages"]]
        odd = any(one == other for one, other in itertools.pairwise(seen)) or seen.count("system") > 1
        return refusal("roles must alternate") if odd else None

    assert Imitation([rule]).probe().overlay["messages"] == {"mid_system": "tagged", "merge_users": True}


def turns(body: Json) -> list[Json]:
    return [message for message in body["messages"] if message["role"] == "assistant" and "tool_calls" in message]


def test_reasoning_that_must_come_back() -> None:
    def rule(body: Json) -> Any:
        return refusal("Missing reasoning.") if [turn for turn in turns(body) if "reasoning" not in turn] else None

    found = Imitation([rule], reasoning="reasoning").probe()
    said = answers(found)
    assert said["reasoning sent back as reasoning"] == "yes"
    assert said["history without its reasoning"] == "no"
    assert "replay" not in found.overlay.get("reasoning", {})
    assert "id_pattern" not in found.overlay.get("tools", {}), "the ids were not what it refused"


def test_empty_reasoning_for_what_is_lost() -> None:
    def rule(body: Json) -> Any:
        lost = [turn for turn in turns(body) if "reasoning_content" not in turn]
        return refusal("The `reasoning_content` must be passed back.") if lost else None

    found = Imitation([rule], reasoning="reasoning_content").probe()
    assert found.overlay["reasoning"]["replay_missing"] == "empty"


def test_reasoning_that_must_not_come_back() -> None:
    def rule(body: Json) -> Any:
        return refusal("Extra inputs", 422) if [turn for turn in turns(body) if "reasoning_content" in turn] else None

    found = Imitation([rule], reasoning="reasoning_content").probe()
    assert found.overlay["reasoning"]["replay"] == "never"


@pytest.mark.parametrize(("rules", "answer"), [([strict()], "no"), ([], "yes")])
def test_unknown_fields(rules: list[Rule], answer: str) -> None:
    assert answers(Imitation(rules).probe())["unknown fields"] == answer


def test_a_cache_is_seen_in_any_answer() -> None:
    upstream = Imitation(cached=12)
    assert answers(upstream.probe())["prompt caching"] == "yes"
    assert "Item 219" not in json.dumps([question.body for question in upstream.asked])
