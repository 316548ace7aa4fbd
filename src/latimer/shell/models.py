"""Asks providers what they say of their own models."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from msgspec import json

from latimer.policy.config import Provider, Server
from latimer.policy.model_lists import read_models
from latimer.policy.models import ModelFacts, both, entry
from latimer.policy.routing import Route
from latimer.shell.engine import entry_of, fetch_json
from latimer.shell.upstream import UpstreamClient

_MORE = {
    "litellm": ("GET", "/v1/model/info"),
    "llamacpp": ("GET", "/props"),
    "lmstudio": ("GET", "/api/v0/models"),
    "ollama": ("POST", "/api/show"),
}
"""Where servers tell more than in `/models`, by the name of their preset."""


async def ask_each(routes: Iterable[Route]) -> list[ModelFacts | None]:
    """What their providers say of the models of some routes, in the same order; None where they say nothing."""
    client = UpstreamClient(Server(), os.environ)
    try:
        return await asyncio.gather(*(ask_model(client, route.provider, route.model) for route in routes))
    finally:
        await client.close()


async def ask_model(client: UpstreamClient, provider: Provider, model: str) -> ModelFacts | None:
    """What the provider says of one model, None when nothing."""
    listed = await fetch_json(client, provider, "GET", f"{provider.base_url}/models")
    known = entry(read_models(listed), model)
    # Only llama.cpp lists models with `meta`; asking others for more would be noise in their logs.
    own = entry_of(listed, model)
    is_llama = own.get("owned_by") == "llamacpp" or isinstance(own.get("meta"), dict)
    kind = "llamacpp" if is_llama else provider.preset
    if kind not in _MORE:
        return known
    method, path = _MORE[kind]
    body = json.encode({"model": model}) if method == "POST" else b""
    url = provider.base_url.removesuffix("/v1") + path
    more = read_models(await fetch_json(client, provider, method, url, body))
    return both(entry(more, model), known)
