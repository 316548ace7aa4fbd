"""The dialects of upstreams: how each says a request, and reads an answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from latimer.answer import Answer, Decoder, Encoder
from latimer.dialects.chat.request import encode_request as chat_request
from latimer.dialects.chat.response import ResponseDecoder as ChatDecoder
from latimer.dialects.messages.native.request import encode_request as messages_request
from latimer.dialects.messages.passthrough import PassedAnswer, translated_because
from latimer.dialects.messages.request import Request
from latimer.dialects.messages.response import ResponseDecoder as MessagesDecoder
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.reader import Reader
from latimer.dialects.responses.request import encode_request as responses_request
from latimer.dialects.responses.response import ResponseDecoder as ResponsesDecoder
from latimer.errors import invalid
from latimer.images import Known
from latimer.profile import Dialect, NativeRules, Profile
from latimer.stages import Stage
from latimer.wire.json_text import UNREADABLE

DECODERS: dict[Dialect, Callable[[Reader], Decoder]] = {
    "chat": ChatDecoder,
    "responses": ResponsesDecoder,
    "messages": MessagesDecoder,
}
_ENCODERS: dict[Dialect, Callable[..., Outgoing]] = {"chat": chat_request, "responses": responses_request}
"""Of the dialects whose bodies are built anew; Messages goes by the client's own bytes."""
AnyAnswer = Answer | PassedAnswer
_NOT_NATIVE = NativeRules(fields=frozenset())


class Destination(Struct, frozen=True):
    """Where a request goes: the upstream's name for the model, the route ("provider/model"), and its rules."""

    model: str
    route: str
    profile: Profile


def native_rules(profile: Profile) -> NativeRules:
    """What the upstream does of itself as Anthropic does; nothing in another dialect than Messages."""
    return profile.native if profile.endpoint.dialect == "messages" else _NOT_NATIVE


def encode_request(
    request: Request,
    to: Destination,
    *,
    input_estimate: int = 0,
    descriptions: Known | None = None,
    raw: bytes | None,
    foreign: frozenset[str] = frozenset(),
) -> Outgoing:
    """The request in the upstream's dialect. Raises `Rejection` for what must not be served as something else.

    `raw` is the client's body where the request is still what stands there. `input_estimate` is the prompt's size in
    tokens. `descriptions` stand in for pictures where the model sees none; None: nobody gives any. `foreign` are
    signatures of thinking that are known to be another route's.
    """
    dialect = to.profile.endpoint.dialect
    encode = _ENCODERS.get(dialect, partial(messages_request, raw=raw, foreign=foreign))
    try:
        return encode(
            request,
            model=to.model,
            route=to.route,
            profile=to.profile,
            input_estimate=input_estimate,
            descriptions=descriptions,
        )
    except UNREADABLE as error:  # in a part that was kept as it was until now
        raise invalid(f"request body: {error}") from error


def read_answer(  # noqa: PLR0913  # the parts of a pipeline
    request: Request,
    profile: Profile,
    reader: Reader,
    stages: Callable[[], list[Stage]],
    encoder: Encoder,
    *,
    watched: bool,
    greeted: Callable[[], bool],
) -> AnyAnswer:
    """What brings the upstream's bytes to the client: as they are in the same dialect, else translated.

    `watched`: the gateway itself has to read the answer. `greeted`: whether the client has had a `message_start`.
    """

    def translated() -> Answer:
        return Answer(DECODERS[profile.endpoint.dialect](reader), stages(), encoder)

    if profile.endpoint.dialect != "messages" or watched or translated_because(request, profile):
        return translated()
    stream = bool(request.body.stream)
    return PassedAnswer(reader, encoder, translated, stream=stream, model=request.body.model, greeted=greeted)
