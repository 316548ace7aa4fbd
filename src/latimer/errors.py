"""What can go wrong, in the words the client understands.

    LatimerError
    ├── ConfigError      the user's configuration or command line cannot work; the message says what to change
    └── Rejection        one request cannot be served; carries the `Failure` that the client is told

A `Failure` is both: the body of an HTTP error before the answer began, and the last event of one that had begun.
Types and statuses: Anthropic's errors page; what Claude Code does with each was measured and stands in
`docs/errors.md`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
]

STATUS: dict[ErrorType, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

TRANSIENT: frozenset[ErrorType] = frozenset({"rate_limit_error", "api_error", "timeout_error", "overloaded_error"})


class Failure(Struct, frozen=True):
    """Why there is no (more) answer.

    `retry_after` is in seconds. `should_retry` None leaves the decision to the client's own rule for the status;
    False makes it stop at once and show the message. `cause` is there where the type does not tell what another
    provider may do better: no connection (`unreachable`), or a content filter (`refusal`).
    """

    type: ErrorType
    message: str
    details: dict[str, Any] | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    cause: Literal["", "unreachable", "refusal"] = ""

    @property
    def status(self) -> int:
        """The HTTP status that goes with the type."""
        return STATUS[self.type]

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.type in TRANSIENT and self.should_retry is not False


class LatimerError(Exception):
    """Base of everything Latimer raises on purpose."""


class ConfigError(LatimerError):
    """The configuration or command line cannot work as it is."""


class Rejection(LatimerError):
    """A request that is refused, or an upstream's refusal, as the client is told of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def invalid(message: str, **details: Any) -> Rejection:
    """A 400 that names what the client has to change."""
    return Rejection(Failure("invalid_request_error", message, details or None))
