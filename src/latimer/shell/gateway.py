"""The gateway: one request on its one visible hop.

parse -> route -> translate -> send -> receive -> translate -> emit
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec import Struct, json
from msgspec.structs import replace

from latimer.answer import Encoder
from latimer.auto_mode.own_check import as_check, is_own_check
from latimer.auto_mode.review import Review, take_review
from latimer.codecs import AnyAnswer, Destination, encode_request, native_rules, read_answer
from latimer.dialects.errors.failures import Asked, connection_failure
from latimer.dialects.messages.compaction import compacted, given_up, question, read_summary, resumed
from latimer.dialects.messages.edits import apply_edits
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.headers import Headers
from latimer.dialects.messages.refusals import refuse_unservable
from latimer.dialects.messages.request import Request, decode_count_request, decode_request
from latimer.dialects.messages.slots import native_slots
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.reader import Reader
from latimer.dialects.tools import restored_names
from latimer.errors import Failure, Rejection, invalid
from latimer.events import Event, Finish, Start, Usage
from latimer.images import Known
from latimer.pipeline import answer_stages
from latimer.policy.config import Config
from latimer.policy.counting import TokenRatios, Weight, weigh
from latimer.policy.models import cost
from latimer.policy.retry import falls_back, wait_before_retry
from latimer.policy.routing import Route
from latimer.policy.signatures import Signatures
from latimer.profile import NativeRules
from latimer.report import Loss, header
from latimer.server_tools.plan import Abilities, asks_server, prepare
from latimer.server_tools.turn import Turn
from latimer.shell.auto_mode import Reviewer
from latimer.shell.client_stream import Client, WholeClient
from latimer.shell.engine import Engines
from latimer.shell.metrics import Metrics
from latimer.shell.routes import Routes
from latimer.shell.server_tools import ServerTools
from latimer.shell.silence import Silence
from latimer.shell.upstream import UpstreamClient, UpstreamError
from latimer.shell.vision import Describer
from latimer.stages import Stage
from latimer.wire.messages import given

log = logging.getLogger(__name__)
for _library in ("pypdf", "PIL"):  # they log what stands in broken files, which is the user's business
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)

SETTLE_SECONDS = 5.0
"""How long usage is awaited after the finish reason: some servers keep the connection open and send none."""
OFFLOAD_BYTES = 1024 * 1024
"""Larger requests are translated beside the event loop: they take more than about 5 ms."""

OWN_ANSWER = "latimer"
"""What `latimer-route` says where no upstream was asked."""

T = TypeVar("T")


class Call(Struct, frozen=True):
    """A request as it came in. `request_id` and `message_id` are unique."""

    raw: bytes
    headers: Headers
    request_id: str
    message_id: str


class Hop(Struct, frozen=True):
    """A request on its way: parsed, weighed, with what its answer begins with.

    `stream` is None for a client that wants one message. A stream has one encoder for all attempts, since its
    `message_start` may have been sent during an earlier one. `turn` is there when Latimer runs tools for the model.
    An `own` request is a question of Latimer's, about an image that nobody else describes. `review` is there when the
    answer waits for verdicts on its tool calls. `raw` is the client's body while the request is what stands there.
    """

    call: Call
    request: Request
    weight: Weight
    heading: Heading
    stream: StreamEncoder | None
    turn: Turn | None = None
    own: bool = False
    review: Review | None = None
    raw: bytes | None = None

    def encoder(self, losses: Iterable[Loss] = ()) -> Encoder:
        """Where the next events of the answer go. `losses` are the request's on its way to the upstream."""
        encoder = self.stream or WholeEncoder(self.heading, self.turn.content if self.turn else ())
        encoder.slots = native_slots(self.request, losses)
        return self.review.watch(encoder) if self.review else encoder


class Gateway:
    """Answers requests by the routes of a configuration."""

    def __init__(self, config: Config, upstream: UpstreamClient, engines: Engines, routes: Routes) -> None:
        self.config = config
        self.routes = routes
        self.metrics = Metrics()
        self._upstream = upstream
        self._engines = engines
        self._ratios = TokenRatios()
        self._signatures = Signatures()
        self._tools = ServerTools(config, os.environ)
        self._describer = Describer(config.vision, self._look)
        self._reviewer = Reviewer(config.auto_mode, self._classify, self.metrics)

    async def parse(self, call: Call) -> Hop:
        """Raises `Rejection`."""

        def decode() -> tuple[Request, Weight, bool, NativeRules]:
            decoded = decode_request(call.raw, call.headers.version, call.headers.betas)
            native = native_rules(self.routes.chain(decoded.body.model)[0].profile)
            weight = weigh(call.raw)
            request, left = _resumed(decoded, weight)
            if not native.takes("context_management"):
                request, left = self._edited(request, left)
            return request, left, left == weight and request.compact is None, native

        request, weight, same, native = await beside(call.raw, decode)
        request = replace(request, session=call.headers.session, agent=call.headers.agent)
        if call.headers.losses:
            request = replace(request, losses=[*call.headers.losses, *request.losses])
        heading = Heading(call.message_id, request.body.model, call.request_id, request.hides_thinking)
        stream = StreamEncoder(heading) if request.body.stream else None
        classifier = self.config.auto_mode.classifier
        review = None
        if is_own_check(request):
            request, same = as_check(request, classifier), False
        elif classifier and given(request.body.safeguards) and not native.takes("safeguards"):
            request, review = take_review(request, classifier, delegated=bool(call.headers.agent))
        raw = call.raw if same else None
        if native.server_tools or not asks_server(request):
            return Hop(call, request, weight, heading, stream, review=review, raw=raw)
        request, plan = prepare(request, self._abilities(request))
        turn = Turn(request, plan, heading) if plan and (plan.tools or plan.alone) else None
        return Hop(call, request, weight, heading, stream, turn, review=review)

    def _edited(self, request: Request, weight: Weight) -> tuple[Request, Weight]:
        """The request with the edits of its context done, and what it weighs then. Raises `Rejection`."""

        def tokens(part: Weight) -> int:
            return self._ratios.estimate(self.routes.chain(request.body.model)[0].name, part)

        edited, removed = apply_edits(request, lambda: tokens(weight), lambda raw: tokens(weigh(raw)))
        return edited, weight - weigh(removed)

    async def exchange(self, hop: Hop, client: Client) -> None:
        """Answer one request. Raises `Rejection` if nothing of an answer has reached the client."""
        if hop.request.compact is not None:
            pauses = hop.request.compact.pause
            hop = await self._compacted(hop)
            if pauses and hop.request.compacted is not None:
                _pause(hop, client)
                return
        await self._converse(hop, client)
        if hop.review is not None and hop.review.due:
            client.write(hop.review.settle(await self._reviewer.verdicts(hop.review)))

    async def _converse(self, hop: Hop, client: Client) -> None:
        """Everything of the answer but the end of one that is reviewed."""
        if hop.turn is None:
            return await self._exchange(hop, client)
        size = len(json.encode(hop.request.messages))

        async def ask(request: Request) -> None:
            more = len(json.encode(request.messages)) - size
            weight = Weight(hop.weight.text_bytes + more, hop.weight.files)
            await self._exchange(replace(hop, request=request, weight=weight), client)

        def tell(events: list[Event]) -> None:
            encoder = hop.encoder()
            if out := b"".join([encoder.encode(event) for event in events]):
                client.write(out)

        refuse_unservable(hop.request)
        client.announce(OWN_ANSWER, header(hop.request.losses))
        return await self._tools.converse(hop.turn, ask, tell)

    async def _exchange(self, hop: Hop, client: Client) -> None:
        failure: Failure | None = None
        for route in self.routes.chain(hop.request.body.model):
            try:
                outcome = await self._try_route(hop, route, client)
            except Rejection as rejection:
                if failure is None:
                    raise
                # That this route cannot serve the request says nothing of why the one before it failed.
                log.info("%s: cannot serve it: %s", route.name, rejection.failure.type)
                continue
            if outcome is None:
                return
            failure = outcome
            log.warning("%s: gave up with %s", route.name, failure.type)
            if not falls_back(failure):
                break
        raise Rejection(failure or Failure("api_error", "no route"))

    async def count_tokens(self, raw: bytes, version: str) -> dict[str, Any]:
        """The answer to `count_tokens`: exact where the upstream counts, else estimated. Raises `Rejection`.

        Where edits of the context are asked for, it counts what they leave, and beside it what there was.
        """

        def decode() -> tuple[Request, Weight]:
            return _resumed(decode_count_request(raw, version), weigh(raw))

        request, weight = await beside(raw, decode)
        original = await self._counted(raw, request, weight)
        if not given(request.body.context_management):
            return {"input_tokens": original}
        edited, less = self._edited(request, weight)
        left = await self._counted(raw, edited, less) if edited.applied_edits else original
        return {"input_tokens": left, "context_management": {"original_input_tokens": original}}

    async def _counted(self, raw: bytes, request: Request, weight: Weight) -> int:
        route = self.routes.chain(request.body.model)[0]
        exact = await self._count(raw, request, route)
        return exact or self._ratios.estimate(route.name, weight)

    async def _count(self, raw: bytes, request: Request, route: Route) -> int | None:
        """As the upstream counts, None where it does not."""
        profile = route.profile
        native = profile.endpoint.dialect == "messages" and profile.endpoint.count_tokens
        if not (native or self._engines.counts(route)):
            return None
        if not native:  # engines count what their chat template makes of it
            profile = replace(profile, endpoint=replace(profile.endpoint, dialect="chat"))

        def encode() -> Outgoing:
            asks = asks_server(request) and not native_rules(profile).server_tools
            prepared = prepare(request, self._abilities(request))[0] if asks else request
            to = Destination(route.model, route.name, profile)
            return encode_request(prepared, to, descriptions=self._describer.known, raw=None if asks else raw)

        try:
            outgoing = await beside(raw, encode)
        except Rejection:
            return None  # a count is no promise to serve
        if native:
            return await self._engines.count_natively(route, outgoing.body, outgoing.headers)
        return await self._engines.count(route, outgoing.body)

    def estimate(self, hop: Hop) -> Usage:
        """What `message_start` says of the prompt before the upstream has counted it."""
        route = self.routes.chain(hop.request.body.model)[0]
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
                if not taught and (lesson_learned := self.routes.learn(route, error)):
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
        if hop.review is not None:
            hop.review.begin()
        encoder = hop.encoder(outgoing.losses)
        if hop.request.body.max_tokens == 0 and route.profile.endpoint.dialect != "messages":
            _warm_up(encoder, client)
            return None
        answer = self._answer(hop, route, asked, encoder)
        try:
            await self._receive(route, outgoing, asked, answer, client)
        except UpstreamError as error:
            if error.status:
                error.sent = outgoing.sent
                raise
            if out := answer.cut(error.failure):
                client.write(out)
        if answer.failure and not answer.spoken:
            return answer.failure
        if answer.losses:
            client.announce(route.name, header([*taught, *outgoing.losses, *answer.losses]))
        self._record(hop, route, answer)
        return None

    async def _receive(self, route: Route, outgoing: Outgoing, asked: Asked, answer: AnyAnswer, client: Client) -> None:
        """The bytes of one answer, each read translated and passed on where it comes in. Raises `UpstreamError`."""
        silence = Silence(self.config.server.idle_timeout_seconds)

        def take(data: bytes) -> bool:
            if out := answer.feed(data):
                client.write(out)
            if answer.settling:
                silence.settle(SETTLE_SECONDS)
            silence.listen()
            return not (answer.over or client.congested)

        try:
            async with silence.watched(), self._upstream.post(route, outgoing.body, asked, outgoing.headers) as reply:
                silence.listen()
                while not await reply.flow(take) and not answer.over:
                    silence.heard()
                    await client.drain()
                    silence.listen()
                _end(answer, client)
                if answer.announced:
                    await reply.drain()
        except TimeoutError as error:
            if not answer.settling:
                detail = f"nothing came for {self.config.server.idle_timeout_seconds:g} s"
                raise UpstreamError(connection_failure("timeout", asked, detail)) from error
            _end(answer, client)

    async def _look(self, question: bytes) -> bytes:
        """A message about an image, by the model that describes them. Raises `Rejection`."""
        hop = await self.parse(Call(question, Headers(), "", f"msg_{secrets.token_hex(12)}"))
        client = WholeClient()
        model = hop.request.body.model
        if self._sees(model):
            await self._exchange(replace(hop, own=True), client)
        if not self._sees(model):  # which its answer to an image may have taught
            raise invalid(f"{model} takes no images itself")
        return client.body

    async def _classify(self, question: bytes) -> bytes:
        """A message about a tool call, by the model that reviews them. Raises `Rejection`."""
        hop = await self.parse(Call(question, Headers(), "", f"msg_{secrets.token_hex(12)}"))
        client = WholeClient()
        await self._exchange(hop, client)
        return client.body

    async def _compacted(self, hop: Hop) -> Hop:
        """The hop with the summary that is due in place of its history, by the model it goes to; else without."""
        refuse_unservable(hop.request)
        asked = question(hop.request)
        if asked is None:
            return replace(hop, request=given_up(hop.request, "there is nothing before the last turn to sum up"))
        client = WholeClient()
        done = None
        weight = hop.weight - weigh(json.encode(hop.request.tools))
        try:
            await self._exchange(
                replace(hop, request=asked, raw=None, weight=weight, stream=None, turn=None, review=None), client
            )
            done = read_summary(client.body)
        except Rejection as rejection:
            log.warning("no summary: %s", rejection.failure.type)
        except Exception as error:  # a request that can be answered must not fail for its summary's sake
            log.error("no summary: unexpected %s", type(error).__name__)
        if done is None:
            return replace(hop, request=given_up(hop.request, "the model gave no summary"))
        request, replaced = compacted(hop.request, done)
        weight = hop.weight - weigh(replaced)
        weight = Weight(weight.text_bytes + len(done.summary.encode()), weight.files)
        turn = Turn(request, hop.turn.plan, hop.heading) if hop.turn else None
        return replace(hop, request=request, raw=None, weight=weight, turn=turn)

    def _sees(self, model: str) -> bool:
        return self.routes.chain(model)[0].profile.sees

    async def _translate(self, hop: Hop, route: Route, asked: Asked) -> Outgoing:
        """The upstream's request; it waits for descriptions of images where the model sees none."""
        outgoing = await self._encode(hop, route, asked, None if hop.own else self._describer.known)
        if not outgoing.unseen:
            return outgoing
        return await self._encode(hop, route, asked, await self._describer.describe(outgoing.unseen))

    async def _encode(self, hop: Hop, route: Route, asked: Asked, known: Known | None) -> Outgoing:
        def encode() -> Outgoing:
            to = Destination(route.model, route.name, route.profile)
            foreign = self._signatures.foreign(hop.request, route.name)
            return encode_request(
                hop.request, to, input_estimate=asked.input_estimate, descriptions=known, raw=hop.raw, foreign=foreign
            )

        return await beside(hop.call.raw, encode)

    def _answer(self, hop: Hop, route: Route, asked: Asked, encoder: Encoder) -> AnyAnswer:
        """The pipeline from this upstream's bytes to this client's."""
        request = hop.request
        reader = Reader(
            asked=asked,
            message_id=hop.call.message_id,
            names=restored_names(request),
            taken_ids=request.tool_call_ids,
            seal_text=request.hides_thinking,
            think_tags=route.profile.reasoning.think_tags,
            raw_arguments=route.profile.tools.repair_arguments,
        )

        def stages() -> list[Stage]:
            ours = answer_stages(
                request,
                route.profile,
                route=route.name,
                message_id=hop.call.message_id,
                input_estimate=asked.input_estimate,
            )
            return [*ours, hop.turn.begin()] if hop.turn else ours

        return read_answer(
            request,
            route.profile,
            reader,
            stages,
            encoder,
            watched=hop.turn is not None or hop.review is not None,
            greeted=lambda: hop.stream is not None and hop.stream.started,
        )

    def _abilities(self, request: Request) -> Abilities:
        return self._tools.abilities(self.routes.most_tools(request.body.model))

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

    def _record(self, hop: Hop, route: Route, answer: AnyAnswer) -> None:
        if answer.failure is not None:
            log.warning("%s: the answer broke off with %s", route.name, answer.failure.type)
        for repair in answer.repairs:
            log.info("%s: %s", route.name, repair.why)
            self.metrics.repairs[route.name, repair.why] += 1
        self._signatures.remember(answer.signatures, route.name)
        usage = hop.turn.round_usage if hop.turn else answer.usage
        if usage is not None:
            self._ratios.learn(route.name, hop.weight, usage.input_tokens)
            self.metrics.answered(route.name, usage, cost(usage, route.profile.prices))


def _resumed(request: Request, weight: Weight) -> tuple[Request, Weight]:
    """The request from its newest summary on, and what it weighs then."""
    request, dropped = resumed(request)
    return request, weight - weigh(dropped)


def _end(answer: AnyAnswer, client: Client) -> None:
    if out := answer.end():
        client.write(out)


def _pause(hop: Hop, client: Client) -> None:
    """The summary is the answer; the client says how it goes on."""
    client.announce(OWN_ANSWER, header(hop.request.losses))
    encoder = hop.encoder()
    client.write(encoder.encode(Start("", "")) + encoder.encode(Finish("compaction", Usage())))


def _warm_up(encoder: Encoder, client: Client) -> None:
    """`max_tokens: 0` asks to fill a cache and generate nothing, which Chat Completions cannot be asked for."""
    client.write(encoder.encode(Start("", "")) + encoder.encode(Finish("length", Usage())))


async def beside(raw: bytes, work: Callable[[], T]) -> T:
    """The result of the work, which is done in a thread if it would hold up the event loop."""
    if len(raw) < OFFLOAD_BYTES and b"application/pdf" not in raw:
        return work()
    return await asyncio.to_thread(work)
