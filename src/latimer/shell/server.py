"""The HTTP server: the routes of docs/http.md on aiohttp's low-level server, which has no router to pay for."""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
import math
import os
import secrets
import string
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError
from msgspec import json

from latimer import __version__
from latimer.dialects.messages.encoder import StreamEncoder, encode_failure
from latimer.dialects.messages.headers import read_headers
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import ConfigError, Failure, Rejection, invalid
from latimer.policy.catalog import page, picker_models
from latimer.policy.config import Config, Server, is_loopback
from latimer.policy.routing import route_names
from latimer.profile import Profile
from latimer.shell import metrics
from latimer.shell.client_stream import StreamClient, WholeClient
from latimer.shell.engine import Engines
from latimer.shell.gateway import Call, Gateway, Hop
from latimer.shell.secrets import resolve
from latimer.shell.upstream import UpstreamClient

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""How long open streams may still run when the server is asked to stop."""
STOP_SECONDS = 1.0
"""How long a client may take to be told that the server stops."""
STOPPING = Failure("overloaded_error", "this Latimer gateway is stopping")
_BASE62 = string.digits + string.ascii_letters
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""What a request's body may be compressed with."""
_LANDING = f"""Latimer {__version__}: the Anthropic Messages API in front of any model provider.
Point Claude Code here with ANTHROPIC_BASE_URL, or type `latimer run`.
"""
_NO_HEADERS: Mapping[str, str] = {}
_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
"""Paths that never need a token."""


def new_id(prefix: str) -> str:
    """An id as Anthropic makes them: a prefix and 24 letters and digits."""
    return prefix + "".join(secrets.choice(_BASE62) for _ in range(24))


def normalize_path(path: str) -> str:
    """The route a path means: without a trailing slash, and with one `/v1` where a base URL brought a second."""
    path = "/" + "/".join(part for part in path.split("/") if part)
    while f"{path}/".startswith("/v1/v1/"):
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
            ("GET", "/api/hello"): self._health,
            ("GET", "/"): self._landing,
        }
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def stop(self, seconds: float) -> None:
        """Let open requests end for so long, then end them: each client is told that it may ask again."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; every failure becomes Anthropic's error envelope."""
        request_id = new_id("req_")
        path = normalize_path(request.path)
        counters = self._gateway.metrics
        counters.open += 1
        outcome = "disconnected"
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            try:
                response = await self._dispatch(request, path, request_id)
            except Exception as error:
                response = failure_response(self._failure_of(error, request_id), request_id)
            outcome = str(response.status)
            return response
        except asyncio.CancelledError:
            if not self._stopping or request.writer.output_size:
                raise
            outcome = str(STOPPING.status)
            return failure_response(STOPPING, request_id)
        finally:
            self._tasks.discard(task)
            counters.open -= 1
            counters.requests[path if (request.method, path) in self._routes else "other", outcome] += 1

    def _failure_of(self, error: Exception, request_id: str) -> Failure:
        """What the client is told of an exception. What was not foreseen is logged, without the values it may quote."""
        if isinstance(error, ConnectionError):
            raise asyncio.CancelledError from None  # the client is gone
        if isinstance(error, Rejection):
            log.info("%s: %s", request_id, error.failure.type)
            return error.failure
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: unexpected %s\n%s", request_id, type(error).__name__, where)
        return Failure("api_error", "an unexpected error in Latimer; its log has the details")

    async def _dispatch(self, request: web.BaseRequest, path: str, request_id: str) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"request-id": request_id})
        if path == "/health" and request.method == "GET":
            return await self._health(request, request_id)
        self._check_origin(request)
        if path not in _OPEN_PATHS:
            self._check_token(request)
        handler = self._routes.get((request.method, path))
        if handler is not None:
            return await handler(request, request_id)
        if path.startswith("/api/event_logging/"):
            return json_response({}, request_id) if request.method == "POST" else _not_allowed(["POST"], request_id)
        if path.startswith("/v1/models/"):
            if request.method != "GET":
                return _not_allowed(["GET"], request_id)
            return self._model(path.removeprefix("/v1/models/"), request_id)
        if allowed := [method for method, known in self._routes if known == path]:
            return _not_allowed(allowed, request_id)
        raise Rejection(Failure("not_found_error", f"{request.method} {path}: this gateway has no such route"))

    def _check_token(self, request: web.BaseRequest) -> None:
        if not self._token:
            return
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = [request.headers.get("X-Api-Key", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        token = self._token.encode()
        # A header may hold any bytes, which aiohttp turns into surrogates.
        if not any(hmac.compare_digest(candidate.encode("utf-8", "surrogateescape"), token) for candidate in given):
            message = (
                "invalid token for this Latimer gateway: set ANTHROPIC_AUTH_TOKEN to the token it was started with"
            )
            raise Rejection(Failure("authentication_error", message, should_retry=False))

    def _check_origin(self, request: web.BaseRequest) -> None:
        """No web page may use this gateway: browsers send an Origin, and a rebound name shows in Host."""
        if "Origin" in request.headers:
            raise Rejection(Failure("permission_error", "requests from web pages are not answered"))
        host = request.headers.get("Host", "")
        if self._token:
            return  # no page knows it, and containers reach this machine by other names
        if host and is_loopback(self._config.server.host) and not is_loopback(_host_name(host)):
            message = f"Host {host!r} is not this machine's loopback address"
            raise Rejection(Failure("permission_error", message))

    async def _body(self, request: web.BaseRequest) -> bytes:
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            message = f"content-encoding: {encoding!r} is not supported; use gzip, deflate or none"
            raise invalid(message, error_code="request_body_encoding_unsupported")
        limit = self._config.server.max_body_bytes
        too_large = Failure("request_too_large", f"the request is larger than {limit} bytes (server.max_body_bytes)")
        if (request.content_length or 0) > limit:
            raise Rejection(too_large)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer is still to come
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise Rejection(too_large) from error
        except (web.RequestPayloadError, PayloadEncodingError) as error:
            raise invalid("the request body is not what its headers say", error_code="request_body_invalid") from error

    # --- the API -----------------------------------------------------------------------------------------------------

    async def _messages(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        given = {name.lower(): request.headers.getall(name) for name in request.headers}
        call = Call(await self._body(request), read_headers(given), request_id, new_id("msg_"))
        hop = await self._gateway.parse(call)
        if hop.stream is not None:
            return await self._stream(request, hop, hop.stream)
        whole = WholeClient()
        try:
            await self._gateway.exchange(hop, whole)
        except Rejection as rejection:
            return failure_response(rejection.failure, request_id, whole.headers)
        headers = {"request-id": request_id, **whole.headers}
        return web.Response(body=whole.body, content_type="application/json", headers=headers)

    async def _stream(self, request: web.BaseRequest, hop: Hop, encoder: StreamEncoder) -> web.StreamResponse:
        request_id = hop.call.request_id
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
        except Exception as error:
            failure = self._failure_of(error, request_id)
            if not client.committed:
                return failure_response(failure, request_id, client.headers)
            await client.send(encoder.encode(failure))
        except asyncio.CancelledError:
            if not self._stopping or not client.committed:
                raise
            await client.send(encoder.encode(STOPPING))
        finally:
            client.stop()
        return await client.close()

    async def _count_tokens(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        version = request.headers.get("anthropic-version", OLD_VERSION)
        count = await self._gateway.count_tokens(await self._body(request), version)
        return json_response(count, request_id)

    async def _models(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        try:
            limit = int(request.query.get("limit", "20"))
        except ValueError:
            limit = 0  # refused with the range it must be in
        # The client's own picker has rows for the tiers already.
        picker = request.headers.get("User-Agent", "").startswith("claude-code/")
        models = picker_models(self._config, self._gateway.learned, tiers=not picker)
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


def failure_response(failure: Failure, request_id: str, more: Mapping[str, str] = _NO_HEADERS) -> web.Response:
    """Anthropic's error envelope with its headers: https://docs.anthropic.com/en/api/errors."""
    headers = {"request-id": request_id, **more}
    if failure.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(failure.retry_after)))
    if failure.should_retry is not None:
        headers["x-should-retry"] = "true" if failure.should_retry else "false"
    body = json.encode(encode_failure(failure, request_id))
    return web.Response(body=body, status=failure.status, content_type="application/json", headers=headers)


def _not_allowed(methods: Sequence[str], request_id: str) -> web.Response:
    allowed = ", ".join([*methods, "HEAD"])
    failure = Failure("invalid_request_error", f"method not allowed; this route takes {allowed}")
    response = failure_response(failure, request_id, {"Allow": allowed})
    response.set_status(405)
    return response


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; one that cannot be read is nobody's."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


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
        runner = web.ServerRunner(_low_level(server, config.server), shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, config.server.host, config.server.port)
            await site.start()
            try:
                engines.start()
                _log_destinations(config)
                host, port = runner.addresses[0][:2]
                gc.freeze()  # what lives from here to the end needs no more visits
                gc.enable()
                yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            finally:
                await site.stop()
                await server.stop(SHUTDOWN_SECONDS)
        finally:
            await engines.stop()
            await runner.cleanup()
    finally:
        await upstream.close()


class _Protocol(web.RequestHandler):
    """aiohttp's connection handler would answer in plain text and log a traceback where HTTP itself is broken."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        self.log_exception(exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError(message)
        broken = Failure("invalid_request_error" if status < 500 else "api_error", "this is not a valid HTTP request")
        response = failure_response(broken, new_id("req_"))
        response.force_close()
        return response

    def log_exception(self, *_: object, exc_info: BaseException | None = None, **__: object) -> None:
        log.info("a connection is closed after %s", type(exc_info).__name__)


class _LowLevel(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


def _low_level(server: LatimerServer, limits: Server) -> web.Server:
    def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=limits.max_body_bytes)

    return _LowLevel(server.handle, request_factory=request, handler_cancellation=True, access_log=None)


def _log_destinations(config: Config) -> None:
    """Prompts go where the user said, and the user is told."""
    for name in route_names(config):
        provider = config.providers[name.partition("/")[0]]
        log.info("prompts go to %s at %s", name, provider.base_url)
    if classifier := config.auto_mode.classifier:
        where = config.providers[classifier.partition("/")[0]].base_url
        log.info("tool calls of auto mode go to %s at %s for review", classifier, where)


async def _check_keys(config: Config, upstream: UpstreamClient) -> None:
    """A key that is missing is told at the start; it stops the start only when no provider is left to serve."""
    problems = []
    for provider in config.providers.values():
        try:
            await upstream.access(provider)
        except ConfigError as error:
            problems.append(str(error))
            log.warning("%s", error)
    if problems and len(problems) == len(config.providers):
        raise ConfigError("; ".join(problems))
