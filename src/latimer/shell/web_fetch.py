"""Web fetch: a URL as text that a model can read. The extractor is an extra: `pip install 'latimer[fetch]'`."""

from __future__ import annotations

import asyncio
import base64
import html
import importlib
import logging
import re

from latimer.documents import UnreadableDocument, pdf_text
from latimer.domains import Domains
from latimer.events import CHARS_PER_TOKEN
from latimer.policy.web import WebFetch
from latimer.server_tools.results import Page, ToolFailure
from latimer.shell.egress import Egress, Fetched

CUT = "\n\n[the rest of the page is left out]"

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_log = logging.getLogger(__name__)
for _name in ("trafilatura", "pypdf"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)  # they log URLs and words of pages: the user's business


async def fetch(egress: Egress, url: str, domains: Domains, rules: WebFetch, max_tokens: int | None) -> Page:
    """The page's text, at most about `max_tokens` long. Raises `ToolFailure`."""
    fetched = await egress.get(url, domains.permit)
    try:
        async with asyncio.timeout(rules.timeout_seconds):
            page = await asyncio.to_thread(read, fetched)
    except TimeoutError:
        raise ToolFailure("content_too_large", "the page took too long to read") from None
    limit = (max_tokens or rules.max_content_tokens) * CHARS_PER_TOKEN
    return page if len(page.text) <= limit else Page(page.url, page.title, page.text[:limit] + CUT)


def read(fetched: Fetched) -> Page:
    """What a fetched body says. Raises `ToolFailure`."""
    if fetched.content_type == "application/pdf":
        try:
            return Page(fetched.url, "", pdf_text(base64.b64encode(fetched.body).decode()))
        except UnreadableDocument as error:
            raise ToolFailure("unsupported_content_type", str(error)) from None
    if fetched.content_type in _HTML:
        return _page(fetched)
    return Page(fetched.url, "", _decoded(fetched))


def _decoded(fetched: Fetched) -> str:
    try:
        return fetched.body.decode(fetched.charset or "utf-8", "replace")
    except LookupError:
        return fetched.body.decode("utf-8", "replace")


def _page(fetched: Fetched) -> Page:
    """The main text as Markdown with its links; of a page that has none, such as a list, all text."""
    try:
        trafilatura = importlib.import_module("trafilatura")  # half a second of imports that most sessions never need
    except ImportError:
        _log.warning("web_fetch needs the fetch extra to read pages: pip install 'latimer[fetch]'")
        raise ToolFailure("unavailable") from None
    # With a charset the page is decoded as its server says, else as the page itself says.
    source = _decoded(fetched) if fetched.charset else fetched.body
    try:
        text = trafilatura.extract(
            source,
            url=fetched.url,
            output_format="markdown",
            include_links=True,
            include_tables=True,
            favor_recall=True,
        )
        text = text or trafilatura.html2txt(source)
    except (ValueError, TypeError, AttributeError, RecursionError, AssertionError) as error:
        _log.info("a page could not be read: %s", type(error).__name__)
        raise ToolFailure("unsupported_content_type") from None
    title = _TITLE.search(_decoded(fetched)[:100_000])
    return Page(fetched.url, _plain(title.group(1)) if title else "", text or "")


def _plain(markup: str) -> str:
    return " ".join(html.unescape(markup).split())[:300]
