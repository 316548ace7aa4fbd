"""`GET /v1/models`: a strict reader's view, and its pages."""

from typing import Any

import pytest
from anthropic.types import ModelInfo

from latimer.errors import Rejection
from latimer.policy.catalog import TIER_IDS, page, picker_models
from latimer.policy.config import Config, parse
from latimer.policy.routing import routes_for

CONFIG = """
[providers.big]
base_url = "https://big.example.com/v1"
[providers.small]
base_url = "http://127.0.0.1:8080/v1"
[providers.small.request]
context_window = 32768
[routes]
opus = ["big/strong", "small/spare"]
haiku = "small/quick"
default = "big/strong"
"""


@pytest.fixture
def config() -> Config:
    return parse(CONFIG, "my.toml")


def test_the_official_sdk_reads_every_entry(config: Config) -> None:
    for entry in picker_models(config):
        info = ModelInfo.model_validate(entry, strict=False)
        assert info.capabilities is not None
        assert (info.type, info.lifecycle) == ("model", "active")


def test_every_id_leads_back_to_its_route(config: Config) -> None:
    for entry in picker_models(config):
        assert routes_for(config, entry["id"])


def test_what_is_listed(config: Config) -> None:
    ids = [entry["id"] for entry in picker_models(config)]
    routes = ["big/strong", "small/spare", "small/quick"]
    assert ids == [*(f"claude-via-{name}" for name in routes), *routes, *TIER_IDS.values()]
    assert [entry["id"] for entry in picker_models(config, tiers=False)] == ids[:-4]


def test_a_tier_without_a_route_is_not_listed() -> None:
    only = parse(CONFIG.replace('default = "big/strong"', ""), "my.toml")
    ids = [entry["id"] for entry in picker_models(only)]
    assert TIER_IDS["opus"] in ids
    assert TIER_IDS["sonnet"] not in ids


def test_limits_and_abilities_come_from_the_profile(config: Config) -> None:
    learned = {
        "small/quick": {
            "request": {"max_output": 4096},
            "reasoning": {"control": "none"},
            "media": {"images": False},
        }
    }
    entries = {entry["id"]: entry for entry in picker_models(config, learned)}
    quick, strong = entries["claude-via-small/quick"], entries["claude-via-big/strong"]
    assert (quick["max_input_tokens"], quick["max_tokens"]) == (32768, 4096)
    assert (strong["max_input_tokens"], strong["max_tokens"]) == (None, None)
    assert quick["capabilities"]["image_input"] == {"supported": False}
    assert quick["capabilities"]["thinking"]["supported"] is False
    assert quick["capabilities"]["effort"]["supported"] is False
    assert strong["capabilities"]["effort"]["high"] == {"supported": True}


# --- pages ---

MODELS: list[dict[str, Any]] = [{"id": str(number)} for number in range(5)]


def ids(answer: dict[str, Any]) -> str:
    return "".join(entry["id"] for entry in answer["data"])


@pytest.mark.parametrize(
    ("arguments", "expected", "more"),
    [
        ({}, "01234", False),
        ({"limit": 2}, "01", True),
        ({"limit": 2, "after_id": "1"}, "23", True),
        ({"limit": 2, "after_id": "2"}, "34", False),
        ({"after_id": "4"}, "", False),
        ({"limit": 2, "before_id": "4"}, "23", True),
        ({"limit": 4, "before_id": "2"}, "01", False),
        ({"limit": 1000}, "01234", False),
    ],
)
def test_pages(arguments: dict[str, Any], expected: str, more: bool) -> None:
    answer = page(MODELS, **arguments)
    assert (ids(answer), answer["has_more"]) == (expected, more)
    assert answer["first_id"] == (expected[0] if expected else None)
    assert answer["last_id"] == (expected[-1] if expected else None)


@pytest.mark.parametrize(
    "arguments",
    [{"limit": 0}, {"limit": 1001}, {"after_id": "9"}, {"before_id": "9"}, {"after_id": "1", "before_id": "2"}],
)
def test_pages_that_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(Rejection) as caught:
        page(MODELS, **arguments)
    assert caught.value.failure.type == "invalid_request_error"
