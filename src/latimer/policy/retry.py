"""Whether Latimer itself tries again before the client has seen a byte, and after how long.

    attempt failed -> transient? tries left? -> the wait asked for, if short enough -> seconds, or None

Few and short: the client retries as well, and two layers that both wait for minutes are silence to the user.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from latimer.errors import Failure

FIRST_WAIT_SECONDS = 0.5
"""After a server error or a failed connection, as the official SDKs wait."""


class RetryRules(Struct, frozen=True, forbid_unknown_fields=True):
    """`[retry]` of the config file."""

    tries: Annotated[int, Meta(ge=1, le=20)] = 3
    """Attempts in all, the first one included."""
    base_wait_seconds: Annotated[float, Meta(ge=0)] = 10.0
    """First wait after a 429 that names no time; it doubles with each further one."""
    max_wait_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """No wait is longer. An upstream that asks for more is not tried again: the client is told how long."""
    continuations: Annotated[int, Meta(ge=0, le=5)] = 0
    """How often an answer that breaks off in the middle is gone on with (docs/continuation.md); 0: never."""


def wait_before_retry(attempt: int, failure: Failure, rules: RetryRules, jitter: float) -> float | None:
    """Seconds to wait before the next attempt, or None to hand the failure to the client.

    `attempt` counts from 1 and is the one that failed. `jitter` in [0, 1) spreads clients that failed together: it adds
    up to half to a wait that Latimer chose, and nothing to one that the upstream asked for.
    """
    if attempt >= rules.tries or not failure.transient:
        return None
    asked = failure.retry_after
    if asked is not None and asked > rules.max_wait_seconds:
        return None
    first = rules.base_wait_seconds if failure.type == "rate_limit_error" and asked is None else FIRST_WAIT_SECONDS
    backoff = min(rules.max_wait_seconds, first * 2.0 ** (attempt - 1) * (1 + jitter / 2))
    return backoff if asked is None else max(asked, FIRST_WAIT_SECONDS)
