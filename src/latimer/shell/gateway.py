"""The gateway: one request on its one visible hop.

parse -> route -> translate -> send -> receive -> translate -> emit
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from latimer.answer import Answer, Encoder
from latimer.dialects.chat.errors import Asked, connection_failure
from latimer.dialects.chat.request import Outgoing, encode_request
from latimer.dialects.chat.response import ResponseDecoder
from latimer.dialects.chat.stream import Reader
from latimer.dialects.chat.tools import restored_names
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.request import Request, decode_count_request, decode_request
from latimer.errors import Failure, Rejection
from latimer.events import Finish, Start, Usage
from latimer.policy.config import Config
from latimer.policy.counting import TokenRatios, Weight, weigh
from latimer.policy.lessons import lesson
from latimer.policy.profiles import resolve
from latimer.policy.retry import falls_back, wait_before_retry
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
    """A request on its way: parsed, weighed, with what its answer begins with.

    `stream` is None for a client that wants one message. A stream has one encoder for all attempts, since its
    `message_start` may have been sent during an earlier one.
    """

    call: Call
    request: Request
    weight: Weight
    heading: Heading
    stream: StreamEncoder | None


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

        def decode() -> tuple[Request, Weight]:
            return decode_request(call.raw, call.version), weigh(call.raw)

        request, weight = await beside(call.raw, decode)
        heading = Heading(call.message_id, request.body.model, call.request_id, request.hides_thinking)
        return Hop(call, request, weight, heading, StreamEncoder(heading) if request.body.stream else None)

    async def exchange(self, hop: Hop, client: Client) -> None:
        """Answer one request. Raises `Rejection` if nothing of an answer has reached the client."""
        failure = Failure("api_error", "no route")
        for route in self.routes(hop.request.body.model):
            outcome = await self._try_route(hop, route, client)
            if outcome is None:
                return
            failure = outcome
            log.warning("%s: gave up with %s", route.name, failure.type)
            if not falls_back(failure):
                break
        raise Rejection(failure)

    async def count_tokens(self, raw: bytes, version: str) -> int:
        """Input tokens of a request: exact where the upstream counts, else estimated. Raises `Rejection`."""

        def decode() -> tuple[Request, Weight]:
            return decode_count_request(raw, version), weigh(raw)

        request, weight = await beside(raw, decode)
        route = self.routes(request.body.model)[0]
        exact = await self._count(raw, request, route) if self._engines.counts(route) else None
        return exact or self._ratios.estimate(route.name, weight)

    async def _count(self, raw: bytes, request: Request, route: Route) -> int | None:
        def encode() -> bytes:
            return encode_request(request, model=route.model, route=route.name, profile=route.profile).body

        try:
            body = await beside(raw, encode)
        except Rejection:
            return None  # a count is no promise to serve
        return await self._engines.count(route, body)

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
                if not taught and (lesson_learned := self._learn(route, error)):
                    route, loss = lesson_learned
                    taught = [loss]
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
        encoder = hop.stream or WholeEncoder(hop.heading)
        if hop.request.body.max_tokens == 0:
            await _warm_up(encoder, client)
            return None
        answer = self._answer(hop, route, asked, encoder)
        try:
            await self._receive(route, outgoing, asked, answer, client)
        except UpstreamError as error:
            if error.status:
                error.sent = outgoing.sent
                raise
            if out := answer.cut(error.failure):
                await client.send(out)
        if answer.failure and not answer.spoken:
            return answer.failure
        self._record(hop, route, answer)
        return None

    async def _receive(self, route: Route, outgoing: Outgoing, asked: Asked, answer: Answer, client: Client) -> None:
        """The bytes of one answer, each read translated and passed on before the next. Raises `UpstreamError`."""
        silence = Silence(self.config.server.idle_timeout_seconds)
        try:
            async with silence.watched(), self._upstream.post(route, outgoing.body, asked) as reply:
                while not answer.over and (data := await reply.read()):
                    silence.heard()
                    if out := answer.feed(data):
                        await client.send(out)
                    if answer.settling:
                        silence.settle(SETTLE_SECONDS)
                    silence.listen()
                await _end(answer, client)
                if answer.announced:
                    await reply.drain()
        except TimeoutError as error:
            if not answer.settling:
                detail = f"nothing came for {self.config.server.idle_timeout_seconds:g} s"
                raise UpstreamError(connection_failure("timeout", asked, detail)) from error
            await _end(answer, client)

    async def _translate(self, hop: Hop, route: Route, asked: Asked) -> Outgoing:
        def encode() -> Outgoing:
            return encode_request(
                hop.request,
                model=route.model,
                route=route.name,
                profile=route.profile,
                input_estimate=asked.input_estimate,
            )

        return await beside(hop.call.raw, encode)

    def _answer(self, hop: Hop, route: Route, asked: Asked, encoder: Encoder) -> Answer:
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
        return Answer(ResponseDecoder(reader), stages, encoder)

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

    def _learn(self, route: Route, error: UpstreamError) -> tuple[Route, Loss] | None:
        """The route with what a refusal teaches, kept for as long as this process lives."""

        def taught_by(profile: Profile) -> tuple[Profile, str] | None:
            return lesson(error.status, error.error.message, error.error.param, error.sent, profile)

        taught = taught_by(route.profile)
        if taught is None:
            return None
        # Other requests may have learned meanwhile, the same or more.
        known = resolve(route.provider, route.model, self.learned.get(route.name))
        newest, _ = taught_by(known) or (known, "")
        profile = resolve(route.provider, route.model, newest)
        if profile == route.profile:
            return None  # the user's own words say otherwise, and they count more
        self.learned[route.name] = profile
        log.info("%s: learned from a %d: %s", route.name, error.status, taught[1])
        loss = Loss(error.error.param or "request", "approximated", taught[1])
        return Route(route.provider, route.model, profile), loss

    def _record(self, hop: Hop, route: Route, answer: Answer) -> None:
        if answer.failure is not None:
            log.warning("%s: the answer broke off with %s", route.name, answer.failure.type)
        if answer.usage is not None:
            self._ratios.learn(route.name, hop.weight, answer.usage.input_tokens)
            self.metrics.answered(route.name, answer.usage)


async def _end(answer: Answer, client: Client) -> None:
    if out := answer.end():
        await client.send(out)


async def _warm_up(encoder: Encoder, client: Client) -> None:
    """`max_tokens: 0` asks to fill a cache and generate nothing, which Chat Completions cannot be asked for."""
    await client.send(encoder.encode(Start("", "")) + encoder.encode(Finish("length", Usage())))


async def beside(raw: bytes, work: Callable[[], T]) -> T:
    """The result of the work, which is done in a thread if it would hold up the event loop."""
    if len(raw) < OFFLOAD_BYTES and b"application/pdf" not in raw:
        return work()
    return await asyncio.to_thread(work)
