"""When the next route of a chain is asked, and what the client is told when none could answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from latimer.dialects.errors.error_body import capped
from latimer.dialects.errors.failures import MESSAGE_LIMIT
from latimer.errors import ErrorType, Failure

Cause = Literal[
    "connection",
    "rate_limit",
    "server_error",
    "overloaded",
    "timeout",
    "billing",
    "refusal",
    "authentication",
    "permission",
    "model",
]
"""What is wrong with a route, where another route or another key may do better."""

USUAL: frozenset[Cause] = frozenset({"connection", "rate_limit", "server_error", "overloaded", "timeout", "billing"})
UNSAID_WAIT = 10.0
"""Seconds: how soon a transient failure that names no time is taken to be over."""

_CAUSES: dict[ErrorType, Cause] = {
    "rate_limit_error": "rate_limit",
    "api_error": "server_error",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
    "billing_error": "billing",
    "authentication_error": "authentication",
    "permission_error": "permission",
}
SAID: dict[Cause, str] = {
    "connection": "no connection",
    "rate_limit": "rate limit",
    "server_error": "server error",
    "overloaded": "overloaded",
    "timeout": "no answer in time",
    "billing": "no balance or quota",
    "refusal": "refused the content",
    "authentication": "key refused",
    "permission": "not permitted",
    "model": "no such model",
}


class FallbackRules(Struct, frozen=True, forbid_unknown_fields=True):
    """`[fallback]` of the config file."""

    on: frozenset[Cause] = USUAL
    """What makes the next route of a chain be asked."""
    open_after: Annotated[int, Meta(ge=1, le=100)] = 3
    """Failures in a row after which a provider or one of its models is passed over."""
    cooldown_seconds: Annotated[float, Meta(gt=0)] = 15.0
    """For how long, the first time; twice as long whenever the one request that is let through then fails, too."""
    max_cooldown_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """The longest, unless the provider names a time. A key that was refused or has no balance rests so long at once."""


class Tried(Struct, frozen=True):
    """A route that did not answer."""

    route: str
    failure: Failure


def cause_of(failure: Failure) -> Cause | None:
    """What is wrong with the route; None when the request is, which would be wrong anywhere."""
    if failure.cause == "unreachable":
        return "connection"
    if failure.cause == "refusal":
        return "refusal"
    if failure.type == "conflict_error" and failure.should_retry is False:
        return "model"
    return _CAUSES.get(failure.type)


def worth_a_second_try(failure: Failure, tries: int) -> bool:
    """Whether a route is asked once more at once, though another one is ready, after so many tries.

    Only after a server error: it is often gone, and the next route has another model and an empty prompt cache.
    """
    return tries == 1 and cause_of(failure) == "server_error" and failure.transient and failure.retry_after is None


def in_short(failure: Failure) -> str:
    """A few words on a failure, with the time when it is over, if that is known."""
    cause = cause_of(failure)
    words = SAID[cause] if cause else failure.type.removesuffix("_error").replace("_", " ")
    return words if failure.retry_after is None else f"{words}, again in {math.ceil(failure.retry_after)} s"


def most_useful(tried: Sequence[Tried]) -> Failure:
    """What the client is told: the failure that will be over soonest, the later one of equals.

    It names every route; there is at least one. A lasting failure is told only when there is no other.
    """
    best = min((one.failure for one in reversed(tried)), key=_soonest)
    if len(tried) == 1:
        return best
    story = ", ".join(f"{one.route} ({in_short(one.failure)})" for one in tried)
    return replace(best, message=capped(f"{capped(best.message, MESSAGE_LIMIT // 2)} Tried: {story}.", MESSAGE_LIMIT))


def _soonest(failure: Failure) -> tuple[bool, float]:
    wait = UNSAID_WAIT if failure.retry_after is None else failure.retry_after
    return not failure.transient, wait
