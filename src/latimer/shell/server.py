"""The HTTP server: the routes of docs/http.md on aiohttp's low-level server, which has no router to pay for."""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
import os
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from msgspec import json

from latimer import __version__
from latimer.dialects.messages.encoder import StreamEncoder, encode_failure
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import ConfigError, Failure, Rejection
from latimer.policy.catalog import page, picker_models
from latimer.policy.config import Config, Server, is_loopback
from latimer.profile import Profile
from latimer.shell import metrics
from latimer.shell.client_stream import StreamClient, WholeClient
from latimer.shell.engine import Engines
from latimer.shell.gateway import Call, Gateway
from latimer.shell.secrets import resolve
from latimer.shell.upstream import UpstreamClient

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""How long open streams may still run when the server is asked to stop."""
_BASE62 = string.digits + string.ascii_letters
_LANDING = f"""Latimer {__version__}: the Anthropic Messages API in front of any model provider.
Point Claude Code here with ANTHROPIC_BASE_URL, or type `latimer run`.
"""
_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
"""Paths that never need a token."""


def new_id(prefix: str) -> str:
    """An id as Anthropic makes them: a prefix and 24 letters and digits."""
    return prefix + "".join(secrets.choice(_BASE62) for _ in range(24))


def normalize_path(path: str) -> str:
    """The route a path means: without a trailing slash, and with one `/v1` where a base URL brought a second."""
    path = "/" + path.strip("/")
    while path.startswith("/v1/v1"):
        path = path.removeprefix("/v1")
    return path


class LatimerServer:
    """Handlers of every route. Each takes a request and its id, and answers or raises `Rejection`."""

    def __init__(self, config: Config, gateway: Gateway, token: str) -> None:
        self._config = config
        self._gateway = gateway
        self._token = token
        self._routes: dict[tuple[str, str], Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]] = {
            ("POST", "/v1/messages"): self._messages,
            ("POST", "/v1/messages/count_tokens"): self._count_tokens,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/"): self._landing,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; every failure becomes Anthropic's error envelope."""
        request_id = new_id("req_")
        path = normalize_path(request.path)
        counters = self._gateway.metrics
        counters.open += 1
        outcome = "failed"
        try:
            response = await self._dispatch(request, path, request_id)
            outcome = str(response.status)
            return response
        except Rejection as rejection:
            outcome = str(rejection.failure.status)
            log.info("%s %s: %s", request.method, path, rejection.failure.type)
            return failure_response(rejection.failure, request_id)
        except web.HTTPRequestEntityTooLarge:
            limit = self._config.server.max_body_bytes
            message = f"the request is larger than {limit} bytes (server.max_body_bytes)"
            return failure_response(Failure("request_too_large", message), request_id)
        except asyncio.CancelledError:
            outcome = "disconnected"
            raise
        except ConnectionError:
            outcome = "disconnected"
            raise asyncio.CancelledError from None
        except Exception:
            log.exception("%s %s: unexpected error, request %s", request.method, path, request_id)
            message = "an unexpected error in Latimer; its log has the details"
            return failure_response(Failure("api_error", message), request_id)
        finally:
            counters.open -= 1
            counters.requests[path if (request.method, path) in self._routes else "other", outcome] += 1

    async def _dispatch(self, request: web.BaseRequest, path: str, request_id: str) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"request-id": request_id})
        self._check_origin(request)
        if path not in _OPEN_PATHS:
            self._check_token(request)
        if path.startswith("/api/event_logging/"):
            return json_response({}, request_id)
        if request.method == "GET" and path.startswith("/v1/models/"):
            return self._model(unquote(path.removeprefix("/v1/models/")), request_id)
        handler = self._routes.get((request.method, path))
        if handler is None:
            message = f"{request.method} {path}: this gateway has no such route"
            raise Rejection(Failure("not_found_error", message))
        return await handler(request, request_id)

    def _check_token(self, request: web.BaseRequest) -> None:
        if not self._token:
            return
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = [request.headers.get("X-Api-Key", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        if not any(hmac.compare_digest(candidate.encode(), self._token.encode()) for candidate in given):
            message = (
                "invalid token for this Latimer gateway: set ANTHROPIC_AUTH_TOKEN to the token it was started with"
            )
            raise Rejection(Failure("authentication_error", message, should_retry=False))

    def _check_origin(self, request: web.BaseRequest) -> None:
        """No web page may use this gateway: browsers send an Origin, and a rebound name shows in Host."""
        if "Origin" in request.headers:
            raise Rejection(Failure("permission_error", "requests from web pages are not answered"))
        host = request.headers.get("Host", "").rsplit(":", 1)[0] if request.headers.get("Host") else ""
        if host and is_loopback(self._config.server.host) and not is_loopback(host):
            message = f"Host {host!r} is not this machine's loopback address"
            raise Rejection(Failure("permission_error", message))

    # --- the API -----------------------------------------------------------------------------------------------------

    async def _messages(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        version = request.headers.get("anthropic-version", OLD_VERSION)
        call = Call(await request.read(), version, request_id, new_id("msg_"))
        hop = await self._gateway.parse(call)
        if isinstance(hop.encoder, StreamEncoder):
            encoder = hop.encoder
            limits = self._config.server
            client = StreamClient(
                request,
                {"request-id": request_id},
                lambda: encoder.start(self._gateway.estimate(hop)),
                limits.commit_seconds,
                limits.ping_seconds,
            )
            try:
                await self._gateway.exchange(hop, client)
            except Rejection as rejection:
                if not client.committed:
                    raise
                await client.send(encoder.encode(rejection.failure))
            finally:
                client.stop()
            return await client.close()
        whole = WholeClient()
        await self._gateway.exchange(hop, whole)
        headers = {"request-id": request_id, **whole.headers}
        return web.Response(body=whole.body, content_type="application/json", headers=headers)

    async def _count_tokens(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        version = request.headers.get("anthropic-version", OLD_VERSION)
        count = await self._gateway.count_tokens(await request.read(), version)
        return json_response({"input_tokens": count}, request_id)

    async def _models(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        try:
            limit = int(request.query.get("limit", "20"))
        except ValueError:
            limit = 0  # refused with the range it must be in
        models = picker_models(self._config, self._gateway.learned)
        found = page(models, limit, request.query.get("after_id"), request.query.get("before_id"))
        return json_response(found, request_id)

    def _model(self, model_id: str, request_id: str) -> web.Response:
        for model in picker_models(self._config, self._gateway.learned):
            if model["id"] == model_id:
                return json_response(model, request_id)
        raise Rejection(Failure("not_found_error", f"model: {model_id}"))

    # --- about this server -------------------------------------------------------------------------------------------

    async def _health(self, _request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        return json_response({"status": "ok", "version": __version__}, request_id)

    async def _metrics(self, _request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        body = metrics.text(self._gateway.metrics)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4", "request-id": request_id})

    async def _landing(self, _request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        return web.Response(text=_LANDING, headers={"request-id": request_id})


def json_response(body: object, request_id: str) -> web.Response:
    """A JSON answer."""
    return web.Response(body=json.encode(body), content_type="application/json", headers={"request-id": request_id})


def failure_response(failure: Failure, request_id: str) -> web.Response:
    """Anthropic's error envelope with its headers: https://docs.anthropic.com/en/api/errors."""
    headers = {"request-id": request_id}
    if failure.retry_after is not None:
        headers["retry-after"] = str(max(1, round(failure.retry_after)))
    if failure.should_retry is not None:
        headers["x-should-retry"] = "true" if failure.should_retry else "false"
    body = json.encode(encode_failure(failure, request_id))
    return web.Response(body=body, status=failure.status, content_type="application/json", headers=headers)


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[str]:
    """Serve; yields the base URL, such as `http://127.0.0.1:4002`. Leaving stops gracefully.

    Raises `ConfigError` when no provider has a usable key, OSError when the port is taken.
    """
    token = await asyncio.to_thread(resolve, config.server.token, os.environ)
    upstream = UpstreamClient(config.server, os.environ)
    learned: dict[str, Profile] = {}
    engines = Engines(config, upstream, learned)
    try:
        await _check_keys(config, upstream)
        server = LatimerServer(config, Gateway(config, upstream, engines, learned), token)
        runner = web.ServerRunner(_low_level(server, config.server))
        await runner.setup()
        try:
            site = web.TCPSite(runner, config.server.host, config.server.port, shutdown_timeout=SHUTDOWN_SECONDS)
            await site.start()
            engines.start()
            host, port = runner.addresses[0][:2]
            gc.collect()
            gc.freeze()  # what lives from here to the end needs no more visits
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            await engines.stop()
            await runner.cleanup()
    finally:
        await upstream.close()


def _low_level(server: LatimerServer, limits: Server) -> web.Server:
    def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=limits.max_body_bytes)

    return web.Server(server.handle, request_factory=request, handler_cancellation=True, access_log=None)


async def _check_keys(config: Config, upstream: UpstreamClient) -> None:
    """A key that is missing is told at the start; it stops the start only when no provider is left to serve."""
    problems = []
    for provider in config.providers.values():
        try:
            await upstream.credentials(provider)
        except ConfigError as error:
            problems.append(str(error))
            log.warning("%s", error)
    if problems and len(problems) == len(config.providers):
        raise ConfigError("; ".join(problems))
