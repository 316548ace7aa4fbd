"""Web fetch: what becomes of a page, a text, a PDF, and of what cannot be read."""

import sys
from contextlib import suppress

import pytest

from latimer.domains import Domains, parse_rules
from latimer.server_tools.results import Page, ToolFailure
from latimer.shell.egress import Egress, Fetched
from latimer.shell.web_fetch import CUT, fetch, read
from tests.scenarios import files
from tests.shell.test_egress import local, says, site

ARTICLE = """<!doctype html><html><head><title>Old &amp; new violins</title><script>var hidden = 1</script></head>
<body><nav><a href="/home">Home</a> <a href="/imprint">Imprint</a></nav>
<article><h1>Violins</h1><p>Violins were made in <a href="/cremona">Cremona</a> by people who knew wood and varnish.</p>
<p>Their sound has been measured often, and what makes it good is still being argued about by those who listen.</p>
<table><tr><th>maker</th><th>year</th></tr><tr><td>Amati</td><td>1564</td></tr></table></article>
<footer>cookies cookies cookies</footer></body></html>"""


def page(body: str | bytes, content_type: str, charset: str = "") -> Page:
    raw = body.encode() if isinstance(body, str) else body
    return read(Fetched("https://violins.example/a", content_type, charset, raw))


def test_an_article() -> None:
    found = page(ARTICLE, "text/html")
    assert found.title == "Old & new violins"
    assert "knew wood and varnish" in found.text
    assert "(https://violins.example/cremona)" in found.text, "a model follows links"
    assert "Amati" in found.text
    for noise in ("hidden", "cookies", "Imprint"):
        assert noise not in found.text


def test_a_page_without_an_article() -> None:
    assert "First entry" in page("<html><body><div>First entry</div><div>Second</div></body></html>", "text/html").text


@pytest.mark.parametrize(
    ("charset", "encoding"), [("iso-8859-1", "latin-1"), ("", "utf-8"), ("no-such-charset", "utf-8")]
)
def test_charsets(charset: str, encoding: str) -> None:
    assert page("Grüße".encode(encoding), "text/plain", charset).text == "Grüße"
    assert (
        "Grüße" in page(f"<html><body><p>{'Grüße ' * 30}</p></body></html>".encode(encoding), "text/html", charset).text
    )


@pytest.mark.parametrize("kind", ["text/plain", "text/markdown", "application/json", "application/ld+json", "text/csv"])
def test_texts_stay_as_they_are(kind: str) -> None:
    assert page('{"a": "<b>"}', kind).text == '{"a": "<b>"}'


def test_a_pdf() -> None:
    found = page(files.pdf("A cargo of violins"), "application/pdf")
    assert "A cargo of violins" in found.text
    assert "[page 1 of 1]" in found.text


@pytest.mark.parametrize("body", [b"", b"%PDF-1.7 broken"])
def test_a_broken_pdf(body: bytes) -> None:
    with pytest.raises(ToolFailure) as caught:
        page(body, "application/pdf")
    assert caught.value.code == "unsupported_content_type"


@pytest.mark.parametrize("body", ["", "<", "<html>", "\0", "<p>" * 5000, "<!doctype html><html></html>"])
def test_broken_pages_are_no_exception(body: str) -> None:
    with suppress(ToolFailure):
        page(body, "text/html")


def test_without_the_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    with pytest.raises(ToolFailure) as caught:
        page(ARTICLE, "text/html")
    assert caught.value.code == "unavailable"


async def test_long_pages_are_cut() -> None:
    async with site(a=says("word " * 1000)) as port:
        rules = local(port)
        found = await fetch(Egress(rules), f"http://127.0.0.1:{port}/a", Domains(), rules, 100)
        assert found.text == ("word " * 80) + CUT
        whole = await fetch(Egress(rules), f"http://127.0.0.1:{port}/a", Domains(), rules, None)
        assert len(whole.text) == 5000


async def test_domains() -> None:
    async with site(a=says("x")) as port:
        rules = local(port)
        with pytest.raises(ToolFailure) as caught:
            blocked = Domains(blocked=parse_rules(["127.0.0.1"]))
            await fetch(Egress(rules), f"http://127.0.0.1:{port}/a", blocked, rules, None)
    assert caught.value.code == "url_not_allowed"
