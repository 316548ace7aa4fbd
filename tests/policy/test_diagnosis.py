"""What `latimer doctor` says of each fact, and how it is written down."""

import json

import msgspec
import pytest

from latimer.policy.config import Config, Provider, Server, parse
from latimer.policy.diagnosis import (
    Diagnosis,
    Level,
    of_answer,
    of_broken_configuration,
    of_claude,
    of_configuration,
    of_key,
    of_learned,
    of_model,
    of_port,
    of_silence,
    of_token,
    of_window,
    report,
    text,
)
from latimer.policy.knowledge import Finding, Knowledge, RouteKey
from latimer.policy.routing import Route, routes_for

NOW = 1_800_000_000
CONFIG = """
[providers.local]
base_url = "http://127.0.0.1:1/v1"
api_key = "env:LOCAL_KEY"
[routes]
default = "local/qwen3-coder"
"""


@pytest.fixture
def config() -> Config:
    return parse(CONFIG, "my.toml")


@pytest.fixture
def provider(config: Config) -> Provider:
    return config.providers["local"]


@pytest.fixture
def route(config: Config) -> Route:
    return routes_for(config, "any")[0]


def test_the_configuration(config: Config) -> None:
    assert of_configuration(config) == Diagnosis("ok", "configuration", "my.toml: 1 provider, 1 route")
    broken = of_broken_configuration("my.toml: server.prot: no such key; did you mean server.port?")
    assert (broken.level, bool(broken.cure)) == ("wrong", True)
    assert "did you mean server.port" in broken.what


def test_keys(provider: Provider) -> None:
    assert of_key(provider, "") == Diagnosis("ok", "provider local, key", "env:LOCAL_KEY gives one")
    assert of_key(msgspec.structs.replace(provider, api_key=""), "").what == "none is sent"
    missing = of_key(provider, "the environment variable LOCAL_KEY is not set")
    assert missing.level == "wrong"
    assert "providers.local" in missing.cure


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (200, "ok", "answers 200"),
        (401, "wrong", "the key is refused (env:LOCAL_KEY)"),
        (403, "wrong", "the key is refused"),
        (404, "ok", "lists no models"),
        (405, "ok", "lists no models"),
        (429, "note", "too many requests"),
        (302, "note", "answers 302"),
        (500, "wrong", "answers 500"),
    ],
)
def test_addresses(provider: Provider, status: int, level: Level, words: str) -> None:
    found = of_answer(provider, "http://127.0.0.1:1/v1/models", status)
    assert (found.level, found.where) == (level, "provider local")
    assert words in found.what
    assert bool(found.cure) == (level != "ok")


def test_an_address_that_is_silent(provider: Provider) -> None:
    found = of_silence(provider, "local: nothing accepts connections there. Check that the server runs.")
    assert found == Diagnosis(
        "wrong", "provider local", "local: nothing accepts connections there", "Check that the server runs."
    )
    assert "base_url of providers.local" in of_silence(provider, "timed out").cure


def test_models(route: Route) -> None:
    assert of_model(route, {"a", "qwen3-coder"}).level == "ok"
    assert of_model(route, {"/models/x.gguf"}).level == "ok", "a server with one model takes any name"
    missing = of_model(route, {"qwen3-coder-plus", "glm-5", "kimi"})
    assert missing.level == "note"
    assert "qwen3-coder-plus" in missing.cure
    assert "kimi" not in missing.cure
    assert "aaa" in of_model(route, {"aaa", "zzz"}).cure


def test_context_windows(route: Route) -> None:
    assert of_window(route, 8192) == Diagnosis("ok", "route local/qwen3-coder", "context window of 8192 tokens")
    unknown = of_window(route, 0)
    assert (unknown.level, "--context-window" in unknown.cure) == ("note", True)
    said = parse(CONFIG + "[providers.local.request]\ncontext_window = 7\n", "x")
    assert "7 tokens" in of_window(routes_for(said, "any")[0], 0).what


def test_what_was_learned() -> None:
    finding = Finding({"request": {"top_k": False}}, "the upstream takes no top_k", "refusal", NOW - 3 * 24 * 3600)
    known = Knowledge().having(RouteKey("local", "http://127.0.0.1:1/v1", "m"), finding)
    (found,) = of_learned(known, NOW)
    assert found.where == "route local/m"
    words = "the upstream takes no top_k (refusal, 3 days ago, forgotten in 27 days; sets request.top_k)"
    assert found.what == f"learned: {words}"
    assert found.cure.endswith("latimer forget local/m")
    assert of_learned(Knowledge(), NOW) == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 seconds"), (60, "1 minute"), (7300, "2 hours"), (-5, "0 seconds")]
)
def test_ages(seconds: int, words: str) -> None:
    finding = Finding({"media": {"images": False}}, "w", "refusal", NOW - seconds)
    (found,) = of_learned(Knowledge().having(RouteKey("p", "u", "m"), finding), NOW)
    assert f"{words} ago" in found.what


def test_the_port() -> None:
    server = Server()
    assert of_port(server, True, "").what == "free"
    assert of_port(server, False, "1.2").what == "Latimer 1.2 listens there"
    taken = of_port(server, False, "")
    assert (taken.level, "--port N" in taken.cure) == ("wrong", True)
    assert of_port(Server(port=0), True, "").level == "ok"
    assert of_token("the environment variable T is not set").level == "wrong"


def test_claude_code() -> None:
    assert of_claude("/bin/claude", "2.1.330 (Claude Code)", "").what == "2.1.330 (Claude Code) at /bin/claude"
    found = of_claude("", "", "Claude Code is not installed. Install it with npm")
    assert found == Diagnosis("wrong", "Claude Code", "Claude Code is not installed", "Install it with npm")


FOUND = [
    Diagnosis("ok", "configuration", "good"),
    Diagnosis("wrong", "port 1", "taken", "choose\nanother"),
    Diagnosis("note", "route a/m", "unknown", "say it"),
]


def test_text() -> None:
    assert text(FOUND).splitlines() == [
        "ok     configuration  good",
        "wrong  port 1         taken",
        "                      -> choose",
        "                         another",
        "note   route a/m      unknown",
        "                      -> say it",
        "",
        "1 thing wrong",
    ]
    assert text(FOUND[:1]).endswith("\nnothing is wrong")


def test_json() -> None:
    found = json.loads(json.dumps(report(FOUND)))
    assert found["ok"] is False
    assert found["findings"][0] == {"level": "ok", "where": "configuration", "what": "good"}
    assert found["findings"][2]["cure"] == "say it"
    assert report(FOUND[2:])["ok"] is True, "a note is nothing wrong"
