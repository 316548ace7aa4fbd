"""What `latimer init` does beside asking: lists a provider's models, tries them, writes the configuration."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from msgspec import json
from msgspec.structs import replace

from latimer.dialects.errors.error_body import read_body
from latimer.dialects.errors.failures import Asked, failure_of
from latimer.errors import ConfigError, LatimerError, Rejection
from latimer.policy.config import LITERAL, Config, Provider
from latimer.policy.setup import model_names
from latimer.shell.client_stream import WholeClient
from latimer.shell.engine import Engines
from latimer.shell.files import PRIVATE, save
from latimer.shell.gateway import Gateway
from latimer.shell.hop import Call
from latimer.shell.models import LISTING
from latimer.shell.routes import Routes
from latimer.shell.upstream import UpstreamClient, named_failure

LIST_SECONDS = 15.0
CHECK_SECONDS = 120.0
"""A local engine may have to load the model first."""
QUESTION = "Reply with the word OK."
ROOM = 256


def with_key(config: Config, name: str, key: str) -> Config:
    """The configuration with a provider's key in it, which is stored nowhere yet."""
    if not key:
        return config
    provider = replace(config.providers[name], api_key=f"{LITERAL}{key}")
    return replace(config, providers={**config.providers, name: provider})


async def list_models(config: Config, name: str) -> list[str]:
    """The models that a provider lists; [] when it lists none.

    Raises Rejection when it refuses the key or cannot be reached, ConfigError when the key cannot be read.
    """
    provider = config.providers[name]
    client = UpstreamClient(config.server, os.environ)
    try:
        return await _listed(client, provider)
    finally:
        await client.close()


async def _listed(client: UpstreamClient, provider: Provider) -> list[str]:
    asked = Asked(provider.name, provider.name, _shown_source(provider), "models", 0, 0, None)
    try:
        async with asyncio.timeout(LIST_SECONDS):
            status, body = await client.fetch(provider, "GET", f"{provider.base_url}/models", headers=LISTING)
    except OSError as error:  # TimeoutError is an OSError
        raise Rejection(named_failure(error, provider.base_url, asked)) from None
    if status in (401, 402, 403):
        raise Rejection(failure_of(status, {}, read_body(body), asked, time.time()))
    if status != 200:
        return []  # some providers have no list
    with suppress(ValueError):
        return model_names(json.decode(body))
    return []


def _shown_source(provider: Provider) -> str:
    return "" if provider.api_key.startswith(LITERAL) else provider.api_key


async def check(config: Config, model_id: str) -> str:
    """Ask for one word on Latimer's own path; '' when the answer came, else what failed and its cure."""
    client = UpstreamClient(config.server, os.environ)
    routes = Routes(config)
    gateway = Gateway(config, client, Engines(config, client, routes), routes)
    question = {"model": model_id, "max_tokens": ROOM, "messages": [{"role": "user", "content": QUESTION}]}
    answer = WholeClient()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            hop = await gateway.parse(Call.of_own(json.encode(question)))
            await gateway.exchange(hop, answer)
    except Rejection as rejection:
        return rejection.failure.message
    except ConfigError as error:
        return str(error)
    except TimeoutError:
        return f"{model_id}: no answer within {CHECK_SECONDS:g} seconds"
    finally:
        await client.close()
    return "" if answer.body else f"{model_id}: an empty answer"


def write(path: Path, text: str) -> Path | None:
    """Write the configuration so that it is there whole or not at all, readable by its user only.

    What was there is kept beside it as `….bak`, whose path is returned. Raises LatimerError.
    """
    backup = path.with_name(f"{path.name}.bak") if path.exists() else None
    if backup:
        try:
            before = path.read_bytes()
        except OSError as error:
            raise LatimerError(f"{path} could not be read: {error.strerror}; nothing was changed") from None
        save(backup, before, PRIVATE)
    save(path, text.encode(), PRIVATE)
    return backup
