"""A request on its way through the gateway: as it came in, and as it was understood."""

from __future__ import annotations

import asyncio
import math
import secrets
import string
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from latimer.answer import Encoder
from latimer.auto_mode.review import Review
from latimer.continuation.resume import Resume
from latimer.continuation.shown import Shown
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.headers import Headers
from latimer.dialects.messages.request import Request
from latimer.dialects.messages.slots import native_slots
from latimer.policy.counting import Weight
from latimer.report import Loss
from latimer.server_tools.turn import Turn

OFFLOAD_BYTES = 1024 * 1024
"""Larger requests are translated beside the event loop: they take more than about 5 ms."""

T = TypeVar("T")
_BASE62 = (string.digits + string.ascii_letters).encode()
_LETTERS = bytes(_BASE62[byte % 62] for byte in range(256))


def new_id(prefix: str) -> str:
    """An id as Anthropic makes them: a prefix and 24 letters and digits."""
    return prefix + secrets.token_bytes(24).translate(_LETTERS).decode()


class Call(Struct, frozen=True):
    """A request as it came in. `request_id` and `message_id` are unique."""

    raw: bytes
    headers: Headers
    request_id: str
    message_id: str

    @classmethod
    def of_own(cls, question: bytes) -> Call:
        """A question of Latimer's own, which no client waits for."""
        return cls(question, Headers(), "", new_id("msg_"))


class Hop(Struct, frozen=True):
    """A request on its way: parsed, weighed, with what its answer begins with.

    `stream` is None for a client that wants one message. A stream has one encoder for all attempts, since its
    `message_start` may have been sent during an earlier one. `turn` is there when Latimer runs tools for the model.
    An `own` request is a question of Latimer's, about an image that nobody else describes. `review` is there when the
    answer waits for verdicts on its tool calls. `raw` is the client's body while the request is what stands there.
    `until` is when waiting and trying again have to end, by the loop's clock.
    `shown` is what the client has seen of an answer that may be gone on with, and `resume` is there when it is.
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
    until: float = math.inf
    shown: Shown | None = None
    resume: Resume | None = None

    def encoder(self, losses: Iterable[Loss] = ()) -> Encoder:
        """Where the next events of the answer go. `losses` are the request's on its way to the upstream."""
        encoder = self.stream or WholeEncoder(self.heading, self.turn.content if self.turn else ())
        encoder.slots = native_slots(self.request, losses)
        if self.shown:
            self.shown.begin()
            return self.shown
        return self.review.watch(encoder) if self.review else encoder


async def beside(raw: bytes, work: Callable[[], T], files: int = 0) -> T:
    """The result of the work, which is done in a thread if it would hold up the event loop: that of much `raw` JSON, or
    on `files`, whose text may have to be read.
    """
    if len(raw) < OFFLOAD_BYTES and not files:
        return work()
    return await asyncio.to_thread(work)
