"""What an upstream tells of a model without being asked for tokens: its entry in `GET /models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from latimer.profile import Price

ENGINES = {"llamacpp": "llamacpp", "vllm": "vllm", "sglang": "sglang"}
"""`owned_by` in a list of models -> the preset of the engine that writes it."""


class Told(Struct, frozen=True):
    """`window` in tokens, 0 when unknown; `images` None when it says nothing of them; `engine` is a preset's name."""

    window: int = 0
    images: bool | None = None
    engine: str = ""
    prices: Price | None = None
    where: str = "GET /models"


def read_entry(entry: Mapping[str, Any], window: int) -> Told:
    """What a model's entry says; `window` is what is known of it by then.

    OpenRouter and llama.cpp: `architecture.input_modalities`; Mistral: `capabilities.vision`; OpenRouter: `pricing`.
    """
    return Told(window, _images(entry), ENGINES.get(str(entry.get("owned_by") or "").lower(), ""), _prices(entry))


def _images(entry: Mapping[str, Any]) -> bool | None:
    architecture, capabilities = entry.get("architecture"), entry.get("capabilities")
    modalities = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    if isinstance(modalities, list):
        return "image" in modalities
    vision = capabilities.get("vision") if isinstance(capabilities, dict) else None
    return vision if isinstance(vision, bool) else None


def _prices(entry: Mapping[str, Any]) -> Price | None:
    pricing = entry.get("pricing")
    if not isinstance(pricing, dict) or not {"prompt", "completion"} <= set(pricing):
        return None
    try:
        prices = [1e6 * float(pricing[each]) for each in ("prompt", "completion")]
    except (TypeError, ValueError):
        return None
    return Price(*prices) if min(prices) >= 0 else None  # OpenRouter: -1 where it varies
