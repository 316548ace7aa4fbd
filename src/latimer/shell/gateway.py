"""The gateway: one request on its one visible hop.

parse -> route -> translate -> send -> receive -> translate -> emit
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct, json

from latimer.answer import Answer
from latimer.dialects.chat.errors import Asked, connection_failure
from latimer.dialects.chat.request import Outgoing, encode_request
from latimer.dialects.chat.response import ResponseDecoder
from latimer.dialects.chat.stream import Reader
from latimer.dialects.chat.tools import restored_names
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.request import Request, decode_request
from latimer.errors import Failure, Rejection
from latimer.events import Finish, Start, Usage
from latimer.policy.config import Config
from latimer.policy.counting import TokenRatios, Weight, weigh
from latimer.policy.lessons import lesson
from latimer.policy.profiles import resolve
from latimer.policy.retry import wait_before_retry
from latimer.policy.routing import Route, routes_for
from latimer.profile import Profile
from latimer.report import Loss, header
from latimer.shell.client_stream import Client
from latimer.shell.engine import Engines
from latimer.shell.metrics import Metrics
from latimer.shell.silence import Silence
from latimer.shell.upstream import UpstreamClient, UpstreamError
from latimer.stages import OneCall, Stage, StopSequences

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long usage is awaited after the finish reason: some servers keep the connection open and send none."""
OFFLOAD_BYTES = 256 * 1024
"""Larger requests are translated beside the event loop: they take more than about 5 ms."""

T = TypeVar("T")


class Call(Struct, frozen=True):
    """A request as it came in. `request_id` and `message_id` are unique."""

    raw: bytes
    version: str
    request_id: str
    message_id: str


class Hop(Struct, frozen=True):
    """A request on its way: parsed, weighed, with the encoder of its answer."""

    call: Call
    request: Request
    weight: Weight
    encoder: StreamEncoder | WholeEncoder


class Gateway:
    """Answers requests by the routes of a configuration."""

    def __init__(self, config: Config, upstream: UpstreamClient, engines: Engines, learned: dict[str, Profile]) -> None:
        self.config = config
        self.learned = learned
        self.metrics = Metrics()
        self._upstream = upstream
        self._engines = engines
        self._ratios = TokenRatios()

    def routes(self, model_id: str) -> list[Route]:
        """The chain for a model id, with what is known by now of its upstreams. Raises `Rejection`."""
        return routes_for(self.config, model_id, self.learned)

    async def parse(self, call: Call) -> Hop:
        """Raises `Rejection`."""

        def decode() -> Request:
            return decode_request(call.raw, call.version)

        thread = offload(call.raw, decode)
        request = decode() if thread is None else await thread
        heading = Heading(call.message_id, request.body.model, call.request_id, request.hides_thinking)
        encoder = StreamEncoder(heading) if request.body.stream else WholeEncoder(heading)
        return Hop(call, request, weigh(call.raw), encoder)

    async def exchange(self, hop: Hop, client: Client) -> None:
        """Answer one request. Raises `Rejection` if nothing of an answer has reached the client."""
        failure = Failure("api_error", "no route")
        for route in self.routes(hop.request.body.model):
            outcome = await self._try_route(hop, route, client)
            if outcome is None:
                return
            failure = outcome
            if not failure.transient:
                break
        raise Rejection(failure)

    async def count_tokens(self, raw: bytes, version: str) -> int:
        """Input tokens of a request: exact where the upstream counts, else estimated. Raises `Rejection`."""
        request = decode_request(raw, version)
        route = self.routes(request.body.model)[0]
        outgoing = encode_request(request, model=route.model, route=route.name, profile=route.profile)
        body = json.decode(outgoing.body)
        exact = await self._engines.count(route, body["messages"], body.get("tools", []))
        return exact or self._ratios.estimate(route.name, weigh(raw))

    def estimate(self, hop: Hop) -> Usage:
        """What `message_start` says of the prompt before the upstream has counted it."""
        route = self.routes(hop.request.body.model)[0]
        return Usage(input_tokens=self._ratios.estimate(route.name, hop.weight))

    async def _try_route(self, hop: Hop, route: Route, client: Client) -> Failure | None:
        """Attempts on one route; None when the client has its answer."""
        taught: list[Loss] = []
        attempt = 1
        while True:
            try:
                failure = await self._attempt(hop, route, client, taught)
            except UpstreamError as error:
                failure = error.failure
                if not taught and (loss := self._learn(hop, route, error)):
                    taught = [loss]
                    profile = resolve(route.provider, route.model, self.learned[route.name])
                    route = Route(route.provider, route.model, profile)
                    continue
            if failure is None:
                return None
            pause = wait_before_retry(attempt, failure, self.config.retry, random.random())  # noqa: S311  # jitter
            if pause is None:
                return failure
            log.info("%s: attempt %d failed with %s, next in %.1f s", route.name, attempt, failure.type, pause)
            self.metrics.retries[route.name] += 1
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self, hop: Hop, route: Route, client: Client, taught: list[Loss]) -> Failure | None:
        """The hop itself. A failure comes back while the client can still be told anything else; None: it was answered.

        Raises `UpstreamError` for a refusal with an HTTP status, which may hold a lesson.
        """
        asked = self._asked(hop, route)
        outgoing = await self._translate(hop, route, asked)
        client.announce(route.name, header(taught + outgoing.losses))
        answer = self._answer(hop, route, asked)
        if hop.request.body.max_tokens == 0:
            await _warm_up(hop, client)
            return None
        try:
            await self._receive(route, outgoing, asked, answer, client)
            out = answer.end()
        except UpstreamError as error:
            if error.status and not answer.spoken:
                raise
            out = answer.cut(error.failure)
        if answer.failure and not answer.spoken:
            return answer.failure
        if out:
            await client.send(out)
        self._record(hop, route, answer)
        return None

    async def _receive(self, route: Route, outgoing: Outgoing, asked: Asked, answer: Answer, client: Client) -> None:
        """The bytes of one answer, each read translated and passed on before the next. Raises `UpstreamError`."""
        silence = Silence(self.config.server.idle_timeout_seconds)
        try:
            async with silence.watched(), self._upstream.post(route, outgoing.body, asked) as reply:
                while not answer.over and (data := await reply.read()):
                    if out := answer.feed(data):
                        await client.send(out)
                    silence.heard()
                    if answer.settling:
                        silence.settle(SETTLE_SECONDS)
        except TimeoutError as error:
            if not answer.settling:
                detail = f"nothing came for {self.config.server.idle_timeout_seconds:g} s"
                raise UpstreamError(connection_failure("timeout", asked, detail)) from error

    async def _translate(self, hop: Hop, route: Route, asked: Asked) -> Outgoing:
        def encode() -> Outgoing:
            return encode_request(
                hop.request,
                model=route.model,
                route=route.name,
                profile=route.profile,
                input_estimate=asked.input_estimate,
            )

        thread = offload(hop.call.raw, encode)
        return encode() if thread is None else await thread

    def _answer(self, hop: Hop, route: Route, asked: Asked) -> Answer:
        """The pipeline from this upstream's bytes to this client's."""
        request = hop.request
        reader = Reader(
            asked=asked,
            message_id=hop.call.message_id,
            names=restored_names(request),
            taken_ids=request.tool_call_ids,
            seal_text=request.hides_thinking,
            think_tags=route.profile.reasoning.think_tags,
        )
        stages: list[Stage] = [OneCall()] if request.one_call else []
        if request.body.stop_sequences:
            stages.append(StopSequences(request.body.stop_sequences, asked.input_estimate))
        return Answer(ResponseDecoder(reader), stages, hop.encoder)

    def _asked(self, hop: Hop, route: Route) -> Asked:
        return Asked(
            provider=route.provider.name,
            route=route.name,
            key_source=route.provider.api_key,
            model=hop.request.body.model,
            input_estimate=self._ratios.estimate(route.name, hop.weight),
            context_window=route.profile.request.context_window,
            max_tokens=hop.request.body.max_tokens,
        )

    def _learn(self, hop: Hop, route: Route, error: UpstreamError) -> Loss | None:
        """What a refusal teaches about the route, kept for as long as this process lives."""
        sent = encode_request(hop.request, model=route.model, route=route.name, profile=route.profile).sent
        taught = lesson(error.status, error.error.message, error.error.param, sent, route.profile)
        if taught is None:
            return None
        profile = resolve(route.provider, route.model, taught[0])
        if profile == route.profile:
            return None  # the user's own words say otherwise, and they count more
        self.learned[route.name] = profile
        log.info("%s: learned from a %d: %s", route.name, error.status, taught[1])
        return Loss(error.error.param or "request", "approximated", taught[1])

    def _record(self, hop: Hop, route: Route, answer: Answer) -> None:
        if answer.usage is not None:
            self._ratios.learn(route.name, hop.weight, answer.usage.input_tokens)
            self.metrics.answered(route.name, answer.usage)


async def _warm_up(hop: Hop, client: Client) -> None:
    """`max_tokens: 0` asks to fill a cache and generate nothing, which Chat Completions cannot be asked for."""
    for event in (Start("", ""), Finish("length", Usage())):
        if out := hop.encoder.encode(event):
            await client.send(out)


def offload(raw: bytes, work: Callable[[], T]) -> asyncio.Future[T] | None:
    """The work in a thread if it would hold up the event loop, None if it is quick."""
    if len(raw) < OFFLOAD_BYTES and b"application/pdf" not in raw:
        return None
    return asyncio.ensure_future(asyncio.to_thread(work))
