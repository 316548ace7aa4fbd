"""What a server tool's result says to the model.

It is made from the result's block alone, so a model reads the same words in the turn itself and in every later one.
Shapes are those of the official SDK's types (anthropic 2.12, `types/*_tool_result_block_param.py`).
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, json

from latimer.wire import messages as wire

KEPT = "latimer:"
"""How `encrypted_content` begins where Latimer kept a snippet in it: clients return that field byte for byte."""
MAX_SNIPPET = 2000

RESULT_OF = {
    "web_search": "web_search_tool_result",
    "web_fetch": "web_fetch_tool_result",
    "tool_search": "tool_search_tool_result",
}
RESULT_TYPES = frozenset(RESULT_OF.values())

WORDS = {
    "invalid_tool_input": "the input is not what the tool takes",
    "unavailable": "the tool is not available now",
    "max_uses_exceeded": "the tool may not be used again in this turn; answer with what is known",
    "too_many_requests": "the service asks for a pause",
    "query_too_long": "the query is too long",
    "url_too_long": "the URL is too long",
    "url_not_allowed": "this URL may not be fetched",
    "url_not_in_prior_context": "only URLs that occur in the conversation may be fetched",
    "url_not_accessible": "the page could not be fetched",
    "unsupported_content_type": "this kind of content cannot be read",
    "content_too_large": "the page is too large",
}
"""Anthropic's error codes, in words for the model."""


class ToolFailure(Exception):
    """A server tool that could not do its work; `code` is one of `WORDS`."""

    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(why or WORDS[code])
        self.code = code


class Found(Struct, frozen=True):
    """One hit of a web search."""

    title: str
    url: str
    text: str = ""
    page_age: str | None = None


class Page(Struct, frozen=True):
    """A fetched page as text."""

    url: str
    title: str
    text: str


def search_content(found: list[Found]) -> list[dict[str, Any]]:
    """The `content` of a `web_search_tool_result`."""
    return [
        {
            "type": "web_search_result",
            "title": hit.title,
            "url": hit.url,
            "encrypted_content": KEPT + hit.text[:MAX_SNIPPET],
            "page_age": hit.page_age,
        }
        for hit in found
    ]


def fetch_content(page: Page, retrieved_at: str) -> dict[str, Any]:
    """The `content` of a `web_fetch_tool_result`."""
    source = {"type": "text", "media_type": "text/plain", "data": page.text}
    document = {"type": "document", "source": source, "title": page.title or None}
    return {"type": "web_fetch_result", "url": page.url, "content": document, "retrieved_at": retrieved_at}


def references_content(names: list[str]) -> dict[str, Any]:
    """The `content` of a `tool_search_tool_result`."""
    references = [{"type": "tool_reference", "tool_name": name} for name in names]
    return {"type": "tool_search_tool_search_result", "tool_references": references}


def error_content(kind: str, code: str) -> dict[str, Any]:
    """The `content` of a result that is an error."""
    return {"type": f"{RESULT_OF[kind]}_error", "error_code": code}


def snippet(hit: dict[str, Any]) -> str:
    """What Latimer kept of a hit; '' for those that only Anthropic can read."""
    kept = hit.get("encrypted_content")
    return kept.removeprefix(KEPT) if isinstance(kept, str) and kept.startswith(KEPT) else ""


def told_hit(hit: dict[str, Any]) -> str:
    """A search hit for the model."""
    age = hit.get("page_age")
    head = f"{hit.get('title', '')} - {hit.get('url', '')}" + (f" ({age})" if age else "")
    return f"{head}\n{text}" if (text := snippet(hit)) else head


def tool_result(block: dict[str, Any]) -> wire.ToolResultBlock:
    """A server tool's result block as the result of a function call."""
    identity, content = str(block.get("tool_use_id")), block.get("content")
    match content:
        case {"error_code": str(code)}:
            words = WORDS.get(code, "the tool failed")
            return wire.ToolResultBlock(identity, f"Error: {code}: {words}", is_error=True)
        case {"type": "web_fetch_result", "url": url, "content": document}:
            head = {"type": "text", "text": f"Fetched {url}"}
            return wire.ToolResultBlock(identity, [Raw(json.encode(head)), Raw(json.encode(document))])
        case {"tool_references": list(references)}:
            nothing = {"type": "text", "text": "No tool fits. Try other words."}
            return wire.ToolResultBlock(identity, [Raw(json.encode(part)) for part in references or [nothing]])
        case list():
            hits = [told_hit(hit) for hit in content if isinstance(hit, dict)]
            return wire.ToolResultBlock(identity, "\n\n".join(hits) or "Nothing was found.")
        case _:
            return wire.ToolResultBlock(identity, None)
