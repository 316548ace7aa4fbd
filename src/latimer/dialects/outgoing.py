"""A request in an upstream's dialect, ready to be sent."""

from __future__ import annotations

from msgspec import Struct

from latimer.images import Picture
from latimer.report import Loss


class Outgoing(Struct, frozen=True):
    """A request for one upstream. `body` is JSON; `sent` are its top-level fields.

    `unseen` are pictures that the model cannot see and that nothing is known of, by their names.
    """

    body: bytes
    losses: list[Loss]
    sent: frozenset[str]
    unseen: dict[str, Picture] = {}
    headers: dict[str, str] = {}
