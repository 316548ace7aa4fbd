"""Text of documents, and why there is none."""

import sys

import pytest
from pypdf import _encryption
from pypdf.errors import DependencyError

from latimer import documents
from latimer.documents import UnreadableDocument, check_pdf, pdf_pages, pdf_text, plain_text
from tests.scenarios.files import coded, encrypted, pdf


def test_each_page_has_its_mark() -> None:
    assert pdf_text(coded(pdf("one", "two"))) == "[page 1 of 2]\none\n\n[page 2 of 2]\ntwo"


def test_a_page_without_text_keeps_its_number() -> None:
    data = coded(pdf("one", "", None, "four"))
    assert pdf_pages(data).texts == ("one", "", None, "four")
    assert pdf_pages(data).pictures == [2]
    told = pdf_text(data).split("\n\n")
    assert told[1:] == ["[page 2 of 4]\n(empty page)", "[page 3 of 4]\n(no text on this page)", "[page 4 of 4]\nfour"]


@pytest.mark.parametrize(
    ("limit", "value", "left"), [("MAX_PAGES", 1, "2 to 3"), ("MAX_TEXT", 12, "3 to 3"), ("MAX_TEXT", 2, "2 to 3")]
)
def test_what_was_left_out_is_said(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, left: str) -> None:
    monkeypatch.setattr(documents, limit, value)
    data = coded(pdf("first", "second", f"third {limit}{value}"))
    assert pdf_text(data).endswith(f"[pages {left} left out: the document is too long]")


def test_a_page_full_of_drawing_is_not_searched_for_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_PAGE_BYTES", 20)
    assert pdf_pages(coded(pdf("a page that is a map"))).texts == (None,)


UNREADABLE = [
    ("not base64!", "not valid base64"),
    (coded(b"no pdf at all"), "cannot be read"),
    (coded(b"%PDF-1.4\n%%EOF"), "cannot be read"),
    (coded(pdf()), "no pages"),
    (coded(encrypted(pdf("secret"), "hunter2")), "encrypted and needs a password"),
    ("", "cannot be read"),
]
NAMES = ["no base64", "no pdf", "empty pdf", "no pages", "encrypted", "nothing"]


@pytest.mark.parametrize(("data", "why"), UNREADABLE, ids=NAMES)
@pytest.mark.filterwarnings("ignore")
def test_why_it_cannot_be_read(data: str, why: str) -> None:
    for _ in range(2):
        with pytest.raises(UnreadableDocument, match=why) as caught:
            pdf_text(data)
        with pytest.raises(UnreadableDocument, match=why):
            check_pdf(data)
    assert len(str(caught.value)) < 300


def test_why_there_is_no_text() -> None:
    with pytest.raises(UnreadableDocument, match=r"2 page\(s\) and no text: it is probably scanned"):
        pdf_text(coded(pdf(None, None)))
    check_pdf(coded(pdf(None, None)))


def test_a_file_that_is_too_large_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_PDF_BYTES", 100)
    with pytest.raises(UnreadableDocument, match="larger than"):
        pdf_text(coded(pdf("too large")))


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_what_is_encrypted_but_opens_by_itself_is_read(algorithm: str) -> None:
    assert pdf_text(coded(encrypted(pdf("for all eyes"), "", algorithm))).endswith("for all eyes")


def test_aes_without_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> bytes:
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    data = coded(encrypted(pdf("a bank statement"), "", "AES-256"))
    monkeypatch.setattr(_encryption.AlgV5, "verify_user_password", missing)
    with pytest.raises(UnreadableDocument, match=r"pip install 'latimer\[pdf\]'"):
        pdf_text(data)


def test_a_document_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = coded(pdf("read me once"))
    first = pdf_pages(data)
    check_pdf(data)
    monkeypatch.setitem(sys.modules, "pypdf", None)
    assert pdf_pages(data) is first
    check_pdf(data)


def test_where_things_lie_in_memory_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_: object) -> None:
        raise TypeError("<object at 0x7f00deadbeef> is odd\nand more")

    monkeypatch.setattr(documents, "_pages", stumble)
    with pytest.raises(UnreadableDocument, match=r"read: <object at …> is odd$"):
        pdf_text(coded(pdf("addresses")))


def test_plain_text() -> None:
    assert plain_text(coded("Grüße".encode())) == "Grüße"
    assert plain_text(coded(b"a\xffb")) == "a\ufffdb"
    with pytest.raises(UnreadableDocument, match="not valid base64"):
        plain_text("?")
