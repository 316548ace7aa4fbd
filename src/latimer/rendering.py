"""Pages of a PDF as images, for documents without text. Needs the extra `pdf`."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from latimer.memory import Memory, digest

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

MEDIA_TYPE = "image/jpeg"
MAX_SIDE = 1568
"""Pixels of a page's longer side. Larger images are scaled down to this by Claude, and to less by most others."""
MAX_SCALE = 2.0
"""Pixels per point, of which an inch has 72: a small page gains nothing from more."""
QUALITY = 80
"""Of the JPEG: print stays readable, and a scan takes a fraction of the bytes that it takes as PNG."""
MAX_PAGE_IMAGES = 20
"""Of one document. Past 20 images Anthropic wants smaller ones, and providers begin to refuse."""
REMEMBERED_BYTES = 64 * 1024 * 1024

MISSING = "pages without text are shown only with pip install 'latimer[pdf]'"

# pdfium may be called by only one thread at a time, with different documents too.
_LOCK = threading.Lock()
_REMEMBERED: Memory[str] = Memory(REMEMBERED_BYTES, len)


def can_render() -> bool:
    """Whether the extra is installed."""
    return find_spec("pypdfium2") is not None and find_spec("PIL") is not None


def page_images(data: str, places: Sequence[int]) -> dict[int, str]:
    """Pages of a base64 PDF, by their places from 0, as base64 JPEGs. Pages that cannot be rendered are left out.

    Remembered, so that a document is the same bytes with every turn.
    """
    name = digest(data)
    found = {place: image for place in places if (image := _REMEMBERED.get(f"{name}.{place}"))}
    missing = [place for place in places if place not in found]
    if missing:
        for place, image in _render(base64.b64decode(data), missing).items():
            _REMEMBERED.put(f"{name}.{place}", image)
            found[place] = image
    return found


def _render(raw: bytes, places: Sequence[int]) -> dict[int, str]:
    import pypdfium2  # noqa: PLC0415  # an extra

    images: dict[int, str] = {}
    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(raw)
        except pypdfium2.PdfiumError:
            return {}
        try:
            for place in places:
                try:
                    images[place] = _jpeg(document[place])
                except (pypdfium2.PdfiumError, LookupError, ValueError, ArithmeticError, OSError):
                    continue
        finally:
            document.close()
    return images


def _jpeg(page: PdfPage) -> str:
    try:
        scale = min(MAX_SCALE, MAX_SIDE / max(page.get_size()))
        bitmap = page.render(scale=scale)
        try:
            out = io.BytesIO()
            bitmap.to_pil().convert("RGB").save(out, "JPEG", quality=QUALITY)
        finally:
            bitmap.close()
    finally:
        page.close()
    return base64.b64encode(out.getvalue()).decode()
