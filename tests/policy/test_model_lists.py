"""What servers say of their models, one shape after the other."""

from typing import Any

import pytest

from latimer.policy.model_lists import Told, has_props, own_entry, read_models, read_told
from latimer.policy.models import ModelFacts
from latimer.profile import PriceRules

OPENROUTER = {
    "data": [
        {
            "id": "z-ai/glm-5.2",
            "context_length": 1_000_000,
            "architecture": {"input_modalities": ["text", "image", "file"]},
            "top_provider": {"context_length": 202_752, "max_completion_tokens": 131_072},
            "supported_parameters": ["tools", "tool_choice", "reasoning", "structured_outputs"],
            "pricing": {
                "prompt": "0.0000014",
                "completion": "0.0000044",
                "input_cache_read": "0.00000026",
                "input_cache_write": "0",
                "image": "0",
            },
        },
        {
            "id": "z-ai/glm-5.2:free",
            "context_length": 131_072,
            "architecture": {"input_modalities": ["text"]},
            "top_provider": {"context_length": 131_072, "max_completion_tokens": None},
            "supported_parameters": ["temperature"],
            "pricing": {"prompt": "0", "completion": "0"},
        },
        {
            "id": "openrouter/auto",
            "context_length": 2_000_000,
            "pricing": {"prompt": "-1", "completion": "-1"},
        },
    ]
}


def test_openrouter() -> None:
    found = read_models(OPENROUTER)
    assert found == {
        "z-ai/glm-5.2": ModelFacts(
            202_752,
            131_072,
            PriceRules(1.4, 4.4, 0.26),
            images=True,
            pdf=True,
            reasoning=True,
            tools=True,
            json_schema=True,
        ),
        "z-ai/glm-5.2:free": ModelFacts(
            131_072, 0, PriceRules(0, 0), images=False, pdf=False, reasoning=False, tools=False, json_schema=False
        ),
        "openrouter/auto": ModelFacts(2_000_000),
    }


def test_togethers_bare_array() -> None:
    told = [
        {
            "id": "moonshotai/Kimi-K3",
            "type": "chat",
            "context_length": 1_048_576,
            "pricing": {"hourly": 0, "input": 3, "output": 15, "cached_input": 0.3, "base": 0, "finetune": 0},
        },
        {"id": "x/dedicated", "type": "chat", "context_length": 32_768, "pricing": {"input": 0, "output": 0}},
    ]
    assert read_models(told) == {
        "moonshotai/Kimi-K3": ModelFacts(1_048_576, 0, PriceRules(3, 15, 0.3)),
        "x/dedicated": ModelFacts(32_768),  # zeros without the word for it are no price
    }


def test_volcengine() -> None:
    told = {
        "data": [
            {
                "id": "doubao-seed-2-1-pro-260915",
                "status": "Active",
                "task_type": ["TextGeneration"],
                "token_limits": {
                    "context_window": 1_280_000,
                    "max_input_token_length": 1_024_000,
                    "max_output_token_length": 256_000,
                },
                "features": {"tools": {"function_calling": True}},
                "modalities": {"input_modalities": ["text", "image"]},
            }
        ]
    }
    known = ModelFacts(1_024_000, 256_000, images=True, pdf=False, tools=True)
    assert read_models(told) == {"doubao-seed-2-1-pro-260915": known}


def test_copilot() -> None:
    limits = {"max_prompt_tokens": 128_000, "max_output_tokens": 16_000, "max_context_window_tokens": 200_000}
    supports = {"tool_calls": True, "vision": True, "structured_outputs": False, "adaptive_thinking": True}
    told = {"data": [{"id": "claude-sonnet-5.5", "capabilities": {"limits": limits, "supports": supports}}]}
    known = ModelFacts(128_000, 16_000, images=True, tools=True, json_schema=False)
    assert read_models(told) == {"claude-sonnet-5.5": known}


def test_hugging_faces_router() -> None:
    host = {"status": "live", "supports_tools": True, "supports_structured_output": True}
    told = {
        "data": [
            {
                "id": "moonshotai/Kimi-K3",
                "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
                "providers": [
                    {**host, "provider": "novita", "context_length": 262_144, "pricing": {"input": 1, "output": 4}},
                    {
                        **host,
                        "provider": "together",
                        "context_length": 1_048_576,
                        "pricing": {"input": 3, "output": 15},
                        "supports_structured_output": False,
                    },
                    {**host, "provider": "gone", "status": "error", "context_length": 4096, "supports_tools": False},
                ],
            }
        ]
    }
    found = read_models(told)
    # Any live one may answer: the least window, no price, and what they agree on.
    assert found["moonshotai/Kimi-K3"] == ModelFacts(262_144, images=True, pdf=False, tools=True)
    together = found["moonshotai/Kimi-K3:together"]
    assert (together.context_window, together.prices) == (1_048_576, PriceRules(3, 15))
    assert together.json_schema is False
    assert found["moonshotai/Kimi-K3:novita"].prices == PriceRules(1, 4)


def test_mistral() -> None:
    capabilities = {"completion_chat": True, "function_calling": True, "vision": False}
    told = {
        "object": "list",
        "data": [
            {
                "id": "devstral-2512",
                "aliases": ["devstral-latest"],
                "max_context_length": 262_144,
                "capabilities": capabilities,
            }
        ],
    }
    known = ModelFacts(262_144, images=False, tools=True)
    assert read_models(told) == {"devstral-2512": known, "devstral-latest": known}


@pytest.mark.parametrize(
    ("told", "known"),
    [
        pytest.param(
            {"id": "m", "active": True, "context_window": 131_072, "max_completion_tokens": 65_536},
            ModelFacts(131_072, 65_536),
            id="groq",
        ),
        pytest.param(
            {"id": "m", "context_length": 262_144, "supports_tools": True, "supports_image_input": False},
            ModelFacts(262_144, images=False, tools=True),
            id="fireworks",
        ),
        pytest.param({"id": "m", "object": "model", "max_model_len": 40_960}, ModelFacts(40_960), id="vllm, sglang"),
        pytest.param({"id": "m", "meta": {"n_ctx_train": 131_072}}, ModelFacts(), id="llama.cpp, trained"),
        pytest.param({"id": "m", "meta": {"n_ctx_train": 131_072, "n_ctx": 8192}}, ModelFacts(8192), id="llama.cpp"),
        pytest.param(
            {
                "id": "m",
                "type": "vlm",
                "max_context_length": 131_072,
                "loaded_context_length": 8192,
                "capabilities": ["tool_use"],
            },
            ModelFacts(8192, images=True, reasoning=False, tools=True),
            id="lm studio v0",
        ),
        pytest.param(
            {
                "id": "m",
                "type": "model",
                "max_input_tokens": 1_000_000,
                "max_tokens": 128_000,
                "capabilities": {
                    "image_input": {"supported": True},
                    "pdf_input": {"supported": True},
                    "structured_outputs": {"supported": True},
                    "thinking": {"supported": True},
                },
            },
            ModelFacts(1_000_000, 128_000, images=True, pdf=True, reasoning=True, json_schema=True),
            id="anthropic",
        ),
        pytest.param({"id": "m", "object": "model", "owned_by": "openai"}, ModelFacts(), id="only an id"),
        pytest.param(
            {"id": "m", "context_length": 4096, "max_output_tokens": 4096}, ModelFacts(4096), id="no own limit"
        ),
    ],
)
def test_an_entry(told: dict[str, Any], known: ModelFacts) -> None:
    assert read_models({"object": "list", "data": [told]}) == {"m": known}


def test_lm_studio_v1() -> None:
    told = {
        "models": [
            {
                "key": "qwen/qwen3-8b",
                "type": "llm",
                "max_context_length": 131_072,
                "loaded_instances": [{"id": "i", "config": {"context_length": 16_384}}],
                "capabilities": {"vision": False, "trained_for_tool_use": True, "reasoning": {"default": "on"}},
            }
        ]
    }
    known = ModelFacts(16_384, images=False, reasoning=True, tools=True)
    assert read_models(told) == {"qwen/qwen3-8b": known}


def test_litellm() -> None:
    info = {
        "max_input_tokens": 200_000,
        "max_output_tokens": 64_000,
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 3e-07,
        "supports_vision": True,
        "supports_function_calling": True,
        "supports_reasoning": None,
    }
    empty = dict.fromkeys(info)
    told = {"data": [{"model_name": "sonnet", "model_info": info}, {"model_name": "own", "model_info": empty}]}
    known = ModelFacts(200_000, 64_000, PriceRules(3, 15, 0.3), images=True, tools=True)
    assert read_models(told) == {"sonnet": known, "own": ModelFacts()}


def test_ollama() -> None:
    info = {"general.architecture": "qwen3", "qwen3.context_length": 40_960, "qwen3.block_count": 36}
    show = {
        "model_info": info,
        "capabilities": ["completion", "tools", "thinking"],
        "parameters": "stop <|x|>\ntop_k 20",
    }
    known = ModelFacts(40_960, images=False, reasoning=True, tools=True)
    assert read_models(show) == {"": known}
    less = read_models({**show, "parameters": "num_ctx                        8192\nstop x"})
    assert less[""].context_window == 8192
    loaded = {"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 6, "context_length": 4096}]}
    assert read_models(loaded) == {"qwen3:8b": ModelFacts(4096)}


def test_llama_cpps_props() -> None:
    told = {"default_generation_settings": {"n_ctx": 8192}, "modalities": {"vision": True, "audio": False}}
    assert read_models(told) == {"": ModelFacts(8192, images=True)}


@pytest.mark.parametrize(
    "told",
    [None, 7, "x", [], {"data": []}, [1, None], {"data": [None, "m"]}],
)
def test_what_is_no_list_of_models(told: object) -> None:
    assert read_models(told) == {}


@pytest.mark.parametrize("junk", [None, True, -1, 0, "8192", 8192.5, [], {}, [8192]])
def test_what_is_no_number_is_unknown(junk: object) -> None:
    told = {
        "id": "m",
        "context_length": junk,
        "max_completion_tokens": junk,
        "top_provider": junk,
        "capabilities": junk,
        "model_info": junk,
        "parameters": junk,
        "loaded_instances": junk,
        "aliases": junk,
    }
    assert read_models({"data": [told]})["m"].context_window == 0


@pytest.mark.parametrize("price", [None, True, "", "x", "nan", "inf", "-1", -0.5, [], {}])
def test_what_is_no_price_is_unknown(price: object) -> None:
    told = {"id": "m", "pricing": {"prompt": price, "completion": price}}
    assert read_models([told])["m"].prices == PriceRules()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, Told()),
        (
            {"owned_by": "llamacpp", "architecture": {"input_modalities": ["text"]}},
            Told(ModelFacts(images=False, pdf=False), "llamacpp"),
        ),
        ({"owned_by": "vllm", "max_model_len": 4096}, Told(ModelFacts(4096), "vllm")),
        ({"owned_by": "SGLang"}, Told(engine="sglang")),
        ({"owned_by": "openai"}, Told()),
        ({"owned_by": None}, Told()),
    ],
)
def test_a_model_and_its_engine(entry: dict[str, Any], told: Told) -> None:
    assert read_told({"data": [{"id": "m", **entry}]}, "m") == told
    assert read_told({"data": [{"id": "other"}, {"id": "m", **entry}]}, "m") == told
    assert read_told({"data": [{"id": "other"}, {"id": "another", **entry}]}, "m") == Told()


def test_a_models_own_entry() -> None:
    one, other = {"id": "a"}, {"id": "b"}
    assert own_entry({"data": [one, other]}, "b") == other
    assert own_entry([one], "b") == one
    assert own_entry([one, other], "c") == own_entry(None, "c") == {}


def test_what_llama_cpp_looks_like() -> None:
    assert has_props({"owned_by": "llamacpp"})
    assert has_props({"meta": {}})
    assert not has_props({"owned_by": "vllm", "meta": None})
