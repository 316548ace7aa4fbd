"""Counting without a tokenizer: what a request weighs, and what usage figures teach."""

import base64
import json

import pytest

from latimer.policy.counting import FIRST_RATIO, TOKENS_PER_IMAGE, TokenRatios, Weight, weigh

PICTURE = base64.b64encode(bytes(3000)).decode()


def test_files_are_weighed_apart_from_text() -> None:
    words = json.dumps({"text": "a" * 100}).encode()
    assert weigh(words) == Weight(len(words), 0)
    anthropic = json.dumps({"type": "base64", "data": PICTURE}).encode()
    openai = json.dumps({"url": f"data:image/png;base64,{PICTURE}"}).encode()
    for body in (anthropic, openai):
        assert weigh(body).files == 1
        assert weigh(body).text_bytes < 60


def test_a_part_can_be_taken_out() -> None:
    assert Weight(100, 3) - Weight(40, 1) == Weight(60, 2)
    assert Weight(10, 0) - Weight(40, 1) == Weight(0, 0), "a part is encoded anew, and may come out longer"


def test_estimates_begin_with_a_usual_ratio() -> None:
    ratios = TokenRatios()
    assert ratios.estimate("p/m", Weight(10_000, 0)) == round(10_000 * FIRST_RATIO)
    assert ratios.estimate("p/m", Weight(0, 2)) == 2 * TOKENS_PER_IMAGE
    assert ratios.estimate("p/m", Weight(0, 0)) == 1


def test_a_ratio_is_learned_for_its_route_only() -> None:
    ratios = TokenRatios()
    ratios.learn("p/m", Weight(10_000, 0), 5000)
    assert ratios.estimate("p/m", Weight(10_000, 0)) == 5000
    assert ratios.estimate("p/other", Weight(10_000, 0)) == round(10_000 * FIRST_RATIO)
    ratios.learn("p/m", Weight(10_000, 0), 1000)
    assert 1000 < ratios.estimate("p/m", Weight(10_000, 0)) < 5000


@pytest.mark.parametrize(("weight", "tokens"), [(Weight(10_000, 1), 9), (Weight(100, 0), 90), (Weight(10_000, 0), 0)])
def test_what_teaches_nothing(weight: Weight, tokens: int) -> None:
    ratios = TokenRatios()
    ratios.learn("p/m", weight, tokens)
    assert ratios.estimate("p/m", Weight(10_000, 0)) == round(10_000 * FIRST_RATIO)
