"""Text of documents, for models that take no files."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from latimer.memory import Memory, digest

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

MAX_PAGES = 500
"""Anthropic's own limit is 600 pages; past this a text is too long for any context window anyway."""
MAX_PDF_BYTES = 32 * 1024 * 1024
"""Anthropic's own limit for a whole request. Reading takes some ten times as much memory."""
MAX_TEXT = 4_000_000
"""Characters of one document: about a million tokens, the largest window there is."""
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Of a page's drawing commands, unpacked. Text takes some kilobytes; what takes more is a map or a plan, on which the
search for text needs minutes."""
REMEMBERED_BYTES = 64 * 1024 * 1024

EMPTY_PAGE = "(empty page)"
NO_TEXT = "(no text on this page)"


class UnreadableDocument(ValueError):
    """A document whose text cannot be had; the message says why, in words for the model and the user."""


class Pages(Struct, frozen=True):
    """What a PDF's pages say, '' for an empty one and None for one that shows something but has no text.

    `total` counts all pages; `texts` may have fewer.
    """

    texts: tuple[str | None, ...]
    total: int

    @property
    def pictures(self) -> list[int]:
        """The places in `texts` of pages that have to be seen."""
        return [place for place, text in enumerate(self.texts) if text is None]

    @property
    def length(self) -> int:
        """Characters in all."""
        return sum(len(text or "") for text in self.texts)

    @property
    def readable(self) -> bool:
        """Whether there is any text."""
        return any(self.texts)

    @property
    def left_out(self) -> str:
        """A mark for the pages beyond the limits, '' when there are none."""
        read = len(self.texts)
        return f"[pages {read + 1} to {self.total} left out: the document is too long]" if read < self.total else ""

    def mark(self, place: int) -> str:
        """What stands above a page."""
        return f"[page {place + 1} of {self.total}]"


_REMEMBERED: Memory[Pages | str] = Memory(
    REMEMBERED_BYTES, lambda known: 200 + 4 * (len(known) if isinstance(known, str) else known.length)
)
"""Pages, or why there are none."""
_CHECKED: Memory[str] = Memory(1024 * 1024, lambda why: 200 + len(why))
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


def pdf_pages(data: str) -> Pages:
    """The pages of a base64 PDF. Raises `UnreadableDocument`.

    Remembered, since a conversation sends the same document with every turn.
    """
    key = digest(data)
    known = _REMEMBERED.get(key)
    if known is None:
        try:
            known = _read(data)
        except UnreadableDocument as error:
            known = str(error)
        _REMEMBERED.put(key, known)
    if isinstance(known, str):
        raise UnreadableDocument(known)
    return known


def pdf_text(data: str) -> str:
    """The text of a base64 PDF, each page under a `[page N of M]` mark. Raises `UnreadableDocument`."""
    pages = pdf_pages(data)
    if not pages.readable:
        raise UnreadableDocument(f"the PDF has {pages.total} page(s) and no text: it is probably scanned")
    told = [
        f"{pages.mark(place)}\n{NO_TEXT if text is None else text or EMPTY_PAGE}"
        for place, text in enumerate(pages.texts)
    ]
    return "\n\n".join([*told, pages.left_out] if pages.left_out else told)


def plain_text(data: str) -> str:
    """The text of a base64 text file."""
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except binascii.Error as error:
        raise UnreadableDocument("the document is not valid base64") from error


def check_pdf(data: str) -> None:
    """Raises `UnreadableDocument` for a PDF that no one can read: a provider would refuse the whole request for it."""
    key = digest(data)
    why = _CHECKED.get(key)
    if why is None:
        why = ""
        try:
            with _named_errors():
                _open(data)
        except UnreadableDocument as error:
            why = str(error)
        _CHECKED.put(key, why)
    if why:
        raise UnreadableDocument(why)


def _read(data: str) -> Pages:
    with _named_errors():
        return _pages(_open(data))


def _open(data: str) -> PdfReader:
    from pypdf import PdfReader  # noqa: PLC0415  # 0.1 s of imports that most sessions never need

    if len(data) > MAX_PDF_BYTES * 4 // 3 + 4:
        raise UnreadableDocument(f"the PDF is larger than {MAX_PDF_BYTES // 2**20} MB")
    reader = PdfReader(io.BytesIO(base64.b64decode(data, validate=True)))
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableDocument("the PDF is encrypted and needs a password")
    if not len(reader.pages):
        raise UnreadableDocument("the PDF has no pages")
    return reader


@contextmanager
def _named_errors() -> Iterator[None]:
    """pypdf raises whatever a broken file makes it stumble over."""
    from pypdf.errors import DependencyError, PyPdfError  # noqa: PLC0415

    try:
        yield
    except UnreadableDocument:
        raise
    except binascii.Error as error:
        raise UnreadableDocument("the PDF is not valid base64") from error
    except DependencyError as error:
        why = "the PDF is encrypted with AES, which Latimer reads only with pip install 'latimer[pdf]'"
        raise UnreadableDocument(why) from error
    except RecursionError as error:
        raise UnreadableDocument("the PDF cannot be read: it is nested too deeply") from error
    except (PyPdfError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError) as error:
        # The same words in every process: what a conversation began with must not change.
        why = _ADDRESS.sub("…", str(error).partition("\n")[0][:200])
        raise UnreadableDocument(f"the PDF cannot be read: {why}") from error


def _pages(reader: PdfReader) -> Pages:
    texts: list[str | None] = []
    room = MAX_TEXT
    for page in reader.pages[:MAX_PAGES]:
        text = _page_text(page)
        room -= len(text or "")
        if room < 0 and texts:
            break
        texts.append(text[:MAX_TEXT] if text else text)
    return Pages(tuple(texts), len(reader.pages))


def _page_text(page: PageObject) -> str | None:
    contents = page.get_contents()
    drawn = contents.get_data().strip() if contents is not None else b""
    if not drawn:
        return ""
    text = page.extract_text().strip() if len(drawn) <= MAX_PAGE_BYTES else ""
    # Half a surrogate pair, which broken fonts give, is no UTF-8 and would fail the whole request.
    return text.encode("utf-8", "replace").decode() or None
