"""Write src/latimer/policy/models.json from two packages' data: `python tools/refresh_models.py --help`.

pi-ai comes first for prices. Of two windows the smaller counts, since a prompt that fits it fits both; of two output
limits the larger, since a refusal teaches the true one and a limit that is too small would cut answers unseen. An
ability that the packages disagree on is left out.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).parent.parent / "src" / "latimer" / "policy" / "models.json"
ABOUT = (
    "Facts about tool-capable models, by preset: tokens, list prices in USD per million tokens, abilities. "
    "Made by tools/refresh_models.py; docs/models.md has the rules."
)


class Source(NamedTuple):
    """Where one preset's models stand: pi-ai's file, and litellm's provider with the prefix of its keys."""

    pi: str = ""
    litellm: str = ""
    prefix: str = ""


SOURCES = {
    "anthropic": Source("anthropic", "anthropic"),
    "azure": Source("azure", "azure", "azure/"),
    "cerebras": Source("cerebras", "cerebras", "cerebras/"),
    "copilot": Source("github-copilot", "github_copilot", "github_copilot/"),
    "dashscope": Source("", "dashscope", "dashscope/"),
    "deepseek": Source("deepseek", "deepseek", "deepseek/"),
    "fireworks": Source("fireworks", "fireworks_ai", "fireworks_ai/"),
    "gemini": Source("google", "gemini", "gemini/"),
    "groq": Source("groq", "groq", "groq/"),
    "huggingface": Source("huggingface"),
    "minimax": Source("minimax", "minimax", "minimax/"),
    "mistral": Source("mistral", "mistral", "mistral/"),
    "moonshot": Source("moonshotai", "moonshot", "moonshot/"),
    "nvidia": Source("nvidia"),
    "openai": Source("openai", "openai"),
    "openrouter": Source("openrouter"),
    "sambanova": Source("", "sambanova", "sambanova/"),
    "together": Source("together", "together_ai", "together_ai/"),
    "volcengine": Source("", "volcengine", "volcengine/"),
    "xai": Source("xai", "xai", "xai/"),
    "zai": Source("zai", "zai", "zai/"),
}
PI_UNKNOWN_OUTPUT = 4096
"""What pi-ai's generator writes where its source names no limit."""
UNFIT = re.compile(r"^ft:|audio|realtime|transcribe|tts|search-(api|preview)|deep-research|computer-use")
"""Models that Claude Code can not be run on, and fine-tunes, which have names of their own."""
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
_PRICES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
_ABILITIES = {
    "images": "supports_vision",
    "pdf": "supports_pdf_input",
    "reasoning": "supports_reasoning",
    "tools": "supports_function_calling",
    "json_schema": "supports_response_schema",
}

Facts = dict[str, Any]


def main() -> None:
    """Read the two packages' files and write the data file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pi-ai", type=Path, required=True, metavar="DIR", help="the npm package, unpacked")
    parser.add_argument("--litellm", type=Path, required=True, metavar="DIR", help="the PyPI wheel, unpacked")
    arguments = parser.parse_args()
    today = date.today().isoformat()
    pi, litellm = pi_head(arguments.pi_ai), litellm_head(arguments.litellm)
    prices = json.loads((arguments.litellm / "litellm" / "model_prices_and_context_window_backup.json").read_text())
    tables = {
        preset: table(source, pi_models(arguments.pi_ai, source.pi), prices, today)
        for preset, source in SOURCES.items()
    }
    text = rendered({"about": ABOUT, "made": today, "sources": [pi, litellm]}, tables)
    TARGET.write_text(text, "utf-8")
    print(f"{TARGET}: {sum(map(len, tables.values()))} models, {len(text)} bytes")  # noqa: T201  # its result


def pi_head(package: Path) -> Facts:
    """Name, version and licence of the npm package."""
    told = json.loads((package / "package.json").read_text("utf-8"))
    author = told.get("author", "")
    holder = author.get("name", "") if isinstance(author, dict) else author
    return {"package": f"npm {told['name']} {told['version']}", "license": told["license"], "copyright": holder}


def litellm_head(wheel: Path) -> Facts:
    """Name, version and licence of the PyPI package."""
    (info,) = wheel.glob("litellm-*.dist-info")
    lines = (info / "METADATA").read_text("utf-8").splitlines()
    told = dict(line.split(": ", 1) for line in lines[: lines.index("")] if ": " in line)
    holder = re.search(r"Copyright \(c\) (.+)", (info / "licenses" / "LICENSE").read_text("utf-8"))
    return {
        "package": f"PyPI {told['Name']} {told['Version']}",
        "license": told["License-Expression"],
        "copyright": holder[1] if holder else "",
    }


def pi_models(package: Path, name: str) -> Iterable[Facts]:
    """The chat models of one of pi-ai's files, whatever API they are asked in there."""
    if not name:
        return []
    apis = json.loads((package / "dist" / "providers" / "data" / f"{name}.json").read_text("utf-8"))
    return [model for models in apis.values() for model in models.values() if model["type"] == "chat"]


def table(source: Source, pi: Iterable[Facts], litellm: Mapping[str, Facts], today: str) -> dict[str, Facts]:
    """One preset's models by id, sorted."""
    ours = {model["id"]: from_pi(model) for model in pi}
    theirs = {key: from_litellm(told) for key, told in of_provider(source, litellm, today)}
    ids = sorted(model for model in ours.keys() | theirs.keys() if not UNFIT.search(model))
    return {model: merged(ours.get(model, {}), theirs.get(model, {})) for model in ids}


def of_provider(source: Source, litellm: Mapping[str, Facts], today: str) -> Iterator[tuple[str, Facts]]:
    """litellm's tool-capable models of a provider that are not switched off, under the ids that the provider takes."""
    for key, told in litellm.items():
        name = key.removeprefix(source.prefix)
        regional = source.litellm == "azure" and "/" in name
        alias = source.litellm == "fireworks_ai" and "/" not in name
        fits = told.get("litellm_provider") == source.litellm and told.get("mode") in ("chat", "responses")
        if not fits or regional or alias or told.get("deprecation_date", "9999") < today:
            continue
        if told.get("supports_function_calling"):
            yield name, told


def from_pi(model: Facts) -> Facts:
    """One of pi-ai's models; zeros stand for what it does not know. It lists only models that take tools."""
    output = model["maxTokens"]
    return {
        "context_window": model["contextWindow"],
        "max_output": 0 if output == PI_UNKNOWN_OUTPUT else output,
        "prices": pi_prices(model["cost"], model["id"].endswith(":free")),
        "images": "image" in model["input"],
        "reasoning": model["reasoning"],
        "tools": True,
    }


def pi_prices(cost: Facts, free: bool) -> Facts:
    """Prices per million tokens; a model that is not free by name has no price of nothing."""
    if not (cost["input"] or cost["output"]):
        return {"input": 0, "output": 0} if free else {}
    prices = {"input": cost["input"], "output": cost["output"]}
    prices |= {"cache_read": cost["cacheRead"], "cache_write": cost["cacheWrite"]}
    tiers = [{"above": tier["inputTokensAbove"], **pi_prices(tier, False)} for tier in cost.get("tiers", [])]
    return known({**prices, "tiers": tiers})


def from_litellm(told: Facts) -> Facts:
    """One of litellm's models; it leaves out what it does not know."""
    return {
        "context_window": told.get("max_input_tokens") or 0,
        "max_output": told.get("max_output_tokens") or 0,
        "prices": litellm_prices(told),
        **{ability: told[key] for ability, key in _ABILITIES.items() if key in told},
    }


def litellm_prices(told: Facts) -> Facts:
    """Prices per million tokens, from prices of one token."""
    steps = sorted(told.get("tiered_pricing", []), key=lambda step: step["range"][0])
    first = per_million(steps[0] if steps else told)
    if not first.get("input") or not first.get("output"):
        return {}
    tiers = [{"above": int(step["range"][0]), **per_million(step)} for step in steps[1:]]
    for match in filter(None, map(_ABOVE.fullmatch, told)):
        suffix = f"_above_{match[1]}k_tokens"
        dearer = {key: told[key + suffix] for key in _PRICES.values() if key + suffix in told}
        tiers.append({"above": int(match[1]) * 1000, **first, **per_million(dearer)})
    return known({**first, "tiers": sorted(tiers, key=lambda tier: tier["above"])})


def per_million(told: Facts) -> Facts:
    """litellm's names and units as ours."""
    return known({name: round((told.get(key) or 0) * 1e6, 6) for name, key in _PRICES.items()})


def merged(ours: Facts, theirs: Facts) -> Facts:
    """What both packages say of a model."""
    window = whole_window(ours, theirs)
    output = max(ours.get("max_output", 0), theirs.get("max_output", 0))
    abilities = {name: agreed(ours.get(name), theirs.get(name)) for name in _ABILITIES}
    limits = known({"context_window": window, "max_output": 0 if window and output >= window else output})
    prices = merged_prices(ours.get("prices", {}), theirs.get("prices", {}))
    return {**limits, **known({"prices": prices}), **{k: v for k, v in abilities.items() if v is not None}}


def whole_window(ours: Facts, theirs: Facts) -> int:
    """The smaller window; but where pi-ai's ends just where prices rise, it is a choice of theirs, not a limit."""
    windows = [facts["context_window"] for facts in (ours, theirs) if facts.get("context_window")]
    steps = {tier["above"] for tier in ours.get("prices", {}).get("tiers", [])}
    if len(windows) == 2 and windows[0] in steps:
        return max(windows)
    return min(windows, default=0)


def merged_prices(ours: Facts, theirs: Facts) -> Facts:
    """pi-ai's prices; what they leave out comes from litellm's if that is the same list."""
    same = all(ours.get(name) == theirs.get(name) for name in ("input", "output"))
    return {**theirs, **ours} if same or not ours else ours


def agreed(one: bool | None, other: bool | None) -> bool | None:
    """What is not contradicted."""
    if one is None or other is None:
        return other if one is None else one
    return one if one == other else None


def known(values: Facts) -> Facts:
    """Without what is empty; whole numbers lose their `.0`."""
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in values.items()
        if value
    }


def rendered(head: Facts, tables: Mapping[str, Mapping[str, Facts]]) -> str:
    """JSON with one model in a line."""

    def compact(value: object) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    lines = [f"{compact(key)}:{json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    blocks = []
    for preset, models in tables.items():
        rows = ",\n".join(f"{compact(model)}:{compact(facts)}" for model, facts in models.items())
        blocks.append(f"{compact(preset)}:{{\n{rows}\n}}")
    return "\n".join(["{", *lines, '"presets":{', ",\n".join(blocks), "}}", ""])


if __name__ == "__main__":
    main()
