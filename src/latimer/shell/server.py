"""The HTTP server: the routes of docs/http.md."""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
import math
import os
import secrets
import socket
import string
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct, json
from msgspec.structs import replace

from latimer import __version__
from latimer.dialects.messages.encoder import StreamEncoder, encode_failure
from latimer.dialects.messages.headers import read_headers
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import ConfigError, Failure, Rejection, invalid
from latimer.policy.catalog import page, picker_models
from latimer.policy.config import Config, is_loopback
from latimer.policy.routing import route_names
from latimer.shell import metrics
from latimer.shell.client_stream import StreamClient, WholeClient
from latimer.shell.engine import Engines
from latimer.shell.gateway import Call, Gateway, Hop
from latimer.shell.http.serving import Listener, Request, Response, TooLarge, Unreadable
from latimer.shell.routes import Routes
from latimer.shell.secrets import resolve
from latimer.shell.shared_metrics import SharedMetrics
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamClient

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""How long open streams may still run when the server is asked to stop."""
STOP_SECONDS = 1.0
"""How long a client may take to be told that the server stops."""
STOPPING = Failure("overloaded_error", "this Latimer gateway is stopping")
_BASE62 = (string.digits + string.ascii_letters).encode()
_LETTERS = bytes(_BASE62[byte % 62] for byte in range(256))
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""What a request's body may be compressed with."""
_LANDING = f"""Latimer {__version__}: the Anthropic Messages API in front of any model provider.
Point Claude Code here with ANTHROPIC_BASE_URL, or type `latimer run`.
"""
_JSON = {"content-type": "application/json"}
_NO_HEADERS: Mapping[str, str] = {}
_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
"""Paths that never need a token."""


def new_id(prefix: str) -> str:
    """An id as Anthropic makes them: a prefix and 24 letters and digits."""
    return prefix + secrets.token_bytes(24).translate(_LETTERS).decode()


def normalize_path(path: str) -> str:
    """The route a path means: without a trailing slash, and with one `/v1` where a base URL brought a second."""
    path = "/" + "/".join(part for part in path.split("/") if part)
    while f"{path}/".startswith("/v1/v1/"):
        path = path.removeprefix("/v1")
    return path


class Place(Struct, frozen=True):
    """The place of a process that serves a port together with others (`latimer.shell.workers`)."""

    sockets: Sequence[socket.socket]
    """Where it listens, with the others."""
    loads: memoryview
    """How many connections each has (`latimer.shell.http.accepting`)."""
    shared: SharedMetrics
    slot: int
    """Its number among them, from 0."""
    first: bool
    """Whether it is the one that tells what holds for all."""


class LatimerServer:
    """Handlers of every route. Each takes a request and its id, and answers or raises `Rejection`."""

    def __init__(self, config: Config, gateway: Gateway, token: str, place: Place | None = None) -> None:
        self._config = config
        self._place = place
        self._gateway = gateway
        self._token = token
        self._routes: dict[tuple[str, str], Callable[[Request, str], Awaitable[Response | None]]] = {
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

    async def handle(self, request: Request) -> None:
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
            outcome = str(response.status if response else 200)
            if response is not None:
                request.respond(response)
        except asyncio.CancelledError:
            if not self._stopping or request.begun:
                raise
            outcome = str(STOPPING.status)
            request.respond(failure_response(STOPPING, request_id))
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

    async def _dispatch(self, request: Request, path: str, request_id: str) -> Response | None:
        if request.method == "HEAD":
            return Response(headers={"request-id": request_id})
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

    def _check_token(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, bearer = request.header("authorization").partition(" ")
        given = [request.header("x-api-key"), bearer.strip() if scheme.lower() == "bearer" else ""]
        token = self._token.encode()
        # A header may hold any bytes; those that are no UTF-8 are surrogates here.
        if not any(hmac.compare_digest(candidate.encode("utf-8", "surrogateescape"), token) for candidate in given):
            message = (
                "invalid token for this Latimer gateway: set ANTHROPIC_AUTH_TOKEN to the token it was started with"
            )
            raise Rejection(Failure("authentication_error", message, should_retry=False))

    def _check_origin(self, request: Request) -> None:
        """No web page may use this gateway: browsers send an Origin, and a rebound name shows in Host."""
        if "origin" in request.headers:
            raise Rejection(Failure("permission_error", "requests from web pages are not answered"))
        host = request.header("host")
        if self._token:
            return  # no page knows it, and containers reach this machine by other names
        if host and is_loopback(self._config.server.host) and not _is_this_machine(host):
            message = f"Host {host!r} is not this machine's loopback address"
            raise Rejection(Failure("permission_error", message))

    async def _body(self, request: Request) -> bytes:
        encoding = request.header("content-encoding").strip().lower()
        if encoding not in _ENCODINGS:
            message = f"content-encoding: {encoding!r} is not supported; use gzip, deflate or none"
            raise invalid(message, error_code="request_body_encoding_unsupported")
        try:
            return await request.body()
        except TooLarge as error:
            limit = self._config.server.max_body_bytes
            message = f"the request is larger than {limit} bytes (server.max_body_bytes)"
            raise Rejection(Failure("request_too_large", message)) from error
        except Unreadable as error:
            raise invalid("the request body is not what its headers say", error_code="request_body_invalid") from error

    # --- the API -----------------------------------------------------------------------------------------------------

    async def _messages(self, request: Request, request_id: str) -> Response | None:
        call = Call(await self._body(request), read_headers(request.headers), request_id, new_id("msg_"))
        hop = await self._gateway.parse(call)
        if hop.stream is not None:
            return await self._stream(request, hop, hop.stream)
        whole = WholeClient()
        try:
            await self._gateway.exchange(hop, whole)
        except Rejection as rejection:
            return failure_response(rejection.failure, request_id, whole.headers)
        return Response(200, {**_JSON, "request-id": request_id, **whole.headers}, whole.body)

    async def _stream(self, request: Request, hop: Hop, encoder: StreamEncoder) -> Response | None:
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
            client.write(encoder.encode(failure))
        except asyncio.CancelledError:
            if not self._stopping or not client.committed:
                raise
            client.write(encoder.encode(STOPPING))
        finally:
            client.stop()
        client.close()
        return None

    async def _count_tokens(self, request: Request, request_id: str) -> Response | None:
        version = request.header("anthropic-version") or OLD_VERSION
        count = await self._gateway.count_tokens(await self._body(request), version)
        return json_response(count, request_id)

    async def _models(self, request: Request, request_id: str) -> Response | None:
        query = {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
        try:
            limit = int(query.get("limit", "20"))
        except ValueError:
            limit = 0  # refused with the range it must be in
        # The client's own picker has rows for the tiers already.
        picker = request.header("user-agent").startswith("claude-code/")
        models = picker_models(self._config, self._gateway.routes.learned, tiers=not picker)
        found = page(models, limit, query.get("after_id"), query.get("before_id"))
        return json_response(found, request_id)

    def _model(self, model_id: str, request_id: str) -> Response:
        for model in picker_models(self._config, self._gateway.routes.learned):
            if model["id"] == model_id:
                return json_response(model, request_id)
        raise Rejection(Failure("not_found_error", f"model: {model_id}"))

    # --- about this server -------------------------------------------------------------------------------------------

    async def _health(self, _request: Request, request_id: str) -> Response | None:
        return json_response({"status": "ok", "version": __version__}, request_id)

    async def _metrics(self, _request: Request, request_id: str) -> Response | None:
        own = self._gateway.metrics
        body = metrics.text(self._place.shared.total(self._place.slot, own) if self._place else own)
        return Response(200, {"content-type": "text/plain; version=0.0.4", "request-id": request_id}, body)

    async def _landing(self, _request: Request, request_id: str) -> Response | None:
        headers = {"content-type": "text/plain; charset=utf-8", "request-id": request_id}
        return Response(200, headers, _LANDING.encode())


def json_response(body: object, request_id: str) -> Response:
    """A JSON answer."""
    return Response(200, {**_JSON, "request-id": request_id}, json.encode(body))


def failure_response(failure: Failure, request_id: str, more: Mapping[str, str] = _NO_HEADERS) -> Response:
    """Anthropic's error envelope with its headers: https://docs.anthropic.com/en/api/errors."""
    headers = {**_JSON, "request-id": request_id, **more}
    if failure.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(failure.retry_after)))
    if failure.should_retry is not None:
        headers["x-should-retry"] = "true" if failure.should_retry else "false"
    return Response(failure.status, headers, json.encode(encode_failure(failure, request_id)))


def _not_allowed(methods: Sequence[str], request_id: str) -> Response:
    allowed = ", ".join([*methods, "HEAD"])
    failure = Failure("invalid_request_error", f"method not allowed; this route takes {allowed}")
    return replace(failure_response(failure, request_id, {"allow": allowed}), status=405)


@lru_cache(maxsize=64)
def _is_this_machine(host: str) -> bool:
    """Whether a Host header, perhaps with a port and brackets, means loopback; one that cannot be read means nobody."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return is_loopback(name)


@asynccontextmanager
async def running(config: Config, state: Path | None = None, place: Place | None = None) -> AsyncIterator[str]:
    """Serve; yields the base URL, such as `http://127.0.0.1:4002`. Leaving stops gracefully.

    What is learned of upstreams is kept in the directory `state`; without one, only for as long as this runs. With a
    `place`, this is one of several processes behind a port.

    Raises `ConfigError` when no provider has a usable key, OSError when the port is taken.
    """
    token = await asyncio.to_thread(resolve, config.server.token, os.environ)
    upstream = UpstreamClient(config.server, os.environ)
    routes = Routes(config, Store(state) if state else None)
    engines = Engines(config, upstream, routes)
    try:
        tells = place is None or place.first
        await _check_keys(config, upstream, logging.WARNING if tells else logging.DEBUG)
        gateway = Gateway(config, upstream, engines, routes)
        server = LatimerServer(config, gateway, token, place)
        listener = Listener(server.handle, _not_http, config.server.max_body_bytes)
        try:
            url = await _listening(listener, config, place)
            try:
                engines.start()
                if tells:
                    _log_destinations(config)
                gc.freeze()  # what lives from here to the end needs no more visits
                gc.enable()
                with place.shared.kept(place.slot, gateway.metrics) if place else nullcontext():
                    yield url
            finally:
                listener.stop_listening()
                await server.stop(SHUTDOWN_SECONDS)
        finally:
            listener.close()
            await engines.stop()
            await routes.close()
    finally:
        await upstream.close()


async def _listening(listener: Listener, config: Config, place: Place | None) -> str:
    if place is None:
        return base_url(*await listener.listen(config.server.host, config.server.port))
    listener.listen_on(place.sockets, place.loads, place.slot)
    host, port, *_ = place.sockets[0].getsockname()
    return base_url(host, port)


def base_url(host: str, port: int) -> str:
    """What a client is told of an address, such as `http://127.0.0.1:4002`."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _not_http(status: int) -> Response:
    what = "this is not a valid HTTP request" if status == 400 else "the request's headers are too large"
    response = failure_response(Failure("invalid_request_error", what), new_id("req_"))
    return replace(response, status=status)


def _log_destinations(config: Config) -> None:
    """Prompts go where the user said, and the user is told."""
    for name in route_names(config):
        provider = config.providers[name.partition("/")[0]]
        log.info("prompts go to %s at %s", name, provider.base_url)
    if classifier := config.auto_mode.classifier:
        where = config.providers[classifier.partition("/")[0]].base_url
        log.info("tool calls of auto mode go to %s at %s for review", classifier, where)


async def _check_keys(config: Config, upstream: UpstreamClient, level: int) -> None:
    """A key that is missing is told at the start; it stops the start only when no provider is left to serve."""
    problems = []
    for provider in config.providers.values():
        try:
            await upstream.access(provider)
        except ConfigError as error:
            problems.append(str(error))
            log.log(level, "%s", error)
    if problems and len(problems) == len(config.providers):
        raise ConfigError("; ".join(problems))
