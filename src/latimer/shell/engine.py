"""What a local engine or a provider tells of itself: the context window, and exact token counts where it counts.

llama.cpp: `GET /props`, `POST /apply-template`, `POST /tokenize` (tools/server/README.md of ggml-org/llama.cpp).
vLLM and SGLang: `max_model_len` in `GET /models`. OpenRouter and others: `context_length` there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from typing import Any, TypeGuard

from msgspec import UNSET, Raw, Struct, UnsetType, json

from latimer.errors import ConfigError
from latimer.policy.config import Config, Provider, Server
from latimer.policy.knowledge import Finding
from latimer.policy.routing import Route, route_names
from latimer.shell.routes import Routes
from latimer.shell.upstream import NO_HEADERS, UpstreamClient

log = logging.getLogger(__name__)

ASK_SECONDS = 3.0
WINDOW_KEYS = ("context_length", "max_model_len", "context_window", "max_context_length")


class Prompt(Struct, omit_defaults=True):
    """What of a request the model reads."""

    messages: Raw
    tools: Raw | UnsetType = UNSET


_prompt: json.Decoder[Prompt] = json.Decoder(Prompt)


class Engines:
    """Asks the upstreams of a configuration once, in the background; what they tell is noted in `routes`."""

    def __init__(self, config: Config, upstream: UpstreamClient, routes: Routes) -> None:
        self._routes = routes
        self._config = config
        self._upstream = upstream
        self._tokenizers: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin asking. Requests do not wait for the answers."""
        self._task = asyncio.create_task(self._ask_all())

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def counts(self, route: Route) -> bool:
        """Whether the route's upstream is known to count tokens."""
        return route.name in self._tokenizers

    async def count(self, route: Route, body: bytes) -> int | None:
        """The prompt's tokens in a Chat Completions body as the upstream counts them, None when it does not."""
        template = await self._post(route.provider, "/apply-template", _prompt.decode(body))
        prompt = template.get("prompt") if isinstance(template, dict) else None
        if not isinstance(prompt, str):
            return None
        counted = await self._post(route.provider, "/tokenize", {"content": prompt, "add_special": True})
        tokens = counted.get("tokens") if isinstance(counted, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    async def count_natively(self, route: Route, body: bytes, headers: Mapping[str, str]) -> int | None:
        """The prompt's tokens in a Messages body by the upstream's own `count_tokens`, None when it does not count."""
        url = f"{route.provider.url('messages')}/count_tokens"
        counted = await fetch_json(self._upstream, route.provider, "POST", url, body, headers)
        tokens = counted.get("input_tokens") if isinstance(counted, dict) else None
        return tokens if _is_count(tokens) else None

    async def _ask_all(self) -> None:
        for name in route_names(self._config):
            route = self._routes.chain(name)[0]
            window, tokenizes = await ask(self._upstream, route.provider, route.model)
            if tokenizes:
                self._tokenizers.add(name)
            # What a server was started with is truer than what is known of its model.
            if window and window != self._routes.chain(name)[0].profile.request.context_window:
                told = {"request": {"context_window": window}}
                why = "the upstream tells its context window"
                self._routes.note(route, Finding(told, why, "engine", int(time.time())))
                log.info("%s: context window %d", name, self._routes.chain(name)[0].profile.request.context_window)

    async def _post(self, provider: Provider, path: str, body: Any) -> Any:
        return await fetch_json(self._upstream, provider, "POST", _root(provider) + path, json.encode(body))


async def context_window(provider: Provider, model: str) -> int:
    """The model's context window in tokens, 0 when nobody tells."""
    client = UpstreamClient(Server(), os.environ)
    try:
        window, _ = await ask(client, provider, model)
    finally:
        await client.close()
    return window


async def ask(client: UpstreamClient, provider: Provider, model: str) -> tuple[int, bool]:
    """The context window (0 unknown), and whether the engine has llama.cpp's tokenizing calls."""
    models = await fetch_json(client, provider, "GET", f"{provider.base_url}/models")
    entry = entry_of(models, model)
    window = next((entry[key] for key in WINDOW_KEYS if _is_count(entry.get(key))), 0)
    # Only llama.cpp lists models with this; asking other providers for /props would be noise in their logs.
    if not isinstance(entry.get("meta"), dict) and entry.get("owned_by") != "llamacpp":
        return window, False
    props = await fetch_json(client, provider, "GET", _root(provider) + "/props")
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    size = settings.get("n_ctx") if isinstance(settings, dict) else None
    return (size, True) if _is_count(size) else (window, False)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0


def entry_of(models: Any, model: str) -> dict[str, Any]:
    """The model's own entry in a list of models; a server with one model may know it by another name."""
    entries = models.get("data") if isinstance(models, dict) else models
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    named = [entry for entry in known if entry.get("id") == model]
    if named or len(known) == 1:
        return (named or known)[0]
    return {}


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


def _root(provider: Provider) -> str:
    return provider.base_url.removesuffix("/v1")
