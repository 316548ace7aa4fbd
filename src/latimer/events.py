"""The hub vocabulary: what a model's answer is, whatever dialect it came in.

    Start (BlockStart (Delta | Signature | OpaqueDelta)* BlockStop)* Finish          Failure may come at any point

Every decoder yields this language and every encoder accepts it; `TRANSITIONS` is its specification, its test oracle
and the diagram in the docs. Words are those of OpenTelemetry's GenAI conventions where vendors differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple

from .errors import Failure
from .report import Loss

FinishReason = Literal["stop", "length", "tool_call", "content_filter", "context_window", "pause", "compaction"]
"""`pause`: the gateway's own tools had their rounds; the client may ask it to go on. `compaction`: so it may after a
summary of the conversation."""

Tier = Literal["priority", "batch"]
"""Service tiers other than the standard one."""


CHARS_PER_TOKEN = 4
"""A guess for output that nobody has counted; prompts are estimated by their model's own ratio (`policy.counting`)."""


class Usage(Struct, frozen=True):
    """Tokens of one exchange. `input_tokens` counts the whole prompt, cached or not; `output_tokens` reasoning too.

    `web_searches` and `web_fetches` count what the gateway did for the model.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0
    web_fetches: int = 0

    def __add__(self, other: Usage) -> Usage:
        """What two exchanges took together."""
        return Usage(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class Text(Struct, frozen=True):
    """Words for the reader."""


class Reasoning(Struct, frozen=True):
    """The model's thinking. Its `Signature` is readable by its issuer only."""


class Member(Struct, frozen=True):
    """One tool of a toolset."""

    toolset: str
    name: str


class ToolCall(Struct, frozen=True):
    """A request to run a tool; its deltas are fragments of one JSON object. `toolset` is the one it is a member of."""

    id: str
    name: str
    toolset: str | None = None


class Opaque(Struct, frozen=True):
    """A block the hub has no word for: carried to the same dialect, a reported loss for any other."""

    dialect: str
    raw: bytes


Block = Text | Reasoning | ToolCall | Opaque


class Start(Struct, frozen=True):
    """The answer begins. `id` and `model` are the upstream's own."""

    id: str
    model: str
    usage: Usage = Usage()


class BlockStart(Struct, frozen=True):
    index: int
    block: Block


class Delta(Struct, frozen=True):
    """More of the open block: text, reasoning, or a fragment of a tool call's JSON."""

    index: int
    data: str


class Signature(Struct, frozen=True):
    index: int
    data: str


class OpaqueDelta(Struct, frozen=True):
    index: int
    raw: bytes


class BlockStop(Struct, frozen=True):
    index: int


class Verdict(Struct, frozen=True):
    """What the review of a tool call came to; `unreviewed` leaves it to the client, which may refuse the call.

    `why` is the explanation of a flagged call. Where there is no verdict it is timeout, error, refused, input_too_long
    or truncated.
    """

    outcome: Literal["not_flagged", "flagged", "unreviewed", "unavailable"]
    why: str = ""


class Finish(Struct, frozen=True):
    """The answer is complete. `stop_sequence` is the one that matched; `explanation` says why a filter cut it, and
    `category` by which of its provider's own words.

    `tier` is the service tier that answered, None for the standard one. `losses` are what of the upstream's answer
    could not be carried, or was put right. `verdicts` are those on its tool calls, by their ids, where a review was
    asked for.
    """

    reason: FinishReason
    usage: Usage
    stop_sequence: str | None = None
    explanation: str | None = None
    category: str | None = None
    tier: Tier | None = None
    losses: tuple[Loss, ...] = ()
    verdicts: dict[str, Verdict] | None = None


Event = Start | BlockStart | Delta | Signature | OpaqueDelta | BlockStop | Finish | Failure

State = Literal["IDLE", "OPEN", "BLOCK", "DONE"]

TRANSITIONS: dict[State, dict[type, State]] = {
    "IDLE": {Start: "OPEN", Failure: "DONE"},
    "OPEN": {BlockStart: "BLOCK", Finish: "DONE", Failure: "DONE"},
    "BLOCK": {Delta: "BLOCK", Signature: "BLOCK", OpaqueDelta: "BLOCK", BlockStop: "OPEN", Failure: "DONE"},
    "DONE": {},
}


class GrammarError(ValueError):
    """A sequence of events that `TRANSITIONS` does not allow: a bug in a codec, never an upstream's fault."""


def check(events: Iterable[Event]) -> None:
    """Raise `GrammarError` unless the events are one whole answer, blocks numbered 0, 1, 2, …"""
    state: State = "IDLE"
    index = -1
    for event in events:
        following = TRANSITIONS[state].get(type(event))
        if following is None:
            raise GrammarError(f"{type(event).__name__} while {state}")
        if isinstance(event, BlockStart):
            index += 1
        if isinstance(event, BlockStart | Delta | Signature | OpaqueDelta | BlockStop) and event.index != index:
            raise GrammarError(f"{type(event).__name__} for block {event.index} while block {index} is open")
        state = following
    if state != "DONE":
        raise GrammarError(f"ended while {state}")
