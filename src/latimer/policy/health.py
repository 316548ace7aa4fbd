"""How the providers do, as `GET /status` and `latimer status` show it: data without a key, a prompt or a user."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

CircuitState = Literal["closed", "open", "half-open"]


class CircuitHealth(Struct, frozen=True):
    """A circuit that has something to tell. With neither key nor model it is the provider's, with both of the two."""

    key: str
    """The key's label, such as `env:NAME`; '' for all keys."""
    model: str
    """The provider's name of the model; '' for all models."""
    state: CircuitState
    """`open`: not asked while another route is there; `half-open`: one request may find out whether it works again."""
    reason: str
    """A few words, such as `rate limit`."""
    seconds_left: float
    """Until it is half-open; 0 if it is not open."""
    failures: int
    """In a row."""


class ProviderHealth(Struct, frozen=True):
    """A provider since the start of this process."""

    name: str
    keys: tuple[str, ...]
    """Labels of its keys, in the order of the configuration; () without one."""
    in_flight: int
    """Requests that it is answering."""
    queued: int
    """Requests that wait for `max_concurrent`."""
    max_concurrent: int
    """0: no limit."""
    max_queued: int
    answered: int
    failed: int
    """Attempts, each with its outcome."""
    circuits: tuple[CircuitHealth, ...]


class Health(Struct, frozen=True):
    """All providers, in the order of the configuration."""

    providers: tuple[ProviderHealth, ...]
