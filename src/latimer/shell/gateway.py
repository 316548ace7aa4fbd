"""The gateway: one request on its one visible hop.

    parse -> route -> translate -> send -> receive -> translate -> emit

Here it is parsed, and answered in as many turns as it takes. `chain` routes each turn, `attempt` does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from typing import Any

from msgspec import json
from msgspec.structs import replace

from latimer.auto_mode.own_check import as_check, is_own_check
from latimer.auto_mode.review import Review, take_review
from latimer.codecs import native_rules
from latimer.dialects.messages.compaction import compacted, given_up, question, read_summary
from latimer.dialects.messages.encoder import Heading, StreamEncoder
from latimer.dialects.messages.refusals import refuse_unservable
from latimer.dialects.messages.request import Request, decode_request
from latimer.errors import Rejection, invalid
from latimer.events import Event, Finish, Start, Usage
from latimer.policy.config import Config
from latimer.policy.counting import TokenRatios, Weight, weigh
from latimer.policy.health import Health
from latimer.policy.signatures import Signatures
from latimer.profile import NativeRules
from latimer.report import header
from latimer.server_tools.plan import asks_server, prepare
from latimer.server_tools.turn import Turn
from latimer.shell.attempt import Attempts, Kept
from latimer.shell.auto_mode import Reviewer
from latimer.shell.chain import Chain
from latimer.shell.client_stream import Client, WholeClient
from latimer.shell.continuing import Continuing
from latimer.shell.counting import Counting, without_summed_up
from latimer.shell.engine import Engines
from latimer.shell.guard import Guard
from latimer.shell.hop import Call, Hop, beside
from latimer.shell.metrics import Metrics
from latimer.shell.routes import Routes
from latimer.shell.server_tools import ServerTools
from latimer.shell.upstream import UpstreamClient
from latimer.shell.vision import Describer
from latimer.wire.messages import given

log = logging.getLogger(__name__)
for _library in ("pypdf", "PIL"):  # they log what stands in broken files, which is the user's business
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)

WHOLE_SECONDS = 300.0
"""How long Latimer waits and tries again for one whole message. Claude Code waits 360 s for one, without a ping."""
OWN_ANSWER = "latimer"
"""What `latimer-route` says where no upstream was asked."""


class Gateway:
    """Answers requests by the routes of a configuration. What the gateway `after` which it comes knew still holds."""

    def __init__(
        self,
        config: Config,
        upstream: UpstreamClient,
        engines: Engines,
        routes: Routes,
        after: Gateway | None = None,
    ) -> None:
        self.config = config
        self.routes = routes
        self.metrics: Metrics = after.metrics if after else Metrics()
        self.ratios: TokenRatios = after.ratios if after else TokenRatios()
        self.signatures: Signatures = after.signatures if after else Signatures()
        describer = Describer(config.vision, self._look)
        self.guard: Guard = Guard(config, self.metrics, after.guard if after else None)
        kept = Kept(self.metrics, self.ratios, self.signatures)
        attempts = Attempts(config.server, upstream, describer, self.guard, kept)
        self._chain = Chain(config, routes, attempts, self.guard, self.metrics)
        self._continuing = Continuing(config.retry, self._chain.answer)
        self._tools = ServerTools(config, os.environ)
        self._counting = Counting(routes, engines, self.ratios, self._tools, describer)
        self._reviewer = Reviewer(config.auto_mode, self._classify, self.metrics)

    async def parse(self, call: Call) -> Hop:
        """Raises `Rejection`."""

        def decode() -> tuple[Request, Weight, bool, NativeRules]:
            decoded = decode_request(call.raw, call.headers.version, call.headers.betas)
            native = native_rules(self.routes.chain(decoded.body.model)[0].profile)
            weight = weigh(call.raw)
            request, left = without_summed_up(decoded, weight)
            if not native.takes("context_management"):
                request, left = self._counting.edited(request, left)
            return request, left, left == weight and request.compact is None, native

        request, weight, same, native = await beside(call.raw, decode)
        if call.headers.session or call.headers.agent:
            request = replace(request, session=call.headers.session, agent=call.headers.agent)
        if call.headers.losses:
            request = replace(request, losses=[*call.headers.losses, *request.losses])
        heading = Heading(call.message_id, request.body.model, call.request_id, request.hides_thinking)
        stream = StreamEncoder(heading) if request.body.stream else None
        until = math.inf if stream else asyncio.get_running_loop().time() + WHOLE_SECONDS
        classifier = self.config.auto_mode.classifier
        review: Review | None = None
        if is_own_check(request):
            request, same = as_check(request, classifier), False
        elif classifier and given(request.body.safeguards) and not native.takes("safeguards"):
            request, review = take_review(request, classifier, delegated=bool(call.headers.agent))
        raw = call.raw if same and review is None else None
        if native.server_tools or not asks_server(request):
            return Hop(call, request, weight, heading, stream, review=review, raw=raw, until=until)
        request, plan = prepare(request, self._counting.abilities(request))
        turn = Turn(request, plan, heading) if plan and (plan.tools or plan.alone) else None
        return Hop(call, request, weight, heading, stream, turn, review=review, until=until)

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

    async def count_tokens(self, raw: bytes, version: str) -> dict[str, Any]:
        """The answer to `count_tokens`. Raises `Rejection`."""
        return await self._counting.count(raw, version)

    def health(self) -> Health:
        """How the providers do, as this process knows it."""
        return self.guard.health()

    def estimate(self, hop: Hop) -> Usage:
        """What `message_start` says of the prompt before the upstream has counted it."""
        return self._counting.estimate(hop)

    async def _converse(self, hop: Hop, client: Client) -> None:
        """Everything of the answer but the end of one that is reviewed."""
        if hop.turn is None:
            return await self._continuing.answer(hop, client)
        size = len(json.encode(hop.request.messages))

        async def ask(request: Request) -> None:
            more = len(json.encode(request.messages)) - size
            weight = Weight(hop.weight.text_bytes + more, hop.weight.files)
            await self._chain.answer(replace(hop, request=request, weight=weight), client)

        def tell(events: list[Event]) -> None:
            encoder = hop.encoder()
            if out := b"".join([encoder.encode(event) for event in events]):
                client.write(out)

        refuse_unservable(hop.request)
        client.announce(OWN_ANSWER, header(hop.request.losses))
        return await self._tools.converse(hop.turn, ask, tell)

    async def _look(self, question: bytes) -> bytes:
        """A message about an image, by the model that describes them. Raises `Rejection`."""
        hop = await self.parse(Call.of_own(question))
        client = WholeClient()
        model = hop.request.body.model
        if self._sees(model):
            await self._chain.answer(replace(hop, own=True), client)
        if not self._sees(model):  # which its answer to an image may have taught
            raise invalid(f"{model} takes no images itself")
        return client.body

    async def _classify(self, question: bytes) -> bytes:
        """A message about a tool call, by the model that reviews them. Raises `Rejection`."""
        hop = await self.parse(Call.of_own(question))
        client = WholeClient()
        await self._chain.answer(hop, client)
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
            await self._chain.answer(
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


def _pause(hop: Hop, client: Client) -> None:
    """The summary is the answer; the client says how it goes on."""
    client.announce(OWN_ANSWER, header(hop.request.losses))
    encoder = hop.encoder()
    client.write(encoder.encode(Start("", "")) + encoder.encode(Finish("compaction", Usage())))
