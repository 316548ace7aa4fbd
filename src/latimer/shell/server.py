"""The HTTP server: the routes of docs/http.md."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import socket
import time
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct, json
from msgspec.structs import replace

from latimer import __version__
from latimer.dialects.messages.encoder import StreamEncoder, encode_failure
from latimer.dialects.messages.headers import read_headers
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import Failure, Rejection, invalid
from latimer.policy.catalog import page, picker_models
from latimer.policy.config import Config
from latimer.shell.browsers import check_page
from latimer.shell.client_stream import StreamClient, WholeClient
from latimer.shell.discretion import described
from latimer.shell.generation import Generation
from latimer.shell.hop import Call, Hop, new_id
from latimer.shell.http.serving import Request, Response, TooLarge, Unreadable
from latimer.shell.instance import CHALLENGE, PROOF, SERVICE, Greeting, Identity
from latimer.shell.metrics import Metrics, text
from latimer.shell.reload import Taken
from latimer.shell.shared_metrics import SharedMetrics
from latimer.shell.status import Load, Workers, describe

log = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long a client may take to be told that the server stops."""
STOPPING = Failure("overloaded_error", "this Latimer gateway is stopping")
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""What a request's body may be compressed with."""
_LANDING = f"""Latimer {__version__}: the Anthropic Messages API in front of any model provider.
Point Claude Code here with ANTHROPIC_BASE_URL, or type `latimer run`.
"""
_JSON = {"content-type": "application/json"}
_NO_HEADERS: Mapping[str, str] = {}
_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
"""Paths that never need a token."""

Handler = Callable[[Request, str, Generation], Awaitable[Response | None]]


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
    """Handlers of every route. Each takes a request, its id and the generation it began in, and answers or raises
    `Rejection`.
    """

    def __init__(self, generation: Generation, identity: Identity, place: Place | None = None) -> None:
        self.taken = Taken(1, time.time())
        self._now = generation
        self._older: set[Generation] = set()
        """Those before, whose last requests are still being answered."""
        self._closing: set[asyncio.Task[None]] = set()
        self._identity = identity
        self._place = place
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/messages"): self._messages,
            ("POST", "/v1/messages/count_tokens"): self._count_tokens,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/status"): self._status,
            ("GET", "/api/hello"): self._health,
            ("GET", "/"): self._landing,
        }
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    @property
    def config(self) -> Config:
        """The one in use."""
        return self._now.config

    @property
    def generation(self) -> Generation:
        """What answers the next request."""
        return self._now

    @property
    def metrics(self) -> Metrics:
        """What has happened since the start."""
        return self._now.gateway.metrics

    def use(self, generation: Generation) -> None:
        """From now on requests are answered by this one; those that are open go on in theirs."""
        older, self._now = self._now, generation
        self._older.add(older)
        self._close_if_unused(older)

    def _close_if_unused(self, generation: Generation) -> None:
        if generation not in self._older or generation.open:
            return
        self._older.discard(generation)
        task = asyncio.create_task(generation.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every generation; requests must have ended."""
        for generation in (*self._older, self._now):
            await generation.close()
        await asyncio.gather(*self._closing)

    async def stop(self, seconds: float, hurry: asyncio.Event | None = None) -> None:
        """Let open requests end for so long, unless `hurry` is set meanwhile, then end them: each client is told that
        it may ask again.
        """
        if self._tasks:
            ended = asyncio.create_task(asyncio.wait(self._tasks))
            hurried = asyncio.create_task(hurry.wait()) if hurry else None
            await asyncio.wait([ended, hurried] if hurried else [ended], timeout=seconds, return_when=FIRST_COMPLETED)
            for waiter in (ended, hurried):
                if waiter is not None:
                    waiter.cancel()
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)

    async def handle(self, request: Request) -> None:
        """Answer one request; every failure becomes Anthropic's error envelope."""
        request_id = new_id("req_")
        path = normalize_path(request.path)
        now = self._now
        counters = now.gateway.metrics
        counters.open += 1
        now.open += 1
        outcome = "disconnected"
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            try:
                response = await self._dispatch(request, path, request_id, now)
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
            now.open -= 1
            if now is not self._now:
                self._close_if_unused(now)
            counters.requests[path if (request.method, path) in self._routes else "other", outcome] += 1

    def _failure_of(self, error: Exception, request_id: str) -> Failure:
        """What the client is told of an exception. What was not foreseen is logged, without the values it may quote."""
        if isinstance(error, ConnectionError):
            raise asyncio.CancelledError from None  # the client is gone
        if isinstance(error, Rejection):
            log.info("%s: %s", request_id, error.failure.type)
            return error.failure
        log.error("%s: unexpected %s", request_id, described(error))
        return Failure("api_error", "an unexpected error in Latimer; its log has the details")

    async def _dispatch(self, request: Request, path: str, request_id: str, now: Generation) -> Response | None:
        if request.method == "HEAD":
            return Response(headers={"request-id": request_id})
        if path == "/health" and request.method == "GET":
            return await self._health(request, request_id, now)
        check_page(request.headers, now.config.server.host, now.token)
        if path not in _OPEN_PATHS and not (path == "/status" and self._knows_secret(request)):
            _check_token(request, now.token)
        handler = self._routes.get((request.method, path))
        if handler is not None:
            return await handler(request, request_id, now)
        if path.startswith("/api/event_logging/"):
            return json_response({}, request_id) if request.method == "POST" else _not_allowed(["POST"], request_id)
        if path.startswith("/v1/models/"):
            if request.method != "GET":
                return _not_allowed(["GET"], request_id)
            return self._model(path.removeprefix("/v1/models/"), request_id, now)
        if allowed := [method for method, known in self._routes if known == path]:
            return _not_allowed(allowed, request_id)
        raise Rejection(Failure("not_found_error", f"{request.method} {path}: this gateway has no such route"))

    def _knows_secret(self, request: Request) -> bool:
        """Whether it comes from somebody who may read the user's files (`latimer status`)."""
        challenge = request.header(CHALLENGE)
        return challenge != "" and self._identity.allows(challenge, request.header(PROOF))

    async def _body(self, request: Request, now: Generation) -> bytes:
        encoding = request.header("content-encoding").strip().lower()
        if encoding not in _ENCODINGS:
            message = f"content-encoding: {encoding!r} is not supported; use gzip, deflate or none"
            raise invalid(message, error_code="request_body_encoding_unsupported")
        try:
            return await request.body()
        except TooLarge as error:
            limit = now.config.server.max_body_bytes
            message = f"the request is larger than {limit} bytes (server.max_body_bytes)"
            raise Rejection(Failure("request_too_large", message)) from error
        except Unreadable as error:
            raise invalid("the request body is not what its headers say", error_code="request_body_invalid") from error

    # --- the API -----------------------------------------------------------------------------------------------------

    async def _messages(self, request: Request, request_id: str, now: Generation) -> Response | None:
        call = Call(await self._body(request, now), read_headers(request.headers), request_id, new_id("msg_"))
        now.note(request_id, call.raw)
        hop = await now.gateway.parse(call)
        if hop.stream is not None:
            return await self._stream(request, hop, hop.stream, now)
        whole = WholeClient()
        try:
            await now.gateway.exchange(hop, whole)
        except Rejection as rejection:
            return failure_response(rejection.failure, request_id, whole.headers)
        return Response(200, {**_JSON, "request-id": request_id, **whole.headers}, whole.body)

    async def _stream(self, request: Request, hop: Hop, encoder: StreamEncoder, now: Generation) -> Response | None:
        request_id = hop.call.request_id
        limits = now.config.server
        client = StreamClient(
            request,
            {"request-id": request_id},
            lambda: encoder.start(now.gateway.estimate(hop)),
            limits.commit_seconds,
            limits.ping_seconds,
        )
        try:
            await now.gateway.exchange(hop, client)
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

    async def _count_tokens(self, request: Request, request_id: str, now: Generation) -> Response | None:
        version = request.header("anthropic-version") or OLD_VERSION
        count = await now.gateway.count_tokens(await self._body(request, now), version)
        return json_response(count, request_id)

    async def _models(self, request: Request, request_id: str, now: Generation) -> Response | None:
        query = {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
        try:
            limit = int(query.get("limit", "20"))
        except ValueError:
            limit = 0  # refused with the range it must be in
        # The client's own picker has rows for the tiers already.
        picker = request.header("user-agent").startswith("claude-code/")
        models = picker_models(now.config, now.gateway.routes.learned, tiers=not picker)
        found = page(models, limit, query.get("after_id"), query.get("before_id"))
        return json_response(found, request_id)

    def _model(self, model_id: str, request_id: str, now: Generation) -> Response:
        for model in picker_models(now.config, now.gateway.routes.learned):
            if model["id"] == model_id:
                return json_response(model, request_id)
        raise Rejection(Failure("not_found_error", f"model: {model_id}"))

    # --- about this server -------------------------------------------------------------------------------------------

    async def _health(self, _request: Request, request_id: str, _now: Generation) -> Response | None:
        return json_response(Greeting("ok", SERVICE, __version__, self._identity.id), request_id)

    async def _metrics(self, _request: Request, request_id: str, _now: Generation) -> Response | None:
        body = text(self._total())
        return Response(200, {"content-type": "text/plain; version=0.0.4", "request-id": request_id}, body)

    async def _status(self, request: Request, request_id: str, now: Generation) -> Response | None:
        workers = Workers(self._place.slot, list(self._place.loads)) if self._place else Workers()
        older = sum(generation.open for generation in self._older)  # this request is of none of them
        body = json.encode(
            describe(now, self._identity, self.taken, Load(self._total().open - 1, older, workers), time.time())
        )
        headers = {**_JSON, "request-id": request_id}
        if self._knows_secret(request):
            headers[PROOF] = self._identity.proof(request.header(CHALLENGE), body)
        return Response(200, headers, body)

    def _total(self) -> Metrics:
        """The counters of all workers."""
        return self._place.shared.total(self._place.slot, self.metrics) if self._place else self.metrics

    async def _landing(self, _request: Request, request_id: str, _now: Generation) -> Response | None:
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


def _check_token(request: Request, expected: str) -> None:
    if not expected:
        return
    scheme, _, bearer = request.header("authorization").partition(" ")
    given = [request.header("x-api-key"), bearer.strip() if scheme.lower() == "bearer" else ""]
    token = expected.encode()
    # A header may hold any bytes; those that are no UTF-8 are surrogates here.
    if not any(hmac.compare_digest(candidate.encode("utf-8", "surrogateescape"), token) for candidate in given):
        message = "invalid token for this Latimer gateway: set ANTHROPIC_AUTH_TOKEN to the token it was started with"
        raise Rejection(Failure("authentication_error", message, should_retry=False))


def _not_allowed(methods: Sequence[str], request_id: str) -> Response:
    allowed = ", ".join([*methods, "HEAD"])
    failure = Failure("invalid_request_error", f"method not allowed; this route takes {allowed}")
    return replace(failure_response(failure, request_id, {"allow": allowed}), status=405)
