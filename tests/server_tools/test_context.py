"""Which URLs may be fetched: those of the conversation, and none that the model made up."""

from typing import Any

import pytest
from msgspec import Raw, json

from latimer.dialects.messages.request import decode_request
from latimer.server_tools.context import mentions
from latimer.server_tools.plan import Abilities, functions, prepare
from latimer.server_tools.results import Found, Page, fetch_content, search_content
from latimer.wire.messages import NULL

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
BASH = {"name": "Bash", "input_schema": {"type": "object"}}


def server(name: str, content: Any) -> list[Any]:
    identity = f"srvtoolu_{name}"
    return [
        {"type": "server_tool_use", "id": identity, "name": name, "input": {}},
        {"type": f"{name}_tool_result", "tool_use_id": identity, "content": content},
    ]


MESSAGES = [
    {
        "role": "user",
        "content": "Read https://user.example/page?x=1 and docs.example/start, also (https://paren.example/a).",
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I would rather read https://model.example/"},
            *server(
                "web_search", search_content([Found("T", "https://found.example/", "see https://snippet.example")])
            ),
            *server("web_fetch", fetch_content(Page("https://f.example", "", "[x](https://linked.example/a)"), "")),
            {"type": "tool_use", "id": "u1", "name": "Bash", "input": {"command": "curl https://input.example"}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u1", "content": "https://output.example/é"}]},
]


def seen(url: str, sources: Any = None) -> bool:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": MESSAGES,
        "tools": [SEARCH, FETCH, BASH],
        "system": "https://system.example",
    }
    request, plan = prepare(decode_request(json.encode(body)), Abilities("searxng", True))
    assert plan is not None
    assert set(functions(plan)) == {"web_search", "web_fetch"}
    return mentions(request, url, Raw(json.encode(sources)) if sources else NULL, plan.tools)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://user.example/page?x=1", True),
        ("http://user.example/page?x=1", True),
        ("https://user.example/page?x=1#part", True),
        ("https://user.example/page?x=2", False),
        ("https://user.example/page?x=1&secret=2", False),
        ("https://docs.example/start", True),
        ("https://docs.example/start/", True),
        ("https://paren.example/a", True),
        ("https://example/a", False),
        ("https://system.example/", True),
        ("https://found.example", True),
        ("https://snippet.example/", True),
        ("https://linked.example/a", True),
        ("https://output.example/%C3%A9", True),
        ("https://model.example/", False),
        ("https://input.example/", False),
        ("https://elsewhere.example/", False),
    ],
)
def test_urls(url: str, allowed: bool) -> None:
    assert seen(url) is allowed


ONLY = {"type": "only", "tools": [{"type": "tool_reference", "name": "web_fetch"}]}


@pytest.mark.parametrize(
    ("sources", "allowed"),
    [
        ({"user_input": {"type": "none"}}, {"found", "linked", "output"}),
        ({"client_tool_results": {"type": "none"}}, {"user", "found", "linked"}),
        ({"server_tool_results": {"type": "none"}}, {"user", "output"}),
        ({"server_tool_results": ONLY}, {"user", "linked", "output"}),
        ({"server_tool_results": {**ONLY, "type": "except"}}, {"user", "found", "output"}),
        ({"user_input": {"type": "all"}, "odd": 7}, {"user", "found", "linked", "output"}),
    ],
)
def test_sources(sources: Any, allowed: set[str]) -> None:
    urls = {
        "user": "https://user.example/page?x=1",
        "found": "https://found.example/",
        "linked": "https://linked.example/a",
        "output": "https://output.example/é",
    }
    assert {name for name, url in urls.items() if seen(url, sources)} == allowed
