"""What a decoder of any dialect must know of the request whose answer it reads."""

from __future__ import annotations

from msgspec import Struct

from latimer.dialects.errors.failures import Asked


class Reader(Struct, frozen=True):
    """What the decoder must know of the request. `message_id` is unique and gives made-up ids their uniqueness."""

    asked: Asked
    message_id: str
    names: dict[str, str]
    """Upstream tool names back to the client's, where they differ."""
    taken_ids: frozenset[str] = frozenset()
    seal_text: bool = False
    """Whether signatures must hold the reasoning, because the client is not shown it."""
    think_tags: bool = True
    raw_arguments: bool = False
    """Whether arguments are passed on as they are, for `latimer.repair.arguments` to judge."""
