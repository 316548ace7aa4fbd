"""`latimer providers`: what it shows agrees with the presets, and its example is a configuration that works."""

import json

import pytest
from click.testing import CliRunner

from latimer.cli.providers import as_data, endpoints, example, preferred, providers
from latimer.errors import ConfigError
from latimer.policy.config import parse
from latimer.policy.presets import presets
from latimer.policy.profiles import resolve


def shown(*arguments: str) -> str:
    return CliRunner().invoke(providers, arguments, catch_exceptions=False, standalone_mode=False).output


def test_all_of_them_in_a_plain_table() -> None:
    head, *rows = shown().split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == sorted(presets())
    place = head.index("DIALECTS")
    assert {row.split()[0]: row[place:].split("  ")[0] for row in rows}["minimax"] == "chat responses messages*"
    assert "\x1b" not in head


def test_one_in_full() -> None:
    text = shown("MiniMax")
    assert "MiniMax (minimax)" in text
    assert "https://api.minimaxi.com/anthropic/v1/messages" in text
    assert "key in MINIMAX_CN_API_KEY or MINIMAX_API_KEY" in text
    assert "Asked in: messages" in text
    assert '  [providers.minimax]\n  api_key = "env:MINIMAX_API_KEY"' in text
    assert "The key goes in the header x-api-key." in shown("anthropic")
    assert "default: no key" in shown("ollama")


def test_for_programs() -> None:
    listed = json.loads(shown("--json"))
    assert [entry["name"] for entry in listed] == sorted(presets())
    one = json.loads(shown("zai", "--json"))
    assert one == json.loads(json.dumps(as_data(presets()["zai"])))
    assert one["addresses"]["china"]["endpoints"]["messages"] == "https://open.bigmodel.cn/api/anthropic/v1/messages"
    assert one["addresses"]["default"]["dialects"] == ["chat", "messages"]
    assert one["rules"]["tools"]["choices"] == ["auto"]
    assert {"match": "glm-*v", "media": {"images": True}} in one["models"]


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match=r"there is no preset 'mimimax'; did you mean minimax\?"):
        shown("mimimax")


@pytest.mark.parametrize("name", sorted(presets()))
def test_the_example_and_the_endpoints_are_those_of_the_configuration(name: str) -> None:
    preset = presets()[name]
    for key, address in preset.addresses.items():
        provider = parse(example(preset, key), "x").providers[name]
        assert provider.preset == name
        for dialect, url in endpoints(preset, address):
            assert url in (provider.url("chat"), provider.url("responses"), provider.url("messages"))
            assert url.endswith({"chat": "/chat/completions"}.get(dialect, f"/{dialect}"))
    assert resolve(parse(example(preset), "x").providers[name], "m").endpoint.dialect == preferred(preset)[0]
