"""Who signed which thinking. A provider refuses what another has signed, and its signature does not say who that was.

Latimer adds nothing to an answer that goes through byte for byte, so it remembers. After a restart it knows of none;
then a provider's refusal makes Claude Code leave its thinking out (measured, 2.1.330).
"""

from __future__ import annotations

import hashlib

from latimer.dialects.messages.request import Request
from latimer.wire import messages as wire

MOST = 32_768
"""Signatures that are remembered, at about 150 bytes each; the oldest is forgotten first."""


class Signatures:
    """Routes by the thinking that they signed."""

    def __init__(self) -> None:
        self._routes: dict[bytes, str] = {}

    def remember(self, signatures: list[str], route: str) -> None:
        """`route` is "provider/model"."""
        for signature in signatures:
            self._routes[_mark(signature)] = route
            if len(self._routes) > MOST:
                del self._routes[next(iter(self._routes))]

    def foreign(self, request: Request, route: str) -> frozenset[str]:
        """Those in the request's history that another route is known to have signed."""
        if not self._routes:
            return frozenset()
        found = (
            block.signature
            for message in request.messages
            for block in message.blocks
            if isinstance(block, wire.ThinkingBlock)
        )
        return frozenset(one for one in found if self._routes.get(_mark(one), route) != route)


def _mark(signature: str) -> bytes:
    return hashlib.blake2b(signature.encode("utf-8", "surrogatepass"), digest_size=16).digest()
