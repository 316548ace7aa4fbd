"""Profiles: the order of the layers, and presets that are what they claim."""

from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from latimer.policy import presets as package
from latimer.policy.config import Provider
from latimer.policy.presets import ModelRules, Overlay, preset_for_url, presets
from latimer.policy.profiles import resolve
from latimer.policy.tables import check
from latimer.profile import Profile, RequestRules

LEARNED = msgspec.structs.replace(
    Profile(), request=RequestRules(max_output=8000, context_window=9000, drop=frozenset("x"))
)


def provider(preset: str = "", rules: Overlay | None = None, *models: ModelRules) -> Provider:
    return Provider("p", "https://h/v1", preset=preset, rules=rules or {}, models=models)


def test_defaults() -> None:
    assert resolve(provider(), "any") == Profile()


def test_a_preset_lies_over_the_defaults() -> None:
    profile = resolve(provider("minimax"), "MiniMax-M2.7")
    assert profile.request.max_tokens_field == "max_completion_tokens"
    assert profile.request.extra_body == {"reasoning_split": True}
    assert profile.request.usage == Profile().request.usage


def test_a_presets_model_glob_lies_over_the_preset() -> None:
    assert resolve(provider("minimax"), "MiniMax-M2.7").media.images is False
    assert resolve(provider("minimax"), "MiniMax-M3").media.images is True


def test_what_was_learned_lies_over_the_preset() -> None:
    profile = resolve(provider("minimax"), "MiniMax-M2.7", LEARNED)
    assert profile == LEARNED


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
    assert resolve(user, "m-1").request.extra_body == {"reasoning_split": True, "a": {"b": 1, "c": 2}}


def test_lists_replace_and_tables_merge() -> None:
    rules = {"request": {"drop": ["top_p"]}, "reasoning": {"efforts": {"none": ""}}}
    profile = resolve(provider("moonshot", rules), "kimi-k3")
    assert profile.request.drop == {"top_p"}
    assert (profile.reasoning.efforts["none"], profile.reasoning.efforts["max"]) == ("", "max")


# --- the files ---


class ModelFile(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    match: str


class PresetFile(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    base_url: str
    hosts: list[str] = msgspec.field(default_factory=list)
    api_key_env: str = ""
    models: list[ModelFile] = msgspec.field(default_factory=list)


def raw(name: str) -> tuple[str, dict[str, Any]]:
    text = files(package).joinpath(f"{name}.toml").read_text("utf-8")
    return text, msgspec.toml.decode(text)


def test_the_presets_that_are_promised() -> None:
    promised = {"openai", "deepseek", "moonshot", "minimax", "zai", "mistral", "cerebras", "gemini", "openrouter"}
    assert set(presets()) >= promised | {"groq", "ollama", "llamacpp", "vllm"}


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_file(name: str) -> None:
    text, table = raw(name)
    assert text.startswith("# source: ")
    check(table, PresetFile, name)
    host = urlsplit(table["base_url"]).netloc
    local = host.startswith("localhost")
    assert local or host in table["hosts"], "a preset applies to its own base_url"
    assert local or table["api_key_env"]
    for model in ["any", *(entry["match"].replace("*", "x") for entry in table.get("models", []))]:
        resolve(provider(name), model)


def test_no_two_presets_claim_one_host() -> None:
    hosts = [host for preset in presets().values() for host in preset.hosts]
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://API.deepseek.com/v1", "deepseek"),
        ("http://127.0.0.1:11434/v1", "ollama"),
        ("http://127.0.0.1:8080/v1", None),
        ("https://api.deepseek.com.example.com/v1", None),
    ],
)
def test_a_preset_by_host(url: str, name: str | None) -> None:
    found = preset_for_url(url)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("preset", "model", "control", "high"),
    [
        ("openai", "gpt-4o", "none", "high"),
        ("openai", "o4-mini", "effort", "high"),
        ("openai", "gpt-5.2", "effort", "high"),
        ("openai", "gpt-5.4-mini", "effort", "none"),
        ("deepseek", "deepseek-v4-pro", "thinking_type", "high"),
        ("moonshot", "kimi-k2.6", "thinking_type", ""),
        ("moonshot", "kimi-k3.1", "effort", "high"),
        ("zai", "glm-5.1", "thinking_type", ""),
        ("zai", "glm-5.3", "effort", "high"),
        ("groq", "openai/gpt-oss-120b", "effort", "high"),
        ("groq", "qwen/qwen3-32b", "effort", "default"),
        ("groq", "llama-3.3-70b", "none", "high"),
        ("openrouter", "x-ai/grok-4.7", "effort_object", "high"),
    ],
)
def test_how_reasoning_is_asked_for(preset: str, model: str, control: str, high: str) -> None:
    reasoning = resolve(provider(preset), model).reasoning
    assert (reasoning.control, reasoning.efforts["high"]) == (control, high)
