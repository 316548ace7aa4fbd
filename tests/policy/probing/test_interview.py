"""A whole probe of imitated upstreams: what follows for the profile, and that nothing follows from nonsense."""

import msgspec
import pytest

from latimer.errors import Rejection
from latimer.policy.model_lists import Told
from latimer.policy.models import ModelFacts
from latimer.policy.probing.interview import MOST_QUESTIONS, budget
from latimer.policy.probing.questions import INPUT_EACH, ROOM_TO_THINK
from latimer.policy.tables import merge
from latimer.profile import Profile
from tests.policy.probing.imitation import Imitation, answers, refusal, strict, without


def test_an_upstream_that_takes_everything_needs_no_rules() -> None:
    found = Imitation(cached=3, unasked_usage=True).probe()
    said = answers(found)
    assert said["tools"] == said["tool_choice named"] == said["images"] == said["json_schema"] == said["stop"] == "yes"
    assert said["Responses"] == said["Messages"] == "no"
    # It saw an image in a tool's result, which most do not, and its other dialects are not there.
    assert found.overlay == {"media": {"tool_images": "native"}, "endpoint": {"missing": ["messages", "responses"]}}
    assert found.dialect == "chat"


def test_a_model_that_talks_nonsense_is_not_judged() -> None:
    """It accepts everything and does nothing: nothing is denied it."""
    upstream = Imitation(clever=False, dialects=("chat", "responses", "messages"))
    found = upstream.probe()
    said = answers(found)
    for capability in ("tools", "tool_choice required", "images", "parallel tool calls", "stop", "prompt caching"):
        assert said[capability] == "unclear", capability
    assert found.overlay == {"endpoint": {"count_tokens": True, "dialect": "messages"}}


def test_refusals_in_no_known_words_teach_by_what_was_added() -> None:
    upstream = Imitation(
        [
            without("max_tokens"),
            without("parallel_tool_calls"),
            without("stream_options"),
            without("response_format"),
            without("stop"),
            lambda body: refusal("No.") if body.get("tool_choice", "auto") != "auto" else None,
            lambda body: refusal("No.") if [m["role"] for m in body["messages"]].count("system") > 1 else None,
            lambda body: refusal("No.", 422) if "image_url" in str(body["messages"]) else None,
            lambda body: refusal("No.") if "a1B2a1B2" in str(body["messages"]) else None,
        ],
        unasked_usage=True,
    )
    found = upstream.probe()
    assert found.overlay == {
        "endpoint": {"missing": ["messages", "responses"]},
        "request": {
            "max_tokens_field": "max_completion_tokens",
            "usage": "unasked",
            "json_schema": "prompt",
            "drop": ["stop"],
        },
        "tools": {"choices": ["auto"], "parallel": False, "id_pattern": "[A-Za-z0-9]{9}"},
        "messages": {"mid_system": "tagged"},
        "media": {"images": False},
    }
    assert len(found.reasons) == 10
    msgspec.convert(merge(msgspec.to_builtins(Profile()), found.overlay), Profile)


def test_no_limit_of_tokens_at_all() -> None:
    found = Imitation([without("max_tokens"), without("max_completion_tokens")]).probe()
    assert found.overlay["request"] == {"drop": ["max_completion_tokens", "max_tokens"]}


def test_evidence_names_its_requests_and_no_answer() -> None:
    upstream = Imitation([without("stop", "Stop is not for you. Your key is sk-abcdefghijklmnopqrstuvwxyz123456.")])
    found = upstream.probe()
    (stop,) = [result for result in found.results if result.capability == "stop"]
    assert stop.answer == "no"
    assert [upstream.asked[number - 1].about for number in stop.requests] == ["stop"]
    assert stop.evidence.startswith("status 400: Stop is not for you.")
    assert "sk-abc" not in str(found)
    assert "OK" not in "".join(result.evidence for result in found.results)


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "Incorrect API key provided"), (402, "Insufficient balance"), (404, "The model `m` does not exist")],
)
def test_what_ends_a_probe_at_its_first_question(status: int, message: str) -> None:
    upstream = Imitation([lambda _: refusal(message, status)])
    with pytest.raises(Rejection):
        upstream.probe()
    assert len(upstream.asked) == 1


def test_an_address_without_any_of_the_dialects() -> None:
    upstream = Imitation(dialects=())
    with pytest.raises(Rejection):
        upstream.probe()
    assert len(upstream.asked) == 3


def test_a_refusal_of_tools_saves_the_questions_about_them() -> None:
    upstream = Imitation([without("tools")])
    said = answers(upstream.probe())
    assert said["tools"] == "no"
    assert "tool_choice none" not in said
    assert not [question for question in upstream.asked if "tool_choice" in question.body]


def test_trouble_is_no_answer() -> None:
    """Rate limits and outages deny nothing."""
    upstream = Imitation([lambda body: refusal("Slow down", 429) if "tools" in body or "stop" in body else None])
    found = upstream.probe()
    assert answers(found)["tools"] == answers(found)["stop"] == "unclear"
    assert "tools" not in found.overlay
    assert "request" not in found.overlay


@pytest.mark.parametrize("most", [1, 5, 12])
def test_the_budget_ends_it_with_what_is_known(most: int) -> None:
    upstream = Imitation()
    found = upstream.probe(budget=most)
    assert len(upstream.asked) == most
    assert answers(found)["prompt caching"] == "not asked"
    assert found.dialect == "chat"


def test_what_is_known_beforehand_is_not_asked() -> None:
    upstream = Imitation()
    found = upstream.probe(told=Told(ModelFacts(context_window=8192, images=False)))
    assert answers(found)["context window"] == "yes"
    assert found.overlay["request"] == {"context_window": 8192}
    assert found.overlay["media"] == {"images": False}
    assert not [question for question in upstream.asked if question.about.startswith("images")]


@pytest.mark.parametrize(
    "upstream",
    [
        Imitation(),
        Imitation(clever=False, dialects=("chat", "responses", "messages")),
        Imitation([strict()], reasoning="reasoning_content"),
        Imitation([without("max_tokens"), without("stop"), without("reasoning_effort"), without("response_format")]),
    ],
)
def test_no_more_is_spent_than_was_said(upstream: Imitation) -> None:
    upstream.probe()
    most = budget(MOST_QUESTIONS)
    assert len(upstream.asked) <= most.requests
    sizes = [len(str(question.body)) / 3 for question in upstream.asked]  # three characters are less than a token
    assert sum(sizes) <= most.input_tokens
    limits = [question.body.get("max_tokens", 0) for question in upstream.asked if not question.glance]
    assert max(limits) <= ROOM_TO_THINK
    usual = [size for size, question in zip(sizes, upstream.asked, strict=True) if "caching" not in question.about]
    assert max(usual) <= INPUT_EACH
