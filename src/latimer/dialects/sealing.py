"""How an upstream's reasoning travels to the client and back: inside the signature of the thinking block.

Clients return signatures byte for byte (measured with Claude Code 2.1.330: 20 kB, across turns, `--resume` and
subagents). So Latimer keeps no state, and each provider gets its reasoning back in the field it came in: the ones that
demand it are satisfied, the others ignore or use it.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any, Literal

from msgspec import Struct, json

PREFIX = "ltm1."
MAX_SEALED_BYTES = 16 * 1024 * 1024

Field = Literal[
    "reasoning_content", "reasoning", "reasoning_text", "reasoning_details", "think", "parts", "summary", "content"
]
"""Where an upstream said it. Chat: a field of the message, `<think>` tags or parts in its content. Responses: that list
of the reasoning item whose text the block shows."""


class Sealed(Struct, frozen=True, omit_defaults=True):
    """What a signature holds. `text` only when the block itself does not show it."""

    route: str
    field: Field = "reasoning_content"
    text: str | None = None
    details: list[dict[str, Any]] | None = None
    calls: dict[str, Any] | None = None
    """Provider data that belongs to tool calls, by tool call id (Gemini's `extra_content`)."""
    opaque: str = ""
    """What must go back beside the text (Copilot's `reasoning_opaque`)."""
    id: str = ""
    """Of a Responses reasoning item, `rs_...`."""
    encrypted: str = ""
    """Its `encrypted_content`, of the finished item."""
    summary: list[str] | None = None
    """Its summary's texts, where they are not just the one that the block shows."""
    content: list[str] | None = None
    """The texts of its `content`, on the same terms."""

    @property
    def is_item(self) -> bool:
        """Whether it is a reasoning item of a Responses API, which no other dialect takes."""
        return self.field in ("summary", "content")


def route_mark(route: str) -> str:
    """A short mark of "provider/model": reasoning of one model means nothing to another."""
    return hashlib.sha256(route.encode()).hexdigest()[:8]


def seal(sealed: Sealed) -> str:
    """A signature: letters, digits, `-`, `_` and `.` only."""
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(json.encode(sealed))).decode().rstrip("=")


def unseal(signature: str, route: str) -> Sealed | None:
    """What a signature holds, None when it is not Latimer's or of another route."""
    if not signature.startswith(PREFIX):
        return None
    text = signature.removeprefix(PREFIX)
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        raw = zlib.decompressobj().decompress(packed, MAX_SEALED_BYTES)
        sealed = json.decode(raw, type=Sealed)
    except (zlib.error, ValueError, RecursionError):  # not base64, not deflated, not JSON of this form
        return None
    return sealed if sealed.route == route_mark(route) else None
