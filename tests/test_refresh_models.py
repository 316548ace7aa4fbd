"""The maker of models.json: what it takes from which package, and that the file is what it would write."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tools import refresh_models
from tools.refresh_models import SOURCES, Source, from_litellm, from_pi, merged, rendered, table

PI = {
    "type": "chat",
    "id": "m",
    "reasoning": True,
    "input": ["text", "image"],
    "cost": {"input": 1, "output": 2, "cacheRead": 0.1, "cacheWrite": 0},
    "contextWindow": 200_000,
    "maxTokens": 64_000,
}
LITELLM = {
    "litellm_provider": "p",
    "mode": "chat",
    "max_input_tokens": 200_000,
    "max_output_tokens": 32_000,
    "input_cost_per_token": 1e-06,
    "output_cost_per_token": 2e-06,
    "cache_creation_input_token_cost": 1.25e-06,
    "supports_function_calling": True,
    "supports_vision": True,
    "supports_pdf_input": True,
}


def made(pi: dict[str, Any] | None = None, litellm: dict[str, Any] | None = None) -> dict[str, Any]:
    """The entry of a model that differs from the ones above in these fields; None: the package lacks it."""
    ours = from_pi({**PI, **pi}) if pi is not None else {}
    theirs = from_litellm({**LITELLM, **litellm}) if litellm is not None else {}
    return merged(ours, theirs)


def test_both_packages_together() -> None:
    assert made({}, {}) == {
        "context_window": 200_000,
        "max_output": 64_000,
        "prices": {"input": 1, "output": 2, "cache_read": 0.1, "cache_write": 1.25},
        "images": True,
        "pdf": True,
        "reasoning": True,
        "tools": True,
    }


def test_one_package_alone() -> None:
    assert "pdf" not in made({})
    assert made({})["prices"] == {"input": 1, "output": 2, "cache_read": 0.1}
    assert "reasoning" not in made(None, {})
    assert made(None, {})["max_output"] == 32_000


def test_the_smaller_window_counts() -> None:
    assert made({"contextWindow": 400_000}, {"max_input_tokens": 272_000})["context_window"] == 272_000


def test_a_window_that_ends_where_prices_rise_is_no_limit() -> None:
    tier = {"inputTokensAbove": 272_000, "input": 2, "output": 4, "cacheRead": 0, "cacheWrite": 0}
    cut = {"contextWindow": 272_000, "cost": {**PI["cost"], "tiers": [tier]}}
    entry = made(cut, {"max_input_tokens": 922_000})
    assert entry["context_window"] == 922_000
    assert entry["prices"]["tiers"] == [{"above": 272_000, "input": 2, "output": 4}]


def test_a_limit_that_is_the_window_or_a_placeholder_is_none() -> None:
    assert "max_output" not in made({"maxTokens": 200_000})
    assert "max_output" not in made({"maxTokens": 4096})
    assert made({"maxTokens": 4096}, {"max_output_tokens": 4096})["max_output"] == 4096


def test_an_ability_they_disagree_on_is_left_out() -> None:
    assert "images" not in made({"input": ["text"]}, {})
    assert made({"input": ["text"]}, {"supports_vision": False})["images"] is False
    silent = {key: value for key, value in LITELLM.items() if key != "supports_vision"}
    assert merged(from_pi({**PI, "input": ["text"]}), from_litellm(silent))["images"] is False


def test_nothing_is_no_price() -> None:
    nothing = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
    assert "prices" not in made({"cost": nothing})
    assert made({"cost": nothing, "id": "m:free"})["prices"] == {"input": 0, "output": 0}
    assert "prices" not in made(None, {"input_cost_per_token": 0, "output_cost_per_token": 0})


def test_prices_of_two_lists_are_not_mixed() -> None:
    assert made({}, {"input_cost_per_token": 3e-06})["prices"] == {"input": 1, "output": 2, "cache_read": 0.1}


def test_litellms_tiers() -> None:
    steps = {"input_cost_per_token_above_200k_tokens": 3e-06, "output_cost_per_token_above_200k_tokens": 4e-06}
    assert made(None, steps)["prices"]["tiers"] == [{"above": 200_000, "input": 3, "output": 4, "cache_write": 1.25}]
    ranges = [
        {"range": [32_000, 128_000], "input_cost_per_token": 2e-06, "output_cost_per_token": 6e-06},
        {"range": [0, 32_000], "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06},
    ]
    prices = made(None, {"tiered_pricing": ranges})["prices"]
    assert prices == {"input": 1, "output": 5, "tiers": [{"above": 32_000, "input": 2, "output": 6}]}


def test_which_models_are_taken() -> None:
    others = {
        "p/ours": LITELLM,
        "p/of-another": {**LITELLM, "litellm_provider": "q"},
        "p/embeds": {**LITELLM, "mode": "embedding"},
        "p/no-tools": {**LITELLM, "supports_function_calling": False},
        "p/gone": {**LITELLM, "deprecation_date": "2026-01-01"},
        "p/going": {**LITELLM, "deprecation_date": "2026-12-31"},
        "p/m-audio-preview": LITELLM,
    }
    pi = [{**PI, "id": "z"}, {**PI, "id": "a"}, {**PI, "id": "ft:m"}]
    assert list(table(Source("x", "p", "p/"), pi, others, "2026-06-01")) == ["a", "going", "ours", "z"]


def test_regions_and_aliases_are_left_out() -> None:
    azure = {"azure/gpt-5": LITELLM, "azure/eu/gpt-5": LITELLM}
    azure = {key: {**told, "litellm_provider": "azure"} for key, told in azure.items()}
    assert list(table(SOURCES["azure"], [], azure, "2026-06-01")) == ["gpt-5"]
    fireworks = {"fireworks_ai/m": LITELLM, "fireworks_ai/accounts/fireworks/models/m": LITELLM}
    fireworks = {key: {**told, "litellm_provider": "fireworks_ai"} for key, told in fireworks.items()}
    assert list(table(SOURCES["fireworks"], [], fireworks, "2026-06-01")) == ["accounts/fireworks/models/m"]


def test_the_file_is_as_it_would_be_written() -> None:
    """So nothing in it was changed by hand, which the next refresh would lose."""
    text = refresh_models.TARGET.read_text("utf-8")
    told = json.loads(text)
    tables = told.pop("presets")
    assert rendered(told, tables) == text
    assert set(tables) == set(SOURCES)


def test_the_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pi, litellm = tmp_path / "pi", tmp_path / "litellm"
    data = pi / "dist" / "providers" / "data"
    info = litellm / "litellm-9.9.dist-info"
    for folder in (data, info / "licenses", litellm / "litellm"):
        folder.mkdir(parents=True)
    about = {"name": "@earendil-works/pi-ai", "version": "8.8", "license": "MIT", "author": "Somebody"}
    (pi / "package.json").write_text(json.dumps(about))
    for name in {source.pi for source in SOURCES.values()} - {""}:
        models = {"x": {"chat:m": {**PI, "id": name}, "image:m": {**PI, "type": "image"}}}
        (data / f"{name}.json").write_text(json.dumps(models))
    (info / "METADATA").write_text("Name: litellm\nVersion: 9.9\nLicense-Expression: MIT\n\nNot: read\n")
    (info / "licenses" / "LICENSE").write_text("MIT License\n\nCopyright (c) 2023 Them\n")
    prices = {"sambanova/n": {**LITELLM, "litellm_provider": "sambanova"}}
    (litellm / "litellm" / "model_prices_and_context_window_backup.json").write_text(json.dumps(prices))
    target = tmp_path / "models.json"
    monkeypatch.setattr(refresh_models, "TARGET", target)
    monkeypatch.setattr(sys, "argv", ["refresh_models", "--pi-ai", str(pi), "--litellm", str(litellm)])
    refresh_models.main()
    made = json.loads(target.read_text("utf-8"))
    assert made["sources"] == [
        {"package": "npm @earendil-works/pi-ai 8.8", "license": "MIT", "copyright": "Somebody"},
        {"package": "PyPI litellm 9.9", "license": "MIT", "copyright": "2023 Them"},
    ]
    assert list(made["presets"]["openai"]) == ["openai"]
    assert list(made["presets"]["sambanova"]) == ["n"]
    assert made["presets"]["volcengine"] == {}
    assert str(target) in capsys.readouterr().out
