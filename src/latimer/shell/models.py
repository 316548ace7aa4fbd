"""Asks providers what they say of their own models, in one or two requests that cost no tokens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import json

from latimer.dialects.messages.headers import VERSION
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import ConfigError
from latimer.policy.config import Provider, Server
from latimer.policy.model_lists import Told, has_props, own_entry, read_models, read_told
from latimer.policy.models import ModelFacts, both, facts_in
from latimer.policy.routing import Route
from latimer.shell.upstream import NO_HEADERS, UpstreamClient

ASK_SECONDS = 3.0
LISTING: Mapping[str, str] = {VERSION: OLD_VERSION}
"""Headers of a question for a list of models: Anthropic's API answers none without it; others do not know it."""
_MORE = {
    "litellm": ("GET", "/v1/model/info"),
    "llamacpp": ("GET", "/props"),
    "lmstudio": ("GET", "/api/v0/models"),
    "ollama": ("POST", "/api/show"),
}
"""Where servers tell more than in `/models`, by the name of their preset."""
LLAMA_PROPS = "GET /props"
"""Where a `Told` is from that only llama.cpp gives, so that its other endpoints are there."""


async def ask_each(routes: Iterable[Route]) -> list[ModelFacts]:
    """What their providers say of the models of some routes, in the same order."""
    client = UpstreamClient(Server(), os.environ)
    try:
        told = await asyncio.gather(*(ask_model(client, route.provider, route.model) for route in routes))
        return [each.facts for each in told]
    finally:
        await client.close()


async def ask_model(client: UpstreamClient, provider: Provider, model: str) -> Told:
    """What the provider says of one model."""
    listed = await fetch_json(client, provider, "GET", f"{provider.base_url}/models", headers=LISTING)
    told = read_told(listed, model)
    # Asking others for what only some servers have would be noise in their logs.
    kind = "llamacpp" if has_props(own_entry(listed, model)) else provider.preset
    if kind not in _MORE:
        return told
    method, path = _MORE[kind]
    body = json.encode({"model": model}) if method == "POST" else b""
    more = facts_in(read_models(await fetch_json(client, provider, method, root(provider) + path, body)), model)
    if more is None or more == ModelFacts():
        return told
    return Told(both(more, told.facts) or more, told.engine, f"{method} {path}")


async def fetch_json(  # a request has these parts
    client: UpstreamClient,
    provider: Provider,
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] = NO_HEADERS,
) -> Any:
    """A JSON answer, None when there is none: these questions are optional, so nothing here is an error."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            status, answer = await client.fetch(provider, method, url, body, headers)
        return json.decode(answer) if status == 200 else None
    except (ConfigError, OSError, ValueError):  # TimeoutError is an OSError
        return None


def root(provider: Provider) -> str:
    """The URL of a server, below which it has endpoints of its own."""
    return provider.base_url.removesuffix("/v1")
