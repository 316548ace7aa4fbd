"""Which of Claude Code's sources wins, and what of their values is kept; tests/doctor has the rules."""

import pytest

from latimer.policy.diagnosis.client import concerns, masked, told
from latimer.policy.diagnosis.facts import ClientFacts, Source

SHELL = Source("shell", "", {"ANTHROPIC_BASE_URL": "a", "ENABLE_TOOL_SEARCH": "false"})
USER = Source("user", "u", {"ANTHROPIC_BASE_URL": "b"})
MANAGED = Source("managed", "m", {"ANTHROPIC_BASE_URL": "c"})


def test_a_settings_file_wins_over_the_environment() -> None:
    found = told(ClientFacts(sources=(SHELL, USER)))
    assert (found.values["ANTHROPIC_BASE_URL"], found.sources["ANTHROPIC_BASE_URL"]) == ("b", USER)
    assert told(ClientFacts(sources=(SHELL, USER, MANAGED))).values["ANTHROPIC_BASE_URL"] == "c"


def test_an_empty_value_takes_one_away() -> None:
    found = told(ClientFacts(sources=(SHELL, Source("user", "u", {"ANTHROPIC_BASE_URL": ""}))))
    assert (set(found.values), set(found.sources)) == ({"ENABLE_TOOL_SEARCH"}, {"ENABLE_TOOL_SEARCH"})


def test_but_not_over_a_host_that_manages_the_provider() -> None:
    host = Source("shell", "", {**SHELL.variables, "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1"})
    assert told(ClientFacts(sources=(host, USER, MANAGED))).values["ANTHROPIC_BASE_URL"] == "a"


def test_switches() -> None:
    found = told(ClientFacts(sources=(Source("shell", "", {"A": "1", "B": "0", "C": "False", "D": "yes"}),)))
    assert [name for name in "ABCDE" if found.on(name)] == ["A", "D"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("ANTHROPIC_AUTH_TOKEN", "secret", "…"),
        ("ANTHROPIC_API_KEY", "secret", "…"),
        ("ANTHROPIC_API_KEY", "", ""),
        ("ANTHROPIC_CUSTOM_HEADERS", "x-api-key: secret", "…"),
        ("AWS_BEARER_TOKEN_BEDROCK", "secret", "…"),
        ("HTTPS_PROXY", "http://user:secret@proxy.test", "…"),
        ("ANTHROPIC_BASE_URL", "http://user:secret@gateway.test/v1", "http://gateway.test/v1"),
        ("ANTHROPIC_DEFAULT_OPUS_MODEL", "m", "m"),
        ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "7", "7"),
        ("NO_PROXY", "localhost", "localhost"),
    ],
)
def test_secrets_are_masked(name: str, value: str, shown: str) -> None:
    assert masked(name, value) == shown


def test_what_concerns_claude_code() -> None:
    named = ["ANTHROPIC_MODEL", "CLAUDE_CODE_USE_BEDROCK", "ENABLE_TOOL_SEARCH", "http_proxy", "NO_PROXY", "all_proxy"]
    assert all(map(concerns, named))
    assert not any(map(concerns, ["PATH", "HOME", "MY_HTTP_PROXY", "SECRET"]))
