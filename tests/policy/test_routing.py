"""Which route an id takes."""

import pytest

from latimer.errors import Rejection
from latimer.policy.config import Config, Flags, parse
from latimer.policy.routing import TIERS, picker_id, route_names, routes_for, tier_id, tier_route

PROVIDERS = """
[providers.big]
base_url = "https://big.example.com/v1"
[providers.small]
base_url = "http://127.0.0.1:8080/v1"
"""

CONFIG = f"""{PROVIDERS}
[routes]
"claude-opus-4-6" = "small/exact"
"claude-opus-4*" = "small/old-opus"
"claude-*" = "big/any-claude"
"claude-haiku-*" = "small/haiku-glob"
"gpt-[45]*" = "big/gpt"
opus = ["big/strong", "small/spare"]
haiku = "small/quick"
default = ["big/strong", "small/other"]
"""


def config(routes: str) -> Config:
    return parse(f"{PROVIDERS}[routes]\n{routes}", "my.toml")


def names(model_id: str, text: str = CONFIG) -> list[str]:
    return [route.name for route in routes_for(parse(text, "my.toml"), model_id)]


@pytest.mark.parametrize(
    ("model_id", "expected"),
    [
        ("claude-opus-4-6", ["small/exact"]),
        ("claude-opus-4-6[1m]", ["small/exact"]),
        ("opus", ["big/strong", "small/spare"]),
        ("claude-opus-5-5", ["big/strong", "small/spare"]),
        ("CLAUDE-OPUS-5-5[1M]", ["big/strong", "small/spare"]),
        ("us.anthropic.claude-opus-5-5-v1:0", ["big/strong", "small/spare"]),
        ("claude-opus-4-7", ["small/old-opus"]),
        ("claude-haiku-5-5", ["small/haiku-glob"]),
        ("claude-3-5-haiku", ["small/quick"]),
        ("claude-sonnet-5-5", ["big/any-claude"]),
        ("gpt-5.4", ["big/gpt"]),
        ("gpt-3", ["big/strong", "small/other"]),
        ("", ["big/strong", "small/other"]),
        ("default", ["big/strong", "small/other"]),
        ("small/anything/at:all", ["small/anything/at:all"]),
        ("big/strong", ["big/strong"]),
        ("claude-via-big/strong", ["big/strong", "small/spare"]),
        ("claude-via-small/org/model", ["small/org/model"]),
        ("claude-haiku-via-small/quick", ["small/quick"]),
        ("claude-via-nobody/opus", ["big/strong", "small/spare"]),
        ("nobody/model", ["big/strong", "small/other"]),
    ],
)
def test_the_order_of_lookup(model_id: str, expected: list[str]) -> None:
    assert names(model_id) == expected


def test_an_unknown_id_is_told_what_is_known() -> None:
    with pytest.raises(Rejection) as caught:
        routes_for(config('opus = "big/m"'), "claude-sonnet-5-5")
    failure = caught.value.failure
    assert failure.status == 400, "Claude Code hides the text of a 404"
    for word in ("'claude-sonnet-5-5'", "opus", "big/MODEL", "small/MODEL", "[routes]", "my.toml"):
        assert word in failure.message


def test_a_route_carries_its_profile() -> None:
    text = PROVIDERS + '[providers.big.request]\nmax_output = 7\n[routes]\ndefault = ["big/m", "small/m"]'
    first, second = routes_for(parse(text, "my.toml"), "any")
    assert (first.profile.request.max_output, second.profile.request.max_output) == (7, 0)
    assert (first.provider.name, first.model) == ("big", "m")


def test_what_was_learned_holds_for_its_route_only() -> None:
    learned = {"small/m": {"request": {"context_window": 4096}}}
    first, second = routes_for(config('default = ["big/m", "small/m"]'), "any", learned)
    assert (first.profile.request.context_window, second.profile.request.context_window) == (0, 4096)


def test_route_names_are_unique_and_in_order() -> None:
    two = config('opus = ["big/a", "small/b"]\nhaiku = "small/b"\ndefault = "big/c"')
    assert route_names(two) == ["big/a", "small/b", "big/c"]


def test_a_tier_without_a_route() -> None:
    only = config('opus = "big/m"')
    assert (tier_route(only, "sonnet"), tier_id(only, "sonnet")) == (None, "")


@pytest.mark.parametrize("routes", ['default = "big/m"', 'opus = ["big/a", "small/b"]\nsonnet = ["big/a", "small/c"]'])
def test_the_id_of_a_tier_leads_to_its_chain(routes: str) -> None:
    """Fallbacks included, also when two tiers begin with the same model."""
    both = config(routes)
    for tier in TIERS:
        if tier_route(both, tier):
            by_id = routes_for(both, tier_id(both, tier))
            assert by_id == routes_for(both, f"claude-{tier}-9")


def test_picker_ids_pass_the_clients_filter() -> None:
    assert picker_id("big/Model-2.7").startswith("claude")


@pytest.mark.parametrize("asked", ["opus", "claude-opus-5-5[1m]", "claude-via-big/strong", "claude-via-big/strong[1M]"])
def test_a_routed_model_may_state_its_window(asked: str) -> None:
    told = config('opus = ["big/strong[1m]", "small/spare[200k]"]')
    routes = routes_for(told, asked)
    assert [(route.name, route.profile.request.context_window) for route in routes] == [
        ("big/strong", 1_000_000),
        ("small/spare", 200_000),
    ]
    assert routes[0].model == "strong"  # nothing of it goes upstream
    assert route_names(told) == ["big/strong", "small/spare"]
    assert tier_id(told, "opus") == "claude-via-big/strong"


def test_a_stated_window_lies_under_the_users_rules_and_flags() -> None:
    rule = '[[providers.big.models]]\nmatch = "str*"\nrequest = { context_window = 7000 }\n'
    text = f'{PROVIDERS}{rule}[routes]\ndefault = "big/strong[1m]"'
    assert routes_for(parse(text, "my.toml"), "any")[0].profile.request.context_window == 7000
    flags = Flags(context_window=9000)
    assert routes_for(parse(text, "my.toml", flags), "any")[0].profile.request.context_window == 9000
    flag = Flags(model="big/other[200k]")
    assert routes_for(parse(text, "my.toml", flag), "any")[0].profile.request.context_window == 200_000
