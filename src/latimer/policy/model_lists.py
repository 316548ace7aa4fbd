"""What servers say of their own models, in the words of each: `GET /models` and its neighbours.

Read are the lists of OpenRouter, Together (a bare array), Fireworks, Groq, Mistral, Anthropic, Volcengine, GitHub
Copilot, Hugging Face's router, LiteLLM (`/model/info`), vLLM, SGLang, llama.cpp (`/models`, `/props`), LM Studio
(`/api/v0/models`, `/api/v1/models`) and Ollama (`/api/show`, `/api/ps`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from msgspec import Struct

from latimer.policy.models import ModelFacts, facts_in
from latimer.profile import PriceRules

Entry = Mapping[str, Any]

ENGINES = {"llamacpp": "llamacpp", "vllm": "vllm", "sglang": "sglang"}
"""`owned_by` in a list of models -> the preset of the engine that writes it."""

_MILLION = 1_000_000
_LISTS = ("data", "models")
_IDS = ("id", "key", "model_name", "model", "name")
_WINDOWS = (
    "context_length",
    "context_window",
    "max_model_len",
    "max_context_length",
    "loaded_context_length",
    "max_input_tokens",
    "top_provider.context_length",
    "token_limits.context_window",
    "token_limits.max_input_token_length",
    "capabilities.limits.max_context_window_tokens",
    "capabilities.limits.max_prompt_tokens",
    "model_info.max_input_tokens",
    "default_generation_settings.n_ctx",
    "meta.n_ctx",
)
"""Of llama.cpp's `meta`, `n_ctx_train` is not among them: it is what the model learned on, not what is served."""
_OUTPUTS = (
    "max_completion_tokens",
    "max_output_tokens",
    "top_provider.max_completion_tokens",
    "token_limits.max_output_token_length",
    "capabilities.limits.max_output_tokens",
    "model_info.max_output_tokens",
)
_MODALITIES = ("architecture.input_modalities", "modalities.input_modalities", "input_modalities")
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "images": (
        "capabilities.vision",
        "capabilities.supports.vision",
        "capabilities.image_input.supported",
        "modalities.vision",
        "supports_image_input",
        "model_info.supports_vision",
    ),
    "pdf": ("capabilities.pdf_input.supported", "model_info.supports_pdf_input"),
    "reasoning": (
        "capabilities.reasoning",
        "capabilities.supports.thinking",
        "capabilities.thinking.supported",
        "model_info.supports_reasoning",
    ),
    "tools": (
        "capabilities.function_calling",
        "capabilities.supports.tool_calls",
        "capabilities.trained_for_tool_use",
        "features.tools.function_calling",
        "supports_tools",
        "model_info.supports_function_calling",
    ),
    "json_schema": (
        "capabilities.structured_outputs.supported",
        "capabilities.supports.structured_outputs",
        "supports_structured_output",
        "model_info.supports_response_schema",
    ),
}
_WORDS = {
    "images": ("image", "vision"),
    "pdf": ("file", "pdf"),
    "reasoning": ("reasoning", "thinking"),
    "tools": ("tools", "tool_use"),
    "json_schema": ("structured_outputs",),
}
"""What stands for an ability in a list of modalities, parameters or capabilities."""
_TOLD_BY: Mapping[str, tuple[str, ...]] = {
    "images": (*_MODALITIES, "capabilities"),
    "pdf": _MODALITIES,
    "reasoning": ("supported_parameters", "capabilities"),
    "tools": ("supported_parameters", "capabilities"),
    "json_schema": ("supported_parameters",),
}
"""The lists that would name an ability, and so deny it by not naming it."""


class Told(Struct, frozen=True):
    """What a server says of one of its models, which preset's engine it names itself ('' for none), and where."""

    facts: ModelFacts = ModelFacts()
    engine: str = ""
    where: str = "GET /models"


def read_told(listed: object, model: str) -> Told:
    """What a decoded list of models says of one of them."""
    engine = ENGINES.get(str(own_entry(listed, model).get("owned_by") or "").lower(), "")
    return Told(facts_in(read_models(listed), model) or ModelFacts(), engine)


def own_entry(listed: object, model: str) -> Entry:
    """A model's own entry; a server with one model may know it by another name. {} when there is none."""
    entries = _entries(listed)
    named = [each for each in entries if each.get("id") == model]
    return (named or entries)[0] if named or len(entries) == 1 else {}


def has_props(entry: Entry) -> bool:
    """Whether a model is listed as llama.cpp does it, which tells more in `/props`."""
    return entry.get("owned_by") == "llamacpp" or isinstance(entry.get("meta"), Mapping)


def read_models(told: object) -> dict[str, ModelFacts]:
    """What a decoded JSON answer says of each model, by id; nothing where it is no such answer.

    Aliases stand under their own names, and Hugging Face's providers as `model:provider`. What describes one model
    without naming it stands under ''. Prices are in US dollars per million tokens.
    """
    return {name: known for entry in _entries(told) for name, known in _named(entry)}


def _entries(told: object) -> list[Entry]:
    if isinstance(told, Mapping):
        listed = next((told[key] for key in _LISTS if isinstance(told.get(key), list)), [told])
    else:
        listed = told if isinstance(told, list) else []
    return [entry for entry in listed if isinstance(entry, Mapping)]


def _named(entry: Entry) -> Iterator[tuple[str, ModelFacts]]:
    name = next((entry[key] for key in _IDS if _is_text(entry.get(key))), "")
    hosts = [host for host in _list(entry, "providers") if isinstance(host, Mapping)]
    known = _of_hosts(entry, hosts) if hosts else _facts(entry)
    for alias in (name, *filter(_is_text, _list(entry, "aliases"))):
        yield alias, known
    for host in hosts:
        if _is_text(host.get("provider")):
            yield f"{name}:{host['provider']}", _facts({**entry, **host})


def _facts(entry: Entry) -> ModelFacts:
    windows = [*_counts(entry, _WINDOWS), *_ollama_windows(entry), *_loaded_windows(entry)]
    window = min(windows, default=0)
    outputs = (*_OUTPUTS, "max_tokens") if entry.get("type") == "model" else _OUTPUTS  # Anthropic's
    most = min(_counts(entry, outputs), default=0)
    abilities = {name: _ability(entry, name) for name in _FLAGS}
    return ModelFacts(window, 0 if window and most >= window else most, _prices(entry), **abilities)


def _of_hosts(entry: Entry, hosts: Iterable[Entry]) -> ModelFacts:
    """What holds whichever host answers: the least window, and what all of them agree on."""
    served = [_facts({**entry, **host}) for host in hosts if host.get("status", "live") == "live"]
    if not served:
        return _facts(entry)
    windows = [known.context_window for known in served if known.context_window]
    alike = {name: {getattr(known, name) for known in served} for name in ("prices", *_FLAGS)}
    agreed = {name: values.pop() for name, values in alike.items() if len(values) == 1}
    return ModelFacts(context_window=min(windows, default=0), **agreed)


def _ollama_windows(entry: Entry) -> Iterator[int]:
    """`/api/show`: what the model can take, and `num_ctx` where its parameters set less."""
    info = entry.get("model_info")
    if isinstance(info, Mapping):
        yield from (value for key, value in info.items() if key.endswith(".context_length") and _is_count(value))
    parameters = entry.get("parameters")
    for line in parameters.splitlines() if isinstance(parameters, str) else ():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and value.strip().isdecimal():
            yield int(value)


def _loaded_windows(entry: Entry) -> Iterator[int]:
    """LM Studio: what the loaded model was given."""
    for loaded in _list(entry, "loaded_instances"):
        if isinstance(loaded, Mapping):
            yield from _counts(loaded, ("config.context_length",))


def _ability(entry: Entry, name: str) -> bool | None:
    for path in _FLAGS[name]:
        flag = _at(entry, path)
        if isinstance(flag, bool):
            return flag
        if isinstance(flag, Mapping) and path == "capabilities.reasoning":  # LM Studio describes how it is asked for
            return True
    lists = [told for path in _TOLD_BY[name] if isinstance(told := _at(entry, path), list)]
    if name == "images" and entry.get("type") == "vlm":
        return True
    return any(word in told for told in lists for word in _WORDS[name]) if lists else None


def _prices(entry: Entry) -> PriceRules:
    """OpenRouter's are text, for one token; LiteLLM's numbers, for one token; others' numbers, for a million."""
    pricing, info = entry.get("pricing"), entry.get("model_info")
    if isinstance(pricing, Mapping) and "prompt" in pricing:
        names = ("prompt", "completion", "input_cache_read", "input_cache_write")
        return _price([_dollars(pricing.get(name), _MILLION) for name in names], free=entry.get("id"))
    if isinstance(pricing, Mapping):
        return _price([_dollars(pricing.get(name), 1) for name in ("input", "output", "cached_input", "cache_write")])
    if isinstance(info, Mapping):
        costs = ("input_cost_per_token", "output_cost_per_token")
        cached = ("cache_read_input_token_cost", "cache_creation_input_token_cost")
        return _price([_dollars(info.get(name), _MILLION) for name in (*costs, *cached)])
    return PriceRules()


def _price(dollars: list[float | None], free: object = "") -> PriceRules:
    """A model that costs nothing has a price only if its name says that it is free: zeros also stand for "unknown"."""
    read, write = dollars[2] or None, dollars[3] or None
    if not any(dollars[:2]):
        return PriceRules(0, 0) if _is_text(free) and free.endswith(":free") else PriceRules()
    return PriceRules(dollars[0], dollars[1], read, write)


def _dollars(told: object, factor: int) -> float | None:
    if isinstance(told, bool) or not isinstance(told, str | int | float):
        return None
    try:
        price = float(told)
    except ValueError:
        return None
    return round(price * factor, 6) if 0 <= price < float("inf") else None  # OpenRouter's -1: it depends


def _counts(entry: Entry, paths: Iterable[str]) -> list[int]:
    return [value for path in paths if _is_count(value := _at(entry, path))]


def _at(entry: Entry, path: str) -> Any:
    value: Any = entry
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _list(entry: Entry, key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""
