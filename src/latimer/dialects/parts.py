"""Parts of a message, as every dialect knows them; each writes them in its own way."""

from __future__ import annotations

from msgspec import Raw, Struct


class TextPart(Struct, frozen=True):
    """Words. `mark` is the cache mark on a part, None where there is none or the upstream takes none."""

    text: str
    mark: Raw | None = None
    kind = "text"


class ImagePart(Struct, frozen=True):
    """An image by its URL, which may be a data URL."""

    url: str
    mark: Raw | None = None
    kind = "image"


class FilePart(Struct, frozen=True):
    """A PDF as a data URL."""

    name: str
    url: str
    mark: Raw | None = None
    kind = "file"


Part = TextPart | ImagePart | FilePart
