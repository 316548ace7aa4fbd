"""`latimer doctor`: gathers what `latimer.policy.diagnosis` judges. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import json

from latimer.dialects.errors.failures import Asked
from latimer.errors import ConfigError
from latimer.launch import find_claude
from latimer.policy import diagnosis
from latimer.policy.config import Config, Provider, Server
from latimer.policy.diagnosis import Diagnosis
from latimer.policy.knowledge import Knowledge, overlays
from latimer.policy.routing import Route, route_names, routes_for
from latimer.shell.models import ask_model
from latimer.shell.secrets import request_headers, resolve
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamClient, named_failure, read_body_of

ASK_SECONDS = 3.0
"""How long each question to a provider, or to what listens on the port, may take."""
CLAUDE_SECONDS = 20.0
"""How long `claude --version` may take: a cold start from a slow disk is several seconds."""
MAX_HEALTH_BYTES = 64 * 1024
MAX_LIST_BYTES = 16 * 1024 * 1024
HEADERS = {"anthropic-version": "2023-06-01"}
"""Anthropic's API answers nothing without it; others do not know it."""


async def examine(config: Config, state: Path, claude: str = "", network: bool = True) -> list[Diagnosis]:
    """Everything that can be said of a configuration. `claude` names the program; without `network` no provider is
    asked anything."""
    kept = await asyncio.to_thread(Store(state).read)
    keys = {provider.name: await _key(provider) for provider in config.providers.values()}
    found = [diagnosis.of_configuration(config), *keys.values()]
    if network:
        usable = [provider for provider in config.providers.values() if keys[provider.name].level == "ok"]
        found += await _network(config, usable, kept)
    found += [*diagnosis.of_learned(kept, time.time()), *await _server(config.server), await _claude(claude)]
    return found


async def _key(provider: Provider) -> Diagnosis:
    try:
        await asyncio.to_thread(request_headers, provider, os.environ)
    except ConfigError as error:
        return diagnosis.of_key(provider, str(error))
    return diagnosis.of_key(provider, "")


async def _network(config: Config, providers: Sequence[Provider], kept: Knowledge) -> list[Diagnosis]:
    learned = overlays(config, kept)
    routes = [routes_for(config, name, learned)[0] for name in route_names(config)]
    client = UpstreamClient(config.server, os.environ)
    try:
        groups = await asyncio.gather(
            *(_provider(client, one, [route for route in routes if route.provider == one]) for one in providers)
        )
    finally:
        await client.close()
    return [each for group in groups for each in group]


async def _provider(client: UpstreamClient, provider: Provider, routes: Sequence[Route]) -> list[Diagnosis]:
    url = f"{provider.base_url}/models"
    try:
        async with asyncio.timeout(ASK_SECONDS):
            async with client.request(provider, "GET", url, headers=HEADERS) as reply:
                status, body = reply.status, await read_body_of(reply, MAX_LIST_BYTES)
    except OSError as error:  # TimeoutError is an OSError
        asked = Asked(provider.name, provider.name, provider.api_key, "", 0, 0, None)
        return [diagnosis.of_silence(provider, named_failure(error, provider.base_url, asked).message)]
    listed = _listed(body) if status == 200 else set()
    found = [diagnosis.of_answer(provider, url, status)]
    for route in routes:
        found += [diagnosis.of_model(route, listed)] if listed else []
        known = route.profile.request.context_window
        told = 0 if known or not listed else (await ask_model(client, provider, route.model)).facts.context_window
        found.append(diagnosis.of_window(route, told))
    return found


def _listed(body: bytes) -> set[str]:
    """The ids in a list of models, in OpenAI's form or a bare list."""
    try:
        answer = json.decode(body)
    except ValueError:
        return set()
    entries = answer.get("data") if isinstance(answer, dict) else answer
    found = [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {name for name in found if isinstance(name, str)}


async def _server(server: Server) -> list[Diagnosis]:
    found = []
    try:
        await asyncio.to_thread(resolve, server.token, os.environ)
    except ConfigError as error:
        found.append(diagnosis.of_token(str(error)))
    free, version = (True, "") if server.port == 0 else await _listener(server)
    return [*found, diagnosis.of_port(server, free, version)]


async def _listener(server: Server) -> tuple[bool, str]:
    """Whether nobody listens on the port, and the version of the Latimer that does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)  # noqa: S104
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), server.port)
    except OSError:  # refused, or nothing answers there
        return True, ""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await reader.readexactly(MAX_HEALTH_BYTES)
    except asyncio.IncompleteReadError as whole:
        return False, _version(whole.partial)
    except OSError:
        pass
    finally:
        writer.close()
    return False, ""


def _version(answer: bytes) -> str:
    _, _, body = answer.partition(b"\r\n\r\n")
    try:
        health = json.decode(body)
    except ValueError:
        return ""
    if not isinstance(health, dict) or health.get("status") != "ok":
        return ""
    version = health.get("version")
    return version if isinstance(version, str) else ""


async def _claude(named: str) -> Diagnosis:
    try:
        program = str(await asyncio.to_thread(find_claude, named))
        version = await _output(program, "--version")
    except ConfigError as error:
        return diagnosis.of_claude("", "", str(error))
    return diagnosis.of_claude(program, version, "")


async def _output(*command: str) -> str:
    """The first line that a program prints. Raises ConfigError when it prints none in time."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=nothing)
    except OSError as error:
        raise ConfigError(f"{command[0]} could not be started: {error.strerror}. Install it anew") from None
    try:
        output, _ = await asyncio.wait_for(child.communicate(), CLAUDE_SECONDS)
    except TimeoutError:
        raise ConfigError(f"{command[0]} --version took more than {CLAUDE_SECONDS:g} s. Try it by hand") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    lines = output.decode("utf-8", "replace").strip().splitlines()
    if child.returncode or not lines:
        raise ConfigError(f"{command[0]} --version failed with exit code {child.returncode}. Install it anew")
    return lines[0]
