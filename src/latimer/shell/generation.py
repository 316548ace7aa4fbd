"""A configuration at work: its gateway and what that needs. Reloading makes another; requests end where they began."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from latimer.errors import ConfigError
from latimer.policy.config import Config
from latimer.policy.routing import route_names
from latimer.shell.engine import Engines
from latimer.shell.gateway import Gateway
from latimer.shell.prompt_log import request_id
from latimer.shell.routes import Routes
from latimer.shell.secrets import resolve
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamClient

log = logging.getLogger(__name__)


class Generation:
    """Made by `begin`. What was learned of upstreams and what was counted pass from one to the next."""

    def __init__(self, config: Config, token: str, upstream: UpstreamClient, routes: Routes, after: Generation | None):
        self.config = config
        self.token = token
        """What clients must show; '' asks for nothing."""
        self.open = 0
        """Requests that are being answered."""
        self._upstream = upstream
        self._routes = routes
        self._engines = Engines(config, upstream, routes)
        self.gateway: Gateway = Gateway(config, upstream, self._engines, routes, after.gateway if after else None)

    @classmethod
    async def begin(
        cls, config: Config, state: Path | None, tells: bool, after: Generation | None = None
    ) -> Generation:
        """Keys are resolved anew; with `tells`, those that are missing are told.

        Raises `ConfigError` when no provider has a usable key, or the server's own token is missing.
        """
        token = await asyncio.to_thread(resolve, config.server.token, os.environ)
        upstream = UpstreamClient(config.server, os.environ)
        try:
            await _check_keys(config, upstream, logging.WARNING if tells else logging.DEBUG)
            routes = Routes(config, Store(state) if state else None, after.gateway.routes if after else None)
            return cls(config, token, upstream, routes, after)
        except BaseException:
            await upstream.close()
            raise

    def start(self, tells: bool) -> None:
        """Requests come from now on; with `tells`, where they go is told."""
        self._engines.start()
        if tells:
            _log_destinations(self.config)

    def note(self, identity: str, raw: bytes) -> None:
        """Put a client's request into the prompt log, if there is one."""
        if self._upstream.prompts.on:
            request_id.set(identity)
            self._upstream.prompts.write("request", raw)

    async def close(self) -> None:
        """Nobody uses it any more."""
        await self._engines.stop()
        await self._routes.close()
        await self._upstream.close()


async def _check_keys(config: Config, upstream: UpstreamClient, level: int) -> None:
    """A key that is missing is told at the start; it stops the start only when no provider is left to serve."""
    problems = []
    usable = False
    for one in (one for provider in config.providers.values() for one in provider.by_key()):
        try:
            await upstream.access(one)
            usable = True
        except ConfigError as error:
            problems.append(str(error))
            log.log(level, "%s", error)
    if not usable:
        raise ConfigError("; ".join(problems))


def _log_destinations(config: Config) -> None:
    """Prompts go where the user said, and the user is told."""
    if config.server.prompt_log:
        log.warning("all prompts and answers are written to %s (--prompt-log)", config.server.prompt_log)
    for name in route_names(config):
        provider = config.providers[name.partition("/")[0]]
        log.info("prompts go to %s at %s", name, provider.base_url)
    if classifier := config.auto_mode.classifier:
        where = config.providers[classifier.partition("/")[0]].base_url
        log.info("tool calls of auto mode go to %s at %s for review", classifier, where)
