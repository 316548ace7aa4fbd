"""What Claude Code is told: variables and settings."""

import pytest

from latimer.policy.claude_code import (
    ASSUMED_WINDOW,
    Limits,
    conflicting,
    each_window,
    limits,
    says,
    session_settings,
    takes_each_window,
    variables,
)
from latimer.policy.config import Config, parse
from latimer.policy.routing import routes_for
from tests.configurations import two_tiers

URL = "http://127.0.0.1:4002"


@pytest.fixture
def config() -> Config:
    return two_tiers()


def sized(opus: int, sonnet: int, haiku: int, most: int = 0) -> Config:
    models = "".join(
        f'''[[providers.big.models]]
match = "{name}"
request = {{ context_window = {window}, max_output = {most} }}
'''
        for name, window in (("o", opus), ("s", sonnet), ("h", haiku))
    )
    routes = '[routes]\nopus = "big/o"\nsonnet = "big/s"\nhaiku = "big/h"\n'
    return parse(f'[providers.big]\nbase_url = "https://big.example.com/v1"\n{models}{routes}', "my.toml")


@pytest.mark.parametrize(
    ("window", "most", "expected"),
    [
        (0, 0, {"DISABLE_1M_CONTEXT": "1"}),
        (200_000, 8192, {"AUTO_COMPACT_WINDOW": "200000", "MAX_CONTEXT_TOKENS": "200000", "MAX_OUTPUT_TOKENS": "8192"}),
        (65_536, 0, {"MAX_CONTEXT_TOKENS": "65536", "MAX_OUTPUT_TOKENS": "8192"}),
        (65_536, 4096, {"MAX_CONTEXT_TOKENS": "65536", "MAX_OUTPUT_TOKENS": "4096"}),
        (204_800, 0, {"AUTO_COMPACT_WINDOW": "204800", "MAX_CONTEXT_TOKENS": "204800"}),
        (1_000_000, 0, {"AUTO_COMPACT_WINDOW": "1000000", "MAX_CONTEXT_TOKENS": "1000000"}),
    ],
)
def test_window_and_output_limit(config: Config, window: int, most: int, expected: dict[str, str]) -> None:
    told = variables(URL, "", config, Limits(window, most))
    names = ("AUTO_COMPACT_WINDOW", "MAX_CONTEXT_TOKENS", "MAX_OUTPUT_TOKENS", "DISABLE_1M_CONTEXT")
    found = {name: told[f"CLAUDE_CODE_{name}"] for name in names if f"CLAUDE_CODE_{name}" in told}
    assert found == ({"DISABLE_1M_CONTEXT": "1"} if window < 1_000_000 else {}) | expected


def test_the_tiers_show_their_models(config: Config) -> None:
    told = variables(URL, "", config, Limits())
    assert told["ANTHROPIC_DEFAULT_OPUS_MODEL_NAME"] == "strong"
    assert told["ANTHROPIC_DEFAULT_OPUS_MODEL_DESCRIPTION"] == "Opus tier, big, through Latimer"
    chain = routes_for(config, told["ANTHROPIC_DEFAULT_OPUS_MODEL"])
    assert [route.name for route in chain] == ["big/strong", "small/spare"]
    assert "ANTHROPIC_DEFAULT_SONNET_MODEL" not in told


# --- windows ---


def test_the_smallest_window_of_the_tiers_that_conversations_run_on() -> None:
    """A small model for titles does not make every conversation small."""
    found = limits(sized(400_000, 300_000, 32_768))
    assert found.context_window == 300_000
    assert limits(sized(400_000, 65_536, 131_072)).context_window == 65_536
    assert limits(sized(400_000, 300_000, 200_000, 9000)).max_output == 9000


def test_without_those_tiers_that_of_what_there_is(config: Config) -> None:
    only = parse('[providers.a]\nbase_url = "http://h/v1"\n[routes]\nhaiku = "a/b"\n', "my.toml")
    assert limits(only, told={"a/b": (32_768, 5)}) == Limits(32_768, 5, {"claude-via-a/b": 32_768})


def test_each_model_has_its_window_where_they_differ() -> None:
    found = limits(sized(1_000_000, 300_000, 32_768))
    assert found.differ
    assert each_window(found) == {
        "claude-via-big/o": {"autoCompactWindow": 1_000_000},
        "claude-via-big/s": {"autoCompactWindow": 300_000},
        "claude-via-big/h": {"autoCompactWindow": 100_000},
    }
    told = session_settings(found, each=True)
    assert told["modelSettings"] == each_window(found)
    # The largest; what is smaller stands in the settings of its model. The variable for all would win over those.
    assert told["env"]["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "1000000"
    assert told["env"]["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == ""
    assert told["env"]["CLAUDE_CODE_DISABLE_1M_CONTEXT"] == ""


def test_one_window_for_all_where_it_is_too_small_for_each() -> None:
    """Claude Code takes no window below 100,000 for one model."""
    assert not limits(sized(400_000, 65_536, 131_072)).differ
    assert not limits(sized(200_000, 200_000, 200_000)).differ


def test_a_model_of_unknown_window_is_not_given_the_largest() -> None:
    found = limits(sized(400_000, 0, 0))
    assert found.windows["claude-via-big/s"] == ASSUMED_WINDOW
    assert found.context_window == 400_000


def test_sizes_of_settings_files_are_overridden() -> None:
    assert session_settings(Limits(65_536, 8000), each=False) == {
        "env": {
            "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "65536",
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8000",
            "CLAUDE_CODE_DISABLE_1M_CONTEXT": "1",
        }
    }
    assert session_settings(Limits(), each=False) == {"env": {"CLAUDE_CODE_DISABLE_1M_CONTEXT": "1"}}


@pytest.mark.parametrize(
    ("version", "able"),
    [
        ("2.1.330 (Claude Code)", True),
        ("2.2.0", True),
        ("3.0.1 (x)", True),
        ("2.1.197 (Claude Code)", False),
        ("", False),
    ],
)
def test_releases_that_take_a_window_for_each_model(version: str, able: bool) -> None:
    assert takes_each_window(version) is able


# --- the rest ---


def test_what_points_elsewhere() -> None:
    assert conflicting({"CLAUDE_CODE_USE_BEDROCK": "", "PATH": "", "ANTHROPIC_API_KEY": ""}) == [
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_USE_BEDROCK",
    ]


def test_options_among_arguments() -> None:
    assert says(["-c", "--model=opus"], "--model")
    assert not says(["say --model"], "--model")
