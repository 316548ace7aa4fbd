"""Where a provider is: pasted URLs, the addresses of presets, and that nothing of a preset goes to a stranger."""

from typing import Any

import pytest

from latimer.errors import ConfigError
from latimer.policy.addresses import Place, clean_url, name_of, place


def at(name: str, **table: Any) -> Place:
    return place(name, table, f"providers.{name}")


def refusal(name: str, **table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        at(name, **table)
    return str(caught.value)


def test_a_preset_brings_all_its_addresses() -> None:
    found = at("minimax")
    assert found.address.base_url == "https://api.minimax.io/v1"
    assert found.address.messages_url == "https://api.minimax.io/anthropic"
    assert found.is_own


def test_an_address_of_a_preset_by_its_name() -> None:
    found = at("minimax", address="china")
    assert found.address.base_url == "https://api.minimaxi.com/v1"
    assert found.address.messages_url == "https://api.minimaxi.com/anthropic"
    assert found.is_own
    assert at("minimax", address="default") == at("minimax")


def test_an_address_that_can_not_be_meant() -> None:
    assert "providers.minimax.address: there is no address 'chinna'; did you mean china?" in refusal(
        "minimax", address="chinna"
    )
    assert "write only one of them" in refusal("minimax", address="china", base_url="https://api.minimaxi.com/v1")
    assert "there is no address 'china'" in refusal("mine", address="china", base_url="https://h/v1")


def test_the_base_url_chooses_the_address() -> None:
    assert at("mine", base_url="https://api.minimaxi.com/v1").address == at("minimax", address="china").address


def test_another_path_of_a_known_host_keeps_its_other_apis() -> None:
    found = at("deepseek", base_url="https://api.deepseek.com/beta").address
    assert (found.base_url, found.messages_url) == (
        "https://api.deepseek.com/beta",
        "https://api.deepseek.com/anthropic",
    )


def test_a_strangers_host_gets_nothing_of_the_presets() -> None:
    found = at("minimax", base_url="https://gateway.example.com/v1")
    assert found.preset and found.preset.name == "minimax"
    assert not found.is_own
    assert (found.address.messages_url, found.address.responses_url) == ("", "")


def test_an_engine_on_another_port_has_its_apis_there() -> None:
    found = at("vllm", base_url="http://10.1.2.3:9000/v1").address
    assert (found.messages_url, found.responses_url) == ("http://10.1.2.3:9000/v1", "http://10.1.2.3:9000/v1")


@pytest.mark.parametrize(
    ("url", "dialect", "base_url"),
    [
        ("https://h/v1/chat/completions", "auto", "https://h/v1"),
        ("https://h/v1/responses/", "responses", "https://h/v1"),
        ("https://h/v1/messages", "messages", "https://h/v1"),
        ("https://api.deepseek.com/anthropic", "messages", "https://api.deepseek.com"),
        ("https://api.deepseek.com/anthropic/v1/messages", "messages", "https://api.deepseek.com"),
        ("https://api.minimaxi.com/anthropic", "messages", "https://api.minimaxi.com/v1"),
        ("https://api.deepseek.com/v1", "auto", "https://api.deepseek.com/v1"),
        ("https://api.anthropic.com/v1", "auto", "https://api.anthropic.com/v1"),
    ],
)
def test_a_pasted_endpoint_says_its_dialect(url: str, dialect: str, base_url: str) -> None:
    found = at("mine", base_url=url)
    assert (found.dialect, found.address.base_url) == (dialect, base_url)
    assert at("mine", base_url=url, dialect="chat").dialect == "chat"


def test_a_provider_with_one_api_only() -> None:
    found = at("mine", messages_url="https://h/anthropic")
    assert (found.dialect, found.address.messages_url) == ("messages", "https://h/anthropic")
    assert at("mine", responses_url="https://h/v1/responses").dialect == "responses"
    assert at("minimax", messages_url="https://h/anthropic").dialect == "auto"


def test_an_address_that_every_user_has_for_himself() -> None:
    message = refusal("azure")
    assert 'base_url = "https://NAME.openai.azure.com/openai/v1"' in message
    found = at("mine", base_url="https://acme.openai.azure.com/openai/v1")
    assert found.preset and found.preset.name == "azure"
    assert found.is_own
    assert found.address.responses_url == "https://acme.openai.azure.com/openai/v1"
    assert not at("azure", base_url="https://openai.azure.com.example.com/v1").is_own


def test_a_preset_key_goes_to_none_of_a_strangers_urls() -> None:
    assert at("deepseek", messages_url="https://api.deepseek.com/other").is_own
    assert not at("deepseek", messages_url="https://gateway.example.com").is_own


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("https://api.openai.com/", "https://api.openai.com/v1"),
        ("https://api.deepseek.com", "https://api.deepseek.com"),
        ("https://acme.openai.azure.com", "https://acme.openai.azure.com/openai/v1"),
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("https://ollama.com", "https://ollama.com/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_known_host_without_a_path_gets_its_path(url: str, base_url: str) -> None:
    assert at("mine", base_url=url).address.base_url == base_url


def test_urls_without_endpoint_or_slash() -> None:
    assert clean_url(" https://h/v1/ ", "--upstream") == "https://h/v1"
    assert clean_url("https://h/v1/messages/", "--upstream") == "https://h/v1"
    with pytest.raises(ConfigError, match="--upstream: expected a URL"):
        clean_url("h/v1", "--upstream")


def test_names_of_urls() -> None:
    assert name_of("https://api.minimaxi.com/anthropic") == "minimax"
    assert name_of("https://llm.corp.example.com/v1") == "example"
    assert name_of("http://10.1.2.3/v1") == "upstream"
