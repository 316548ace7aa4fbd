"""Images: what kind and how large they are, and what is known of them by those who cannot see."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from msgspec import Struct

from latimer.memory import digest

TAKEN = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""Media types of Anthropic's API. Every provider whose models see takes the first two."""
MAX_SIDE = 8000
"""Pixels: Anthropic's limit."""

_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
_HEAD = 64 * 1024
"""Base64 characters in which the size of an image is looked for: cameras put previews before it."""
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Picture(Struct, frozen=True):
    """An image: its media type and base64, or a URL."""

    media_type: str = ""
    data: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """The same for the same picture, in every process."""
        return digest(self.media_type, self.data, self.url)


class Description(Struct, frozen=True):
    """What a model that sees says of a picture; '' when it could not be asked, and then why."""

    text: str
    by: str = ""
    why: str = ""


Known = Callable[[str], Description | None]
"""What is known of a picture, by its name."""


class Sight:
    """What one request's pictures are to a model that sees none.

    `known` is None where nobody describes pictures. `wanted` are those that were
    looked for and are not known, `rendered` counts pages that were made into pictures, and `oversized` are the paths of
    those that the client would rather have refused.
    """

    def __init__(self, known: Known | None = None) -> None:
        self.known = known
        self.wanted: dict[str, Picture] = {}
        self.rendered = 0
        self.oversized: list[str] = []

    def description(self, picture: Picture) -> Description | None:
        """What is known of a picture; one that is not known yet is noted as wanted."""
        if self.known is None:
            return None
        name = picture.name
        found = self.known(name)
        if found is None:
            self.wanted[name] = picture
        return found


def media_type(declared: str, data: str) -> str:
    """What an image really is. Clients go by a file's name, and providers refuse an image that is another kind."""
    return _kind(_head(data, 24)) or _ALIASES.get(declared.lower(), declared.lower())


def dimensions(data: str) -> tuple[int, int] | None:
    """Width and height in pixels, None where they cannot be told."""
    head = _head(data, _HEAD)
    match _kind(head):
        case "image/png" if len(head) >= 24:
            return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
        case "image/gif" if len(head) >= 10:
            return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
        case "image/webp" if len(head) >= 30:
            return _webp_size(head)
        case "image/jpeg":
            return _jpeg_size(head)
        case _:
            return None


def _head(data: str, chars: int) -> bytes:
    start = data[:chars]
    try:
        return base64.b64decode(start[: len(start) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _kind(head: bytes) -> str:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else ""


def _webp_size(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
        case _:
            return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _JPEG_SIZES:
            return int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None
