"""What results say to the model, from their blocks alone."""

from typing import Any

import pytest
from msgspec import json

from latimer.server_tools.results import (
    MAX_SNIPPET,
    WORDS,
    Found,
    Page,
    error_content,
    fetch_content,
    references_content,
    search_content,
    tool_result,
)
from latimer.wire.messages import ToolResultBlock


def told(content: Any) -> ToolResultBlock:
    return tool_result({"type": "any", "tool_use_id": "s", "content": json.decode(json.encode(content))})


def test_hits() -> None:
    found = [Found("Title", "https://a.example", "A snippet.", "2026-01-02"), Found("Other", "https://b.example")]
    said = told(search_content(found)).content
    assert said == "Title - https://a.example (2026-01-02)\nA snippet.\n\nOther - https://b.example"
    assert told([]).content == "Nothing was found."


def test_snippets_are_bounded() -> None:
    (hit,) = search_content([Found("t", "u", "x" * 9999)])
    assert len(hit["encrypted_content"]) == MAX_SNIPPET + len("latimer:")


def test_hits_of_anthropics_own_servers_have_no_text_for_others() -> None:
    hit = {"type": "web_search_result", "title": "T", "url": "https://a.example", "encrypted_content": "EqgfCioIARgB"}
    assert told([hit]).content == "T - https://a.example"


def test_a_page() -> None:
    said = told(fetch_content(Page("https://a.example", "T", "Words."), "2026-01-02T00:00:00Z")).content
    assert isinstance(said, list)
    assert [json.decode(part) for part in said] == [
        {"type": "text", "text": "Fetched https://a.example"},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "Words."},
            "title": "T",
        },
    ]


def test_tools() -> None:
    said = told(references_content(["a", "b"])).content
    assert isinstance(said, list)
    assert [json.decode(part)["tool_name"] for part in said] == ["a", "b"]
    nothing = told(references_content([])).content
    assert isinstance(nothing, list)
    assert "No tool fits" in json.decode(nothing[0])["text"]


@pytest.mark.parametrize("code", [*WORDS, "a_code_of_next_year"])
def test_errors(code: str) -> None:
    said = told(error_content("web_fetch", code))
    assert said.is_error
    assert str(said.content).startswith(f"Error: {code}: ")


@pytest.mark.parametrize("content", [None, 7, {}, {"type": "odd"}, [7], ["x"]])
def test_what_nobody_would_send(content: Any) -> None:
    assert told(content).tool_use_id == "s"
