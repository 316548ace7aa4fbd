"""What makes a key look like none, and how what was learned is told; tests/doctor has the rest."""

import pytest

from latimer.policy.config import parse
from latimer.policy.diagnosis.configuration import described, on_learned, smells
from latimer.policy.diagnosis.facts import ConfigFacts, Facts, Smell
from latimer.policy.knowledge import Finding, Knowledge, RouteKey

NOW = 1_800_000_000


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-0123456789abcdefghijklmnop",
        "gsk_abcDEF123",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0b2tlbiJ9.c2lnbmF0dXJl",
        "0123456789abcdef.ABCDEFGH",
        "latimer",
        "AIzaSyA-xx_0",
        " sk-with-space-around\n",
    ],
)
def test_keys_that_look_like_keys(key: str) -> None:
    assert smells(key) == ()


@pytest.mark.parametrize(
    ("key", "smell"),
    [
        ('"sk-123"', "quotes"),
        ("'sk-123", "quotes"),
        ("Bearer sk-123", "scheme"),
        ("bearer sk-123", "scheme"),
        ("sk-123 # mine", "spaces"),
        ("your-api-key", "placeholder"),
        ("YOUR_API_KEY_HERE", "placeholder"),
        ("<your key>", "placeholder"),
        ("sk-...", "placeholder"),
        ("sk-xxxxxxxxxxxx", "placeholder"),
        ("${MINIMAX_API_KEY}", "placeholder"),
        ("$MINIMAX_API_KEY", "placeholder"),
        ("changeme", "placeholder"),
        ("API_KEY", "placeholder"),
    ],
)
def test_keys_that_do_not(key: str, smell: Smell) -> None:
    assert smell in smells(key)


def lesson(age: int) -> Finding:
    return Finding({"request": {"top_k": False}}, "the upstream takes no top_k", "refusal", NOW - age)


def test_what_was_learned() -> None:
    known = Knowledge().having(RouteKey("local", "http://127.0.0.1:1/v1", "m"), lesson(3 * 24 * 3600))
    config = parse('[providers.p]\nbase_url = "http://127.0.0.1:9/v1"\n[routes]\ndefault = "p/m"\n', "x")
    (found,) = on_learned(Facts(ConfigFacts("x", config), NOW, learned=known))
    assert found.where == "route local/m"
    assert found.what == ("the upstream takes no top_k (refusal, 3 days ago, forgotten in 27 days; sets request.top_k)")
    assert found.cure.endswith("`latimer forget local/m`")


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 seconds"), (60, "1 minute"), (7300, "2 hours"), (-5, "0 seconds")]
)
def test_ages(seconds: int, words: str) -> None:
    assert f"{words} ago" in described(lesson(seconds), NOW)
