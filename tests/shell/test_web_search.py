"""Each search backend against a local server that plays its documented API."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from ddgs import DDGS
from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException

from latimer.domains import Domains, parse_rules
from latimer.policy.web import NEEDS_KEY, WebSearch
from latimer.server_tools.plan import ServerTool
from latimer.server_tools.results import Found, ToolFailure
from latimer.shell.web_search import Searcher
from latimer.wire.messages import ServerTool as Asked
from latimer.wire.messages import UserLocation

Json = dict[str, Any]
ENVIRON = {"SEARCH_KEY": "secret-search-key"}
URL = "https://violins.example/a"


def tool(allowed: list[str] | None = None, blocked: list[str] | None = None, **asked: Any) -> ServerTool:
    domains = Domains(parse_rules(allowed or []), parse_rules(blocked or []))
    return ServerTool("web_search", "web_search", "web_search", Asked(**asked), domains)


class Engine:
    """A backend's server: what it was asked, and what it answers."""

    def __init__(self, answer: Any, status: int) -> None:
        self.answer, self.status = answer, status
        self.port = 0
        self.request: web.Request | None = None
        self.body: Json = {}

    async def handle(self, request: web.Request) -> web.Response:
        self.request = request
        raw = await request.read()
        self.body = json.loads(raw) if raw else {}
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(text=text, status=self.status, content_type="application/json")

    @property
    def asked(self) -> web.Request:
        assert self.request is not None
        return self.request


@asynccontextmanager
async def engine(answer: Any, status: int = 200) -> AsyncIterator[Engine]:
    server = Engine(answer, status)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def searcher(backend: Any, server: Engine, **rules: Any) -> Searcher:
    key = "env:SEARCH_KEY" if backend in NEEDS_KEY else ""
    rules = {"backend": backend, "base_url": f"http://127.0.0.1:{server.port}", "api_key": key, **rules}
    return Searcher(WebSearch(**rules), ENVIRON)


SEARXNG = {
    "query": "violins",
    "number_of_results": 2,
    "results": [
        {"url": URL, "title": "Violins &amp; more", "content": "Old <b>violins</b>.", "publishedDate": "2026-01-02"},
        {"url": "https://other.example/b", "title": "Other", "content": "", "engine": "x", "score": 1.0},
    ],
    "answers": [],
    "unresponsive_engines": [],
}
BRAVE = {
    "type": "search",
    "query": {"original": "violins"},
    "web": {
        "type": "search",
        "results": [
            {
                "title": "Violins & more",
                "url": URL,
                "description": "Old <strong>violins</strong>.",
                "age": "2 days ago",
                "extra_snippets": ["And new ones."],
            },
            {"title": "Other", "url": "https://other.example/b", "description": ""},
        ],
    },
}
TAVILY = {
    "query": "violins",
    "results": [
        {
            "title": "Violins & more",
            "url": URL,
            "content": "Old violins.",
            "score": 0.9,
            "published_date": "2026-01-02",
        },
        {"title": "Other", "url": "https://other.example/b", "content": "", "score": 0.1},
    ],
    "response_time": 0.5,
}
EXA = {
    "requestId": "r",
    "results": [
        {"id": URL, "title": "Violins & more", "url": URL, "publishedDate": "2026-01-02", "text": "Old violins."},
        {"id": "x", "title": None, "url": "https://other.example/b", "text": ""},
    ],
}


async def test_searxng() -> None:
    async with engine(SEARXNG) as server:
        found = await searcher("searxng", server).search("violins", tool())
    assert found[0] == Found("Violins & more", URL, "Old violins.", "2026-01-02")
    assert found[1] == Found("Other", "https://other.example/b")
    assert server.asked.path == "/search"
    assert dict(server.asked.query) == {"q": "violins", "format": "json"}


async def test_brave() -> None:
    async with engine(BRAVE) as server:
        found = await searcher("brave", server, max_results=5).search(
            "violins", tool(user_location=UserLocation(country="de"))
        )
    assert found[0] == Found("Violins & more", URL, "Old violins. And new ones.", "2 days ago")
    assert len(found) == 2
    assert server.asked.path == "/web/search"
    assert server.asked.headers["X-Subscription-Token"] == "secret-search-key"
    assert dict(server.asked.query) == {"q": "violins", "count": "5", "extra_snippets": "true", "country": "DE"}


async def test_tavily() -> None:
    async with engine(TAVILY) as server:
        found = await searcher("tavily", server).search("violins", tool(blocked=["other.example"]))
    assert found == [Found("Violins & more", URL, "Old violins.", "2026-01-02")]
    assert server.asked.path == "/search"
    assert server.asked.headers["Authorization"] == "Bearer secret-search-key"
    assert server.body == {"query": "violins", "max_results": 8, "exclude_domains": ["other.example"]}


async def test_exa() -> None:
    async with engine(EXA) as server:
        found = await searcher("exa", server).search("violins", tool(allowed=["violins.example"]))
    assert found == [Found("Violins & more", URL, "Old violins.", "2026-01-02")]
    assert server.asked.path == "/search"
    assert server.asked.headers["x-api-key"] == "secret-search-key"
    contents = {"text": {"maxCharacters": 1500}}
    assert server.body == {
        "query": "violins",
        "numResults": 8,
        "contents": contents,
        "includeDomains": ["violins.example"],
    }


async def test_domains_stand_in_the_query_and_are_checked_in_the_results() -> None:
    async with engine(SEARXNG) as server:
        found = await searcher("searxng", server).search("q", tool(allowed=["violins.example", "b.example/path"]))
        assert server.asked.query["q"] == "q site:violins.example OR site:b.example"
        assert [hit.url for hit in found] == [URL]
        found = await searcher("searxng", server).search("q", tool(blocked=["violins.example"]))
        assert server.asked.query["q"] == "q -site:violins.example"
        assert [hit.url for hit in found] == ["https://other.example/b"]


async def test_no_more_than_the_configured_number() -> None:
    async with engine(SEARXNG) as server:
        assert len(await searcher("searxng", server, max_results=1).search("q", tool())) == 1


async def failing(made: Searcher, query: str = "violins") -> str:
    with pytest.raises(ToolFailure) as caught:
        await made.search(query, tool())
    return caught.value.code


@pytest.mark.parametrize("backend", ["searxng", "brave", "tavily", "exa"])
@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (429, {}, "too_many_requests"),
        (401, {}, "unavailable"),
        (403, {}, "unavailable"),
        (500, "boom", "unavailable"),
        (302, "", "unavailable"),
        (200, "<html>", "unavailable"),
        (200, [], "unavailable"),
        (200, {"results": 7, "web": 7}, "unavailable"),
        (200, {"results": [7], "web": {"results": [7]}}, "unavailable"),
    ],
)
async def test_what_goes_wrong(
    backend: str, status: int, answer: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine(answer, status) as server:
        assert await failing(searcher(backend, server)) == code
    assert "secret-search-key" not in caplog.text
    assert "violins" not in caplog.text


async def test_long_queries_and_backends_that_are_not_there() -> None:
    async with engine(SEARXNG) as server:
        made = searcher("searxng", server)
        assert await failing(made, "x" * 1001) == "query_too_long"
    assert await failing(made) == "unavailable"
    async with engine(BRAVE) as server:
        assert await failing(searcher("brave", server, api_key="env:NOT_SET")) == "unavailable"


@pytest.fixture
def ddgs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], list[Json]]], list[Any]]:
    """The library, its pages played by a function."""
    asked: list[Any] = []
    module, problems = ModuleType("ddgs"), ModuleType("ddgs.exceptions")
    base = type("DDGSException", (Exception,), {})
    problems.DDGSException = base  # type: ignore[attr-defined]
    problems.RatelimitException = type("RatelimitException", (base,), {})  # type: ignore[attr-defined]
    problems.TimeoutException = type("TimeoutException", (base,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ddgs", module)
    monkeypatch.setitem(sys.modules, "ddgs.exceptions", problems)

    def play(answer: Callable[[], list[Json]]) -> list[Any]:
        class Played:
            def __init__(self, **options: Any) -> None:
                asked.append(options)

            def text(self, query: str, **options: Any) -> list[Json]:
                asked.append((query, options))
                return answer()

        module.DDGS = Played  # type: ignore[attr-defined]
        return asked

    return play


async def test_duckduckgo(ddgs: Any) -> None:
    asked = ddgs(lambda: [{"title": "Violins", "href": URL, "body": "Old violins."}])
    found = await Searcher(WebSearch(backend="duckduckgo"), {}).search("violins", tool())
    assert found == [Found("Violins", URL, "Old violins.")]
    assert asked == [{"timeout": 15, "proxy": None}, ("violins", {"max_results": 8, "backend": "duckduckgo"})]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("RatelimitException", "202", "too_many_requests"),
        ("TimeoutException", "late", "unavailable"),
        ("DDGSException", "?", "unavailable"),
    ],
)
async def test_duckduckgo_fails(ddgs: Any, name: str, text: str, code: str) -> None:
    def answer() -> list[Json]:
        raise getattr(sys.modules["ddgs.exceptions"], name)(text)

    ddgs(answer)
    assert await failing(Searcher(WebSearch(backend="duckduckgo"), {})) == code


async def test_duckduckgo_finds_nothing(ddgs: Any) -> None:
    def answer() -> list[Json]:
        raise sys.modules["ddgs.exceptions"].DDGSException("No results found.")

    ddgs(answer)
    assert await Searcher(WebSearch(backend="duckduckgo"), {}).search("violins", tool()) == []


def test_the_real_library_is_as_it_is_used() -> None:
    assert issubclass(RatelimitException, DDGSException)
    assert issubclass(TimeoutException, DDGSException)
    with DDGS(timeout=1, proxy=None) as client:
        assert callable(client.text)
