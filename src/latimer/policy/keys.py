"""Which of a provider's keys a session uses: always the same one while it works, so that prompt caches are found again.

Rendezvous hashing: every session orders all keys by a hash of both. Where a key is added or taken away, only the
sessions that come to it, or were at it, move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from latimer.policy.config import LITERAL


def in_order(keys: Sequence[str], session: str) -> list[str]:
    """The keys as a session prefers them."""
    return sorted(keys, key=lambda key: _score(key, session), reverse=True)


def label(reference: str) -> str:
    """What may be shown of a reference: a command's arguments may be secrets themselves, so only its program is."""
    if reference.startswith(LITERAL):
        return "given by hand"
    kind, _, rest = reference.partition(":")
    if kind != "command":
        return reference
    program, *arguments = rest.split(maxsplit=1) or [""]
    return f"command:{program}{' …' if arguments else ''}"


def _score(key: str, session: str) -> bytes:
    return hashlib.blake2b(f"{session}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
