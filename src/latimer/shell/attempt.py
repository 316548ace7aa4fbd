"""One attempt to have a request answered: translate, send, receive, record."""

from __future__ import annotations

import logging
import time

from msgspec import Struct
from msgspec.structs import replace

from latimer.answer import Encoder
from latimer.codecs import AnyAnswer, Destination, encode_request, read_answer
from latimer.dialects.errors.failures import Asked, connection_failure
from latimer.dialects.errors.waits import allowance_wait
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.reader import Reader
from latimer.dialects.tools import restored_names
from latimer.errors import Failure
from latimer.events import Finish, Start, Usage
from latimer.images import Known
from latimer.pipeline import answer_stages
from latimer.policy.config import Provider, Server
from latimer.policy.counting import TokenRatios
from latimer.policy.models import cost
from latimer.policy.refusal import Refusals
from latimer.policy.routing import Route
from latimer.policy.signatures import Signatures
from latimer.report import Loss, header
from latimer.shell.client_stream import Client
from latimer.shell.guard import Guard, Trial
from latimer.shell.hop import Hop, beside
from latimer.shell.http.asking import Sink
from latimer.shell.metrics import Metrics
from latimer.shell.silence import Silence
from latimer.shell.upstream import UpstreamClient, UpstreamError
from latimer.shell.vision import Describer
from latimer.stages import Stage

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long usage is awaited after the finish reason: some servers keep the connection open and send none."""
MAX_FOLDED_BYTES = 64 * 1024 * 1024
"""What an upstream may send for one whole message: all of it is kept until its end."""


class Errand(Struct, frozen=True):
    """What an attempt has at hand while it waits for the answer."""

    hop: Hop
    route: Route
    outgoing: Outgoing
    asked: Asked
    answer: AnyAnswer
    client: Client
    trial: Trial


class Kept(Struct, frozen=True):
    """What answers leave behind."""

    metrics: Metrics
    ratios: TokenRatios
    signatures: Signatures


class Attempts:
    """Asks one route once, and keeps what its answer tells: tokens, costs, signatures."""

    def __init__(
        self,
        limits: Server,
        upstream: UpstreamClient,
        describer: Describer,
        guard: Guard,
        kept: Kept,
    ) -> None:
        self._limits = limits
        self._guard = guard
        self._upstream = upstream
        self._describer = describer
        self._metrics = kept.metrics
        self._ratios = kept.ratios
        self._signatures = kept.signatures

    async def make(self, hop: Hop, route: Route, client: Client, taught: list[Loss], trial: Trial) -> Failure | None:
        """The hop itself. A failure comes back while the client can still be told anything else; None: it was answered.

        Raises `UpstreamError` for a refusal with an HTTP status, which may hold a lesson, `Rejection` when the route
        cannot serve the request, and `Busy` when it cannot be asked now.
        """
        if hop.resume is not None:
            profile = route.profile
            hop = replace(hop, request=hop.resume.request(profile), raw=hop.resume.raw(hop.raw, profile))
        asked = self._asked(hop, route)
        outgoing = await self._translate(hop, route, asked)
        client.announce(route.name, header(taught + outgoing.losses))
        if hop.review is not None:
            hop.review.begin()
        encoder = hop.encoder(outgoing.losses)
        if hop.request.body.max_tokens == 0 and route.profile.endpoint.dialect != "messages":
            _warm_up(encoder, client)
            return None
        answer = _answer(hop, route, asked, encoder, catches_refusal=trial.catches_refusal)
        try:
            await self._receive(Errand(hop, route, outgoing, asked, answer, client, trial))
        except UpstreamError as error:
            if error.status:
                trial.failed(error.failure)
                error.sent = outgoing.sent
                raise
            if out := answer.cut(error.failure):
                client.write(out)
        if answer.failure is None:
            trial.answered()
        else:
            trial.failed(answer.failure)
            if not answer.spoken:
                return answer.failure
        if answer.losses:
            client.announce(route.name, header([*taught, *outgoing.losses, *answer.losses]))
        self._record(hop, route, answer)
        return None

    def _asked(self, hop: Hop, route: Route) -> Asked:
        return Asked(
            provider=route.provider.name,
            route=route.name,
            key_source=route.provider.api_key,
            model=hop.request.body.model,
            input_estimate=self._ratios.estimate(route.name, hop.weight),
            context_window=route.profile.request.context_window,
            max_tokens=hop.request.body.max_tokens,
            secrets=self._upstream.secrets(route.provider),
        )

    async def _translate(self, hop: Hop, route: Route, asked: Asked) -> Outgoing:
        """The upstream's request; it waits for descriptions of images where the model sees none."""
        outgoing = await self._encode(hop, route, asked, None if hop.own else self._describer.known)
        if not outgoing.unseen:
            return outgoing
        return await self._encode(hop, route, asked, await self._describer.describe(outgoing.unseen))

    async def _encode(self, hop: Hop, route: Route, asked: Asked, known: Known | None) -> Outgoing:
        native = route.profile.endpoint.dialect == "messages"

        def encode() -> Outgoing:
            to = Destination(route.model, route.name, route.profile)
            foreign = self._signatures.foreign(hop.request, route.name) if native else frozenset[str]()
            return encode_request(
                hop.request, to, input_estimate=asked.input_estimate, descriptions=known, raw=hop.raw, foreign=foreign
            )

        return await beside(hop.call.raw, encode, hop.weight.files)

    async def _receive(self, errand: Errand) -> None:
        """Wait for leave to ask, then for the answer. Raises `UpstreamError` and `Busy`."""
        slots = self._guard.slots
        hop, provider = errand.hop, errand.route.provider
        slot = await slots.take(provider, hop.request.asker, hop.until)
        try:
            silence = self._silence(provider, whole=hop.stream is None)
            await self._exchange(errand, silence)
        finally:
            slots.give_back(slot)

    def _silence(self, provider: Provider, *, whole: bool) -> Silence:
        """How long the provider may be silent. A whole answer has no first token: it comes at once, at its end."""
        limits = self._limits
        idle = provider.idle_timeout_seconds or limits.idle_timeout_seconds
        first = provider.first_token_timeout_seconds or limits.first_token_timeout_seconds
        return Silence(idle) if whole else Silence(idle, first)

    async def _exchange(self, errand: Errand, silence: Silence) -> None:
        """The bytes of one answer, each read translated and passed on where it comes in. Raises `UpstreamError`."""
        route, outgoing, asked = errand.route, errand.outgoing, errand.asked
        answer, client = errand.answer, errand.client
        take = _taking(errand, silence)
        if errand.hop.stream is None:
            take = _bounded(take, errand)
        try:
            async with silence.watched(), self._upstream.post(route, outgoing.body, asked, outgoing.headers) as reply:
                silence.listen()
                if (wait := allowance_wait(reply.headers, time.time())) is not None:
                    errand.trial.exhausted(wait)
                while not await reply.flow(take) and not answer.over:
                    silence.heard()
                    await client.drain()
                    silence.listen()
                _end(answer, client)
                if answer.announced:
                    await reply.drain()
        except TimeoutError as error:
            if not answer.settling:
                raise UpstreamError(connection_failure("timeout", asked, silence.why)) from error
            _end(answer, client)

    def _record(self, hop: Hop, route: Route, answer: AnyAnswer) -> None:
        if answer.failure is not None:
            log.warning("%s: the answer broke off with %s", route.name, answer.failure.type)
        for repair in answer.repairs:
            log.info("%s: %s", route.name, repair.why)
            self._metrics.repairs[route.name, repair.why] += 1
        self._signatures.remember(answer.signatures, route.name)
        usage = hop.turn.round_usage if hop.turn else hop.resume.usage if hop.resume else answer.usage
        if usage is not None:
            self._ratios.learn(route.name, hop.weight, usage.input_tokens)
            self._metrics.answered(route.name, usage, cost(usage, route.profile.prices))


def _taking(errand: Errand, silence: Silence) -> Sink:
    """What is done with each read, until there is no more to do or the client is slow."""
    answer, client = errand.answer, errand.client
    begun = False

    def take(data: bytes) -> bool:
        nonlocal begun
        if out := answer.feed(data):
            client.write(out)
        if answer.steady:  # nothing else has changed, for nearly every token
            silence.listen()
            return not client.congested
        if not (begun and _is_heartbeat(data)):
            silence.listen()
        if not begun and answer.spoken:
            begun = True
            silence.begun()
            errand.trial.heard()
        if answer.settling:
            silence.settle(SETTLE_SECONDS)
        return not (answer.over or client.congested)

    return take


def _is_heartbeat(data: bytes) -> bool:
    """Whether a read is nothing but a comment or a ping: a proxy sends them for a model that hangs, too."""
    if data.startswith(b":"):
        return b"data:" not in data
    return data.startswith(b"event: ping") and data.count(b"\n\n") <= 1


def _bounded(take: Sink, errand: Errand) -> Sink:
    """As `take`, for a whole message, of which all is kept until its end."""
    read = 0

    def take_some(data: bytes) -> bool:
        nonlocal read
        read += len(data)
        if read <= MAX_FOLDED_BYTES:
            return take(data)
        text = f"{errand.route.name}: the answer is larger than {MAX_FOLDED_BYTES >> 20} MB and was cut off."
        errand.answer.cut(Failure("api_error", text, should_retry=False))
        return False

    return take_some


def _answer(hop: Hop, route: Route, asked: Asked, encoder: Encoder, *, catches_refusal: bool) -> AnyAnswer:
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
        if hop.resume is not None:
            ours.append(hop.resume.begin(route.profile))
        if catches_refusal:
            ours.append(Refusals(route.name))
        return [*ours, hop.turn.begin()] if hop.turn else ours

    return read_answer(
        request,
        route.profile,
        reader,
        stages,
        encoder,
        watched=hop.turn is not None or hop.review is not None or hop.shown is not None or catches_refusal,
        greeted=lambda: hop.stream is not None and hop.stream.started,
    )


def _end(answer: AnyAnswer, client: Client) -> None:
    if out := answer.end():
        client.write(out)


def _warm_up(encoder: Encoder, client: Client) -> None:
    """`max_tokens: 0` asks to fill a cache and generate nothing, which Chat Completions cannot be asked for."""
    client.write(encoder.encode(Start("", "")) + encoder.encode(Finish("length", Usage())))
