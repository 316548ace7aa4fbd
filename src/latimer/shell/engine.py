"""What a local engine or a provider tells of itself: the context window, and exact token counts where it counts.

Windows are in lists of models and beside them (`latimer.shell.models`). llama.cpp counts in `POST /apply-template` and
`POST /tokenize` (tools/server/README.md of ggml-org/llama.cpp).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, TypeGuard

from msgspec import UNSET, Raw, Struct, UnsetType, json

from latimer.policy.config import Config, Provider
from latimer.policy.knowledge import Finding
from latimer.policy.routing import Route, route_names
from latimer.shell.models import LLAMA_PROPS, ask_model, fetch_json, root
from latimer.shell.routes import Routes
from latimer.shell.upstream import UpstreamClient

log = logging.getLogger(__name__)


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
            told = await ask_model(self._upstream, route.provider, route.model)
            if told.where == LLAMA_PROPS:
                self._tokenizers.add(name)
            window = told.facts.context_window
            # What a server was started with is truer than what is known of its model.
            if window and window != self._routes.chain(name)[0].profile.request.context_window:
                overlay = {"request": {"context_window": window}}
                why = "the upstream tells its context window"
                self._routes.note(route, Finding(overlay, why, "engine", int(time.time())))
                log.info("%s: context window %d", name, self._routes.chain(name)[0].profile.request.context_window)

    async def _post(self, provider: Provider, path: str, body: Any) -> Any:
        return await fetch_json(self._upstream, provider, "POST", root(provider) + path, json.encode(body))


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0
