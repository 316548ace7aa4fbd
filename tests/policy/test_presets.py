"""Presets: files that are what they claim, with a source for every section, and rules that fit their models."""

import importlib.util
import re
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from latimer.policy import presets as package
from latimer.policy.addresses import clean_url
from latimer.policy.config import Provider, parse
from latimer.policy.presets import Address, PresetFile, preset_for_url, presets
from latimer.policy.profiles import resolve
from latimer.policy.tables import check
from latimer.profile import Profile

PROMISED = """openai azure anthropic minimax deepseek moonshot zai dashscope groq openrouter gemini mistral xai together
fireworks cerebras sambanova nvidia siliconflow modelscope volcengine huggingface copilot ollama lmstudio vllm sglang
llamacpp litellm"""
ENGINES = {"ollama", "lmstudio", "vllm", "sglang", "llamacpp", "litellm"}
DOCS = Path(__file__).parents[2] / "docs"
NAMES = sorted(presets())


def raw(name: str) -> tuple[str, dict[str, Any]]:
    text = files(package).joinpath(f"{name}.toml").read_text("utf-8")
    return text, msgspec.toml.decode(text)


def at_home(name: str) -> Provider:
    """A provider at the preset's own address."""
    base = f'base_url = "{presets()[name].url_form}"' if presets()[name].url_form else ""
    return parse(f'[providers.{name}]\n{base}\n[routes]\ndefault = "{name}/m"', "x").providers[name]


def profile_of(name: str, model: str) -> Profile:
    return resolve(at_home(name), model)


def test_the_presets_that_are_promised() -> None:
    assert set(presets()) == set(PROMISED.split())


@pytest.mark.parametrize("name", NAMES)
def test_only_known_keys_and_values(name: str) -> None:
    table = raw(name)[1]
    check(table, PresetFile, name)
    for model in ["any", *(entry["match"].replace("*", "x") for entry in table.get("models", []))]:
        profile_of(name, model)


def test_an_unknown_key_is_noticed() -> None:
    with pytest.raises(Exception, match="no such key"):
        check({"title": "x", "base_url": "", "request": {"max_outptu": 1}}, PresetFile, "x")


@pytest.mark.parametrize("name", NAMES)
def test_every_section_has_a_source(name: str) -> None:
    for part in re.split(r"^(?=\[)", raw(name)[0], flags=re.MULTILINE):
        assert re.search(r"^# source: \S", part, re.MULTILINE), part


@pytest.mark.parametrize("name", NAMES)
def test_every_address_is_a_base_url(name: str) -> None:
    preset = presets()[name]
    assert preset.base_url or clean_url(preset.url_form, name) == preset.url_form
    for address in preset.addresses.values():
        for url in address.urls if address.base_url else ():
            assert clean_url(url, name) == url
            assert url.startswith("https://") or urlsplit(url).hostname == "localhost"
            assert urlsplit(url).hostname == "localhost" or preset.claims(url)
            assert urlsplit(url).hostname == "localhost" or preset_for_url(url) == preset


@pytest.mark.parametrize("name", NAMES)
def test_what_its_users_have_to_know(name: str) -> None:
    preset = presets()[name]
    assert preset.title
    assert preset.docs.startswith("https://")
    assert all(note.endswith(".") for note in preset.notes)
    assert bool(preset.addresses["default"].api_key_env) != (name in ENGINES)
    assert all(re.fullmatch("[A-Z][A-Z0-9_]+", key) for each in preset.addresses.values() for key in each.api_key_env)


@pytest.mark.parametrize("name", NAMES)
def test_the_dialect_of_a_preset_is_one_that_it_offers(name: str) -> None:
    preset = presets()[name]
    for rules in (preset.rules, *(entry.rules for entry in preset.models)):
        dialect = rules.get("endpoint", {}).get("dialect", "chat")
        assert dialect in preset.addresses["default"].dialects


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_only_what_differs_from_the_defaults(name: str) -> None:
    defaults = msgspec.to_builtins(Profile())
    for section, fields in presets()[name].rules.items():
        for field, value in fields.items():
            said = set(value) if isinstance(value, list) else value
            usual = defaults[section][field]
            assert said != (set(usual) if isinstance(usual, list) else usual), (section, field)


def test_no_two_presets_claim_one_host() -> None:
    hosts = [host for preset in presets().values() for host in preset.hosts]
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://API.deepseek.com/v1", "deepseek"),
        ("https://api.kimi.com/coding", "moonshot"),
        ("https://acme.openai.azure.com/openai/v1", "azure"),
        ("http://127.0.0.1:11434/v1", "ollama"),
        ("http://127.0.0.1:8080/v1", None),
        ("https://api.deepseek.com.example.com/v1", None),
        ("https://openai.azure.com", None),
    ],
)
def test_a_preset_by_host(url: str, name: str | None) -> None:
    found = preset_for_url(url)
    assert (found.name if found else None) == name


def test_urls_that_follow_the_base_url() -> None:
    address = Address("http://h/v1", "{base_url}", "https://elsewhere/v1", ("KEY",))
    assert address.filled() == Address("http://h/v1", "http://h/v1", "https://elsewhere/v1", ("KEY",))
    assert address.moved("http://other/v1") == Address("http://other/v1", "http://other/v1", "", ("KEY",))
    assert address.dialects == ("chat", "responses", "messages")
    assert Address("http://h/v1").dialects == ("chat",)


@pytest.mark.parametrize(
    ("preset", "model", "dialect"),
    [
        ("openai", "gpt-4o", "chat"),
        ("openai", "gpt-5.4-mini", "responses"),
        ("openai", "o4-mini", "responses"),
        ("azure", "gpt-5.4", "responses"),
        ("azure", "my-deployment", "chat"),
        ("anthropic", "claude-sonnet-5", "messages"),
        ("minimax", "MiniMax-M2.7", "messages"),
        ("openrouter", "anthropic/claude-sonnet-5", "messages"),
        ("openrouter", "qwen/qwen3-coder", "chat"),
        ("xai", "grok-4.7", "responses"),
        ("copilot", "claude-sonnet-5", "messages"),
        ("litellm", "anthropic/claude-sonnet-5", "messages"),
        ("deepseek", "deepseek-v4-pro", "chat"),
    ],
)
def test_the_dialect_of_a_model(preset: str, model: str, dialect: str) -> None:
    assert profile_of(preset, model).endpoint.dialect == dialect


@pytest.mark.parametrize(
    ("preset", "model", "control", "high"),
    [
        ("openai", "gpt-4o", "none", "high"),
        ("openai", "o4-mini", "effort", "high"),
        ("openai", "gpt-5.2", "effort", "high"),
        ("openai", "gpt-5.4-mini", "effort", "high"),
        ("openai", "gpt-5.2-chat-latest", "effort", "medium"),
        ("deepseek", "deepseek-v4-pro", "thinking_type", "high"),
        ("moonshot", "kimi-k2.6", "thinking_type", ""),
        ("moonshot", "kimi-k3.1", "effort", "high"),
        ("zai", "glm-5.1", "thinking_type", ""),
        ("zai", "glm-5.3", "effort", "high"),
        ("dashscope", "qwen3-max", "enable_thinking", "high"),
        ("dashscope", "deepseek-v4-pro", "enable_thinking_and_effort", "high"),
        ("together", "deepseek-ai/DeepSeek-R2", "reasoning_enabled", ""),
        ("together", "openai/gpt-oss-120b", "effort", "high"),
        ("groq", "openai/gpt-oss-120b", "effort", "high"),
        ("groq", "qwen/qwen3-32b", "effort", "default"),
        ("groq", "llama-3.3-70b", "none", "high"),
        ("openrouter", "x-ai/grok-4.7", "effort_object", "high"),
        ("vllm", "Qwen/Qwen3-32B", "chat_template_kwargs", "high"),
    ],
)
def test_how_reasoning_is_asked_for(preset: str, model: str, control: str, high: str) -> None:
    reasoning = profile_of(preset, model).reasoning
    assert (reasoning.control, reasoning.efforts["high"]) == (control, high)


@pytest.mark.parametrize(
    ("model", "none", "highest"),
    [
        ("gpt-5", "minimal", "high"),
        ("gpt-5-mini", "minimal", "high"),
        ("gpt-5.1", "none", "high"),
        ("gpt-5.4", "none", "xhigh"),
        ("gpt-5.6", "none", "max"),
        ("gpt-6-astra", "low", "max"),
        ("gpt-5.2-pro", "medium", "xhigh"),
        ("o3", "low", "high"),
    ],
)
def test_the_efforts_of_openai(model: str, none: str, highest: str) -> None:
    efforts = profile_of("openai", model).reasoning.efforts
    assert (efforts["none"], efforts["max"]) == (none, highest)


# --- the pages ---


def load_pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("provider_pages", DOCS / "provider_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_preset_has_its_page_and_nothing_else_has_one() -> None:
    written = {path.name for path in (DOCS / "providers").iterdir()}
    assert written == {"README.md", *(f"{name}.md" for name in presets())}


def test_the_pages_are_what_the_presets_say() -> None:
    for path, text in load_pages().pages():
        assert path.read_text("utf-8") == text, "run: python docs/generate.py"


def test_a_page_tells_every_rule_and_its_reason() -> None:
    page = load_pages().page(presets()["zai"])
    assert "# Z.ai (Zhipu)" in page
    assert "not run against the live provider" in page
    assert '| `tools.choices` | `["auto"]` | `tool_choice` values that are understood; others become' in page
    assert (
        '| `reasoning.control` | `"thinking_type"` | The switch `thinking.type`, and `reasoning_effort` if it' in page
    )
    assert "Any choice but `auto` is refused, and nested references come back as text." in page
    assert "### Models `glm-5.3*`\n\nThinking can not be switched off." in page
    assert "| `china` | messages | `https://open.bigmodel.cn/api/anthropic/v1/messages` |" in page
    assert "[anomalyco/opencode#2557](https://github.com/anomalyco/opencode/issues/2557)" in page


def test_every_rule_has_its_words() -> None:
    missing = [
        f"{section}.{field}"
        for section, fields in load_pages().docstrings().items()
        for field, words in fields.items()
        if not words
    ]
    assert not [name for name in missing if not name.startswith("prices.")]
