"""Profiles: the order of the layers."""

import pytest

from latimer.policy import models
from latimer.policy.config import Provider
from latimer.policy.models import ModelFacts
from latimer.policy.presets import ModelRules, Overlay, presets
from latimer.policy.profiles import resolve
from latimer.profile import Dialect, EndpointRules, PriceRules, PriceTier, Profile

LEARNED: Overlay = {"request": {"max_output": 8000, "context_window": 9000, "drop": ["x"]}}


def provider(preset: str = "", rules: Overlay | None = None, *models: ModelRules) -> Provider:
    return Provider("p", "https://h/v1", preset=preset, rules=rules or {}, models=models)


def test_defaults() -> None:
    assert resolve(provider(), "any") == Profile()


def test_a_preset_lies_over_the_defaults() -> None:
    profile = resolve(provider("minimax"), "MiniMax-M2.7")
    assert profile.request.max_tokens_field == "max_completion_tokens"
    assert profile.reasoning.extra_body == {"reasoning_split": True}
    assert profile.request.usage == Profile().request.usage


def test_a_presets_model_glob_lies_over_the_preset() -> None:
    assert resolve(provider("minimax"), "MiniMax-M2.7").media.images is False
    assert resolve(provider("minimax"), "MiniMax-M3").media.images is True


def test_what_was_learned_lies_over_the_preset() -> None:
    profile = resolve(provider("minimax"), "MiniMax-M2.7", LEARNED)
    assert (profile.request.max_output, profile.request.drop) == (8000, {"x"})
    assert profile.reasoning.extra_body == {"reasoning_split": True}


def test_the_users_words_lie_over_all() -> None:
    rules = {"request": {"max_output": 100, "extra_body": {"a": {"b": 1}}}}
    glob = ModelRules("M*", {"request": {"max_output": 200}})
    later = ModelRules("m-1*", {"request": {"extra_body": {"a": {"c": 2}}}})
    user = provider("minimax", rules, glob, later)
    assert resolve(user, "other", LEARNED).request.max_output == 100
    profile = resolve(user, "m-1", LEARNED)
    assert profile.request.max_output == 200
    assert profile.request.context_window == 9000
    assert profile.request.extra_body == {"a": {"b": 1, "c": 2}}


def test_lists_replace_and_tables_merge() -> None:
    rules = {"request": {"drop": ["top_p"]}, "reasoning": {"efforts": {"none": ""}}}
    profile = resolve(provider("moonshot", rules), "kimi-k3")
    assert profile.request.drop == {"top_p"}
    assert (profile.reasoning.efforts["none"], profile.reasoning.efforts["max"]) == ("", "max")


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_the_users_dialect_lies_over_all_but_his_globs(dialect: Dialect) -> None:
    learned = {"endpoint": {"dialect": "responses", "count_tokens": True}}
    rules = {"endpoint": {"dialect": "messages"}}
    glob = ModelRules("big*", {"endpoint": {"dialect": "chat"}})
    user = Provider("p", "https://h/v1", dialect=dialect, preset="minimax", rules=rules, models=(glob,))
    assert resolve(user, "small", learned).endpoint == EndpointRules(dialect, count_tokens=True)
    assert resolve(user, "big-1", learned).endpoint.dialect == "chat"


def test_without_a_users_dialect_the_preset_then_what_was_learned_decides() -> None:
    own = Provider("p", "https://h/v1", messages_url="https://h/anthropic", preset="minimax")
    assert resolve(own, "MiniMax-M2.7").endpoint.dialect == "messages"
    assert resolve(own, "MiniMax-M2.7", {"endpoint": {"dialect": "chat"}}).endpoint.dialect == "chat"


def test_a_presets_dialect_holds_only_where_it_is_known_to_be_offered() -> None:
    assert resolve(provider("minimax"), "MiniMax-M2.7").endpoint.dialect == "chat"
    assert resolve(provider("openai"), "gpt-5.4").endpoint.dialect == "chat"


def test_data_of_the_model_lies_between_the_presets_rules_and_its_globs(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "m": ModelFacts(1000, 100, PriceRules(1.0, 2.0), images=True),
        "glm-4.5v": ModelFacts(2000, 200, images=False),
    }
    monkeypatch.setattr(models, "_table", lambda preset: known if preset == "zai" else {})
    assert presets()["zai"].rules["media"]["images"] is False
    profile = resolve(provider("zai"), "m")
    assert (profile.request.context_window, profile.request.max_output) == (1000, 100)
    assert profile.media.images is True
    assert profile.prices == PriceRules(1.0, 2.0)
    assert resolve(provider("zai"), "glm-4.5v").media.images is True  # a glob of the preset says so
    assert resolve(provider("zai"), "glm-4.5v").request.max_output == 200
    assert resolve(provider(), "m") == Profile()


def test_what_was_learned_and_the_users_words_lie_over_data(monkeypatch: pytest.MonkeyPatch) -> None:
    tier = PriceTier(above=9, input=3.0, output=4.0)
    known = {"m": ModelFacts(1000, 100, PriceRules(1.0, 2.0, tiers=(tier,)), images=True)}
    monkeypatch.setattr(models, "_table", lambda preset: known)
    learned = {"request": {"context_window": 900}}
    rules = {"request": {"max_output": 50}, "prices": {"input": 0.5}}
    glob = ModelRules("m", {"media": {"images": False}, "prices": {"tiers": []}})
    profile = resolve(provider("zai", rules), "m", learned)
    assert (profile.request.context_window, profile.request.max_output) == (900, 50)
    assert profile.media.images is True
    assert profile.prices == PriceRules(0.5, 2.0, tiers=(tier,))
    profile = resolve(provider("zai", rules, glob), "m", learned)
    assert profile.media.images is False
    assert profile.prices == PriceRules(0.5, 2.0)
