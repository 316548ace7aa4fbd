"""Text of documents, for models that take no files."""

from __future__ import annotations

import base64
import binascii
import io
from functools import lru_cache

MAX_PAGES = 500
"""Anthropic's own limit is 600 pages; past this a text is too long for any context window anyway."""


class UnreadableDocument(ValueError):
    """A document whose text cannot be had; the message says why, in words for the model and the user."""


@lru_cache(maxsize=16)
def pdf_text(data: str) -> str:
    """The text of a base64 PDF, each page under a `[page N of M]` mark.

    Remembered, since a conversation sends the same document with every turn. Raises `UnreadableDocument`.
    """
    from pypdf import PdfReader  # noqa: PLC0415  # 0.1 s of imports that most sessions never need
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    try:
        reader = PdfReader(io.BytesIO(base64.b64decode(data, validate=True)))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocument("the PDF is encrypted and needs a password")
        texts = [page.extract_text().strip() for page in reader.pages[:MAX_PAGES]]
        total = len(reader.pages)
    except binascii.Error as error:
        raise UnreadableDocument("the PDF is not valid base64") from error
    except UnreadableDocument:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        # pypdf raises whatever a broken file makes it stumble over.
        raise UnreadableDocument(f"the PDF cannot be read: {error}") from error
    if not any(texts):
        raise UnreadableDocument(f"the PDF has {total} page(s) and no text: it is probably scanned")
    pages = [f"[page {number} of {total}]\n{text}" for number, text in enumerate(texts, 1)]
    if total > MAX_PAGES:
        pages.append(f"[pages {MAX_PAGES + 1} to {total} left out]")
    return "\n\n".join(pages)


def plain_text(data: str) -> str:
    """The text of a base64 text file."""
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except binascii.Error as error:
        raise UnreadableDocument("the document is not valid base64") from error
