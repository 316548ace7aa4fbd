"""What an answer holds beside its words: each is reported once, and what can be said in words is."""

from typing import Any

import pytest

from latimer.dialects.asides import IMAGE
from latimer.dialects.chat.extras import Extras
from latimer.wire import chat as wire


def fields(extras: Extras) -> list[tuple[str, str]]:
    return [(loss.field, loss.action) for loss in extras.losses]


def test_an_ordinary_answer_loses_nothing() -> None:
    extras = Extras()
    extras.of_answer("default", None)
    extras.of_choice(wire.Choice(logprobs={}, content_filter_results={"hate": {"filtered": False}}))
    extras.of_usage(wire.CompletionUsage(1, 2, 3, wire.PromptTokensDetails(1), wire.CompletionTokensDetails(1, 0, 0)))
    assert extras.words(wire.ChoiceDelta(content="hi"), spoken=True) == ""
    assert (extras.losses, extras.tier, extras.filtered) == ((), None, "")


def test_each_loss_is_told_once() -> None:
    extras = Extras()
    for _ in range(3):
        extras.of_choice(wire.Choice(logprobs={"content": []}))
        extras.other_choice(wire.Choice(index=1))
    assert fields(extras) == [("choices.0.logprobs", "dropped"), ("choices.1", "dropped")]


@pytest.mark.parametrize(
    ("audio", "spoken", "said", "action"),
    [
        ({"transcript": "Words."}, False, "Words.", "approximated"),
        ({"transcript": "Words."}, True, "", "approximated"),
        ({"data": "AAAA"}, False, "", "dropped"),
        ("odd", False, "", "dropped"),
        ({"transcript": 7}, False, "", "approximated"),
    ],
)
def test_audio(audio: Any, spoken: bool, said: str, action: str) -> None:
    extras = Extras()
    assert extras.words(wire.ChoiceDelta(audio=audio), spoken=spoken) == said
    assert fields(extras) == [("choices.0.message.audio", action)]


@pytest.mark.parametrize(("images", "count"), [([{}], 1), ([{}, {}], 2), ("odd", 1)])
def test_images(images: Any, count: int) -> None:
    extras = Extras()
    assert extras.words(wire.ChoiceDelta(images=images), spoken=True) == IMAGE * count
    assert fields(extras) == [("choices.0.message.images", "approximated")]


@pytest.mark.parametrize(("word", "tier"), [("priority", "priority"), ("fast", "priority"), ("flex", None), (7, None)])
def test_tiers(word: Any, tier: str | None) -> None:
    extras = Extras()
    extras.of_answer(word, None)
    assert extras.tier == tier


@pytest.mark.parametrize("results", [7, [], {"hate": 7}, {"hate": {"filtered": True}}])
def test_what_a_filter_has_found(results: Any) -> None:
    extras = Extras()
    extras.of_choice(wire.Choice(content_filter_results=results))
    assert ("hate" in extras.filtered) == (results == {"hate": {"filtered": True}})


def test_counts_without_a_counter() -> None:
    extras = Extras()
    details = wire.CompletionTokensDetails(0, 1, 2, 3)
    extras.of_usage(wire.CompletionUsage(1, 2, 3, wire.PromptTokensDetails(audio_tokens=4), details))
    assert len(extras.losses) == 4
