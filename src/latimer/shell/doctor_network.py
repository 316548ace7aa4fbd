"""What `latimer doctor` asks of providers: their lists of models, and on request a real answer."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin

from msgspec import json
from msgspec.structs import replace

from latimer.dialects.errors.failures import Asked
from latimer.dialects.messages.decoder import StreamDecoder, decode_response
from latimer.dialects.messages.headers import VERSION
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import ConfigError, Failure, LatimerError
from latimer.events import BlockStart, Event, Finish, ToolCall
from latimer.policy.config import Config, Provider, private
from latimer.policy.diagnosis.facts import Failing, ReachFacts, RouteFacts, TrialFacts
from latimer.policy.diagnosis.network import failing_tls
from latimer.policy.knowledge import Knowledge, overlays
from latimer.policy.models import cost
from latimer.policy.routing import TIERS, Route, route_names, routes_for, tier_route
from latimer.policy.setup import model_names
from latimer.shell.http.proxies import proxy_for, shown
from latimer.shell.models import LISTING, ask_model
from latimer.shell.service import running
from latimer.shell.upstream import UpstreamClient, connection_kind, named_failure, read_body_of

ASK_SECONDS = 3.0
"""How long each question for a list of models may take."""
TRY_SECONDS = 120.0
"""How long a real request may take: a local server may have to load the model first."""
MAX_LIST_BYTES = 16 * 1024 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
ROOM = 1024
"""Tokens of a real answer at most: thinking models need some before they call."""
QUESTION = "Call the tool `report` once, with the word `fine`. Write nothing else."
TOOL = {
    "name": "report",
    "description": "Reports a word.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}


async def ask_providers(
    config: Config, usable: Sequence[tuple[str, Provider]], kept: Knowledge
) -> tuple[tuple[ReachFacts, ...], tuple[RouteFacts, ...]]:
    """What came of asking each provider by each usable key (its path), and what was said of the routed models."""
    routes = _routes(config, kept)
    async with _client(config) as client:
        reached = await asyncio.gather(*(_reach(client, path, provider) for path, provider in usable))
        answering = {
            each.provider: with_key for each, (_, with_key) in zip(reached, usable, strict=True) if each.status == 200
        }
        told = await asyncio.gather(*(_told(client, route, answering) for route in routes))
    return tuple(_once(reached)), tuple(told)


def _once(reached: Iterable[ReachFacts]) -> Iterator[ReachFacts]:
    """Of a provider's second and further keys, only that one is refused is news."""
    known: set[str] = set()
    for each in reached:
        if each.provider not in known or each.status in (401, 403):
            yield each
        known.add(each.provider)


def known_routes(config: Config, kept: Knowledge) -> tuple[RouteFacts, ...]:
    """What is known of the routes without asking anybody."""
    return tuple(RouteFacts(route) for route in _routes(config, kept))


def _routes(config: Config, kept: Knowledge) -> list[Route]:
    learned = overlays(config, kept)
    return [routes_for(config, name, learned)[0] for name in route_names(config)]


@asynccontextmanager
async def _client(config: Config) -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(config.server, os.environ)
    try:
        yield client
    finally:
        await client.close()


async def _told(client: UpstreamClient, route: Route, answering: Mapping[str, Provider]) -> RouteFacts:
    provider = answering.get(route.provider.name)
    return RouteFacts(route, (await ask_model(client, provider, route.model)).facts) if provider else RouteFacts(route)


async def _reach(client: UpstreamClient, key: str, provider: Provider) -> ReachFacts:
    url = f"{provider.base_url}/models"
    try:
        proxy = proxy_for(provider.base_url, provider.proxy)
        status, headers, body = await _get(client, provider, url)
    except ConfigError as error:
        return ReachFacts(provider.name, url, key, failing="setting", message=str(error))
    except UnicodeError as error:
        return ReachFacts(provider.name, url, key, failing="dns", message=f"no host can have this name ({error})")
    except OSError as error:
        asked = Asked(provider.name, provider.name, "", "", 0, 0, None)
        message = named_failure(error, provider.base_url, asked).message
        return ReachFacts(provider.name, url, key, failing=_failing(error), message=message, proxy=_shown(provider))
    return ReachFacts(
        provider.name,
        url,
        key,
        status,
        proxy=shown(proxy) if proxy else "",
        better=await _better(client, provider) if status == 404 else "",
        skew_seconds=_skew(headers.get("date", "")),
        listed=frozenset(_listed(body)) if status == 200 else frozenset(),
    )


async def _get(client: UpstreamClient, provider: Provider, url: str) -> tuple[int, Mapping[str, str], bytes]:
    async with asyncio.timeout(ASK_SECONDS):
        async with client.request(provider, "GET", url, headers=LISTING) as reply:
            return reply.status, reply.headers, await read_body_of(reply, MAX_LIST_BYTES)


async def _better(client: UpstreamClient, provider: Provider) -> str:
    """The same host with a `/v1` more or less, or with nothing else, where that lists models."""
    base = provider.base_url
    for other in (base.removesuffix("/v1"), f"{base}/v1", urljoin(base, "/v1")):
        if other == base:
            continue
        try:
            status, _, body = await _get(client, provider, f"{other}/models")
        except OSError:
            continue
        if status == 200 and _listed(body):
            return other
    return ""


def _shown(provider: Provider) -> str:
    proxy = proxy_for(provider.base_url, provider.proxy)
    return shown(proxy) if proxy else ""


def _failing(error: OSError) -> Failing:
    kind = connection_kind(error)
    return failing_tls(str(error)) if kind == "tls" else "reset" if kind == "proxy" else kind


def _skew(date: str) -> float:
    try:
        return time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    except ValueError:
        return 0.0


def _listed(body: bytes) -> list[str]:
    try:
        return model_names(json.decode(body))
    except ValueError:
        return []


# --- a real request ---


async def ask_for_real(config: Config, state: Path, kept: Knowledge) -> tuple[TrialFacts, ...]:
    """One request with a tool to the first route of each tier, through a Latimer of its own, as Claude Code's are."""
    learned = overlays(config, kept)
    routes = {route.name: route for tier in TIERS if (route := tier_route(config, tier, learned))}
    routes = routes or {route.name: route for route in _routes(config, kept)}
    token = secrets.token_urlsafe(32)
    try:
        async with running(private(config, token), state) as url, _client(config) as client:
            own = Provider(name="latimer", base_url=url, headers={"x-api-key": token})
            return tuple([await _try(client, own, route) for route in routes.values()])
    except (LatimerError, OSError) as error:
        return tuple(TrialFacts(name, str(error)) for name in routes)


async def _try(client: UpstreamClient, own: Provider, route: Route) -> TrialFacts:
    question = {
        "model": route.name,
        "max_tokens": ROOM,
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [TOOL],
        "stream": True,
    }
    start = time.monotonic()
    try:
        async with asyncio.timeout(TRY_SECONDS):
            url = f"{own.base_url}/v1/messages"
            headers = {"content-type": "application/json", VERSION: OLD_VERSION}
            async with client.request(own, "POST", url, json.encode(question), headers) as reply:
                body = await read_body_of(reply, MAX_ANSWER_BYTES)
                status = reply.status
    except TimeoutError:
        return TrialFacts(route.name, f"no answer within {TRY_SECONDS:g} seconds")
    decoder = StreamDecoder()
    events = [*decoder.decode(body), *decoder.flush()] if status == 200 else decode_response(body)
    return replace(_seen(route, events), seconds=time.monotonic() - start)


def _seen(route: Route, events: Iterable[Event]) -> TrialFacts:
    """What an answer came to."""
    trial = TrialFacts(route.name)
    for event in events:
        match event:
            case Failure():
                trial = replace(trial, problem=event.message)
            case BlockStart(block=ToolCall()):
                trial = replace(trial, called=True)
            case Finish(usage=usage):
                trial = replace(
                    trial,
                    cut=event.reason == "length",
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cost=cost(usage, route.profile.prices),
                )
            case _:
                pass
    return trial
