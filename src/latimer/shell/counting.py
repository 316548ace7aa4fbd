"""How large a prompt is: counted by the upstream where it can, else estimated from what it counted before."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from latimer.codecs import Destination, encode_request, native_rules
from latimer.dialects.messages.compaction import resumed
from latimer.dialects.messages.edits import apply_edits
from latimer.dialects.messages.request import Request, decode_count_request
from latimer.dialects.outgoing import Outgoing
from latimer.errors import Rejection
from latimer.events import Usage
from latimer.policy.counting import TokenRatios, Weight, weigh
from latimer.policy.routing import Route
from latimer.server_tools.plan import Abilities, asks_server, prepare
from latimer.shell.engine import Engines
from latimer.shell.hop import Hop, beside
from latimer.shell.routes import Routes
from latimer.shell.server_tools import ServerTools
from latimer.shell.vision import Describer
from latimer.wire.messages import given


class Counting:
    """Counts prompts for the first route of their chains."""

    def __init__(
        self, routes: Routes, engines: Engines, ratios: TokenRatios, tools: ServerTools, describer: Describer
    ) -> None:
        self._routes = routes
        self._engines = engines
        self._ratios = ratios
        self._tools = tools
        self._describer = describer

    async def count(self, raw: bytes, version: str) -> dict[str, Any]:
        """The answer to `count_tokens`: exact where the upstream counts, else estimated. Raises `Rejection`.

        Where edits of the context are asked for, it counts what they leave, and beside it what there was.
        """

        def decode() -> tuple[Request, Weight]:
            return without_summed_up(decode_count_request(raw, version), weigh(raw))

        request, weight = await beside(raw, decode)
        original = await self._counted(raw, request, weight)
        if not given(request.body.context_management):
            return {"input_tokens": original}
        edited, less = self.edited(request, weight)
        left = await self._counted(raw, edited, less) if edited.applied_edits else original
        return {"input_tokens": left, "context_management": {"original_input_tokens": original}}

    def estimate(self, hop: Hop) -> Usage:
        """What `message_start` says of the prompt before the upstream has counted it."""
        return Usage(input_tokens=self._ratios.estimate(self._first(hop.request).name, hop.weight))

    def edited(self, request: Request, weight: Weight) -> tuple[Request, Weight]:
        """The request with the edits of its context done, and what it weighs then. Raises `Rejection`."""

        def tokens(part: Weight) -> int:
            return self._ratios.estimate(self._first(request).name, part)

        edited, removed = apply_edits(request, lambda: tokens(weight), lambda raw: tokens(weigh(raw)))
        return edited, weight - weigh(removed) if removed else weight

    def abilities(self, request: Request) -> Abilities:
        """What Latimer can do for the model of a request where its upstream cannot."""
        return self._tools.abilities(self._routes.most_tools(request.body.model))

    def _first(self, request: Request) -> Route:
        return self._routes.chain(request.body.model)[0]

    async def _counted(self, raw: bytes, request: Request, weight: Weight) -> int:
        route = self._first(request)
        exact = await self._exactly(raw, request, route, weight.files)
        return exact or self._ratios.estimate(route.name, weight)

    async def _exactly(self, raw: bytes, request: Request, route: Route, files: int) -> int | None:
        """As the upstream counts, None where it does not."""
        profile = route.profile
        native = profile.endpoint.dialect == "messages" and profile.endpoint.count_tokens
        if not (native or self._engines.counts(route)):
            return None
        if not native:  # engines count what their chat template makes of it
            profile = replace(profile, endpoint=replace(profile.endpoint, dialect="chat"))

        def encode() -> Outgoing:
            asks = asks_server(request) and not native_rules(profile).server_tools
            prepared = prepare(request, self.abilities(request))[0] if asks else request
            to = Destination(route.model, route.name, profile)
            return encode_request(prepared, to, descriptions=self._describer.known, raw=None if asks else raw)

        try:
            outgoing = await beside(raw, encode, files)
        except Rejection:
            return None  # a count is no promise to serve
        if native:
            return await self._engines.count_natively(route, outgoing.body, outgoing.headers)
        return await self._engines.count(route, outgoing.body)


def without_summed_up(request: Request, weight: Weight) -> tuple[Request, Weight]:
    """The request from its newest summary on, and what it weighs then."""
    request, dropped = resumed(request)
    return request, weight - weigh(dropped) if dropped else weight
