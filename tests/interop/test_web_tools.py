"""Web search and web fetch end to end: the official SDK and the real Claude Code, engines and pages on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import anthropic
import pytest

from tests.interop.claude import NEWEST, OLDER, SKIP_PERMISSIONS, TOKEN, ClaudeCode
from tests.interop.sdk import MODEL, Sdk, assistant, user
from tests.latimer_process import Latimer, latimer, serving
from tests.scenarios.replies import Call, Say
from tests.upstream import Exchange, Upstream, conversation, flat

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
PAGE = "<html><head><title>Amati</title></head><body><p>Amati made violins in Cremona.</p></body></html>"


class Web(BaseHTTPRequestHandler):
    """A SearXNG and a page, on one server; `queries` is what was searched for."""

    queries: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        here = f"http://127.0.0.1:{self.server.server_address[1]}"
        if parts.path == "/search":
            self.queries.append(parse_qs(parts.query)["q"][0])
            hits = [
                {"title": "Amati", "url": f"{here}/amati", "content": "A family of makers."},
                {
                    "title": "Violins",
                    "url": "https://violins.example/",
                    "content": "Old ones.",
                    "publishedDate": "2026",
                },
            ]
            self.answer("application/json", json.dumps({"results": hits}))
        else:
            self.answer("text/html; charset=utf-8", PAGE)

    def answer(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[int]:
    """The port of the little web."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    Web.queries = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def searching(upstream: Upstream, web: int, tmp_path: Path) -> Iterator[Latimer]:
    """Latimer with a search engine and leave to fetch from this machine."""
    config = (
        f'[web_search]\nbackend = "searxng"\nbase_url = "http://127.0.0.1:{web}"\n'
        f"[web_fetch]\nenabled = true\nports = [{web}]\nunsafe_allow_private_addresses = true\n"
    )
    with latimer(upstream.url, home=tmp_path, config=config) as server:
        yield server


@pytest.fixture
def official(searching: Latimer, upstream: Upstream) -> Iterator[Sdk]:
    with anthropic.Anthropic(base_url=searching.url, api_key=TOKEN, max_retries=0) as client:
        yield Sdk(client, searching, upstream)


LOOK = Say("Let me look.", calls=(Call("web_search", {"query": "violins"}),))


@pytest.mark.parametrize("streaming", [True, False])
def test_the_sdk_reads_a_search_and_sends_it_back(official: Sdk, streaming: bool, web: int) -> None:
    done = Say("Amati made them.")
    official.upstream.play([LOOK, done, done])
    message = official.ask(streaming, "Who made violins?", tools=[SEARCH])
    said, call, found, text = message.content
    assert (said.type, call.type, found.type, text.type) == (
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    )
    assert call.type == "server_tool_use"
    assert call.input == {"query": "violins"}
    assert found.type == "web_search_tool_result"
    assert isinstance(found.content, list)
    assert [(hit.title, hit.url) for hit in found.content] == [
        ("Amati", f"http://127.0.0.1:{web}/amati"),
        ("Violins", "https://violins.example/"),
    ]
    assert message.stop_reason == "end_turn"
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_search_requests == 1
    turns = [
        user("Who made violins?"),
        assistant([block.model_dump(exclude_none=True) for block in message.content]),
        user("When?"),
    ]
    official.client.messages.create(model=MODEL, max_tokens=500, tools=[SEARCH], messages=turns)  # type: ignore[list-item]
    before, after = official.upstream.exchanges[1:]
    assert after.messages[: len(before.messages)] == before.messages
    assert "A family of makers." in after.results[0]


@pytest.mark.parametrize("streaming", [True, False])
def test_the_sdk_reads_a_fetch(official: Sdk, streaming: bool, web: int) -> None:
    url = f"http://127.0.0.1:{web}/amati"
    official.upstream.play([Say(calls=(Call("web_fetch", {"url": url}),)), Say("In Cremona.")])
    message = official.ask(streaming, f"Where does {url} say?", tools=[FETCH])
    call, page, text = message.content
    assert page.type == "web_fetch_tool_result"
    assert page.content.type == "web_fetch_result"
    assert page.content.content.title == "Amati"
    assert "Amati made violins in Cremona." in page.content.content.source.data
    assert (call.type, text.type) == ("server_tool_use", "text")
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_fetch_requests == 1


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_claude_codes_web_search_shows_links(
    version: str, searching: Latimer, upstream: Upstream, tmp_path: Path, web: int
) -> None:
    """The scripted model plays both parts: the one that asks for a search, and the one that runs it."""

    def script(exchange: Exchange) -> Say:
        if "Perform a web search" in exchange.said("user")[-1]:
            called = any(message["role"] == "tool" for message in exchange.messages)
            return Say("Amati did.") if called else Say(calls=(Call("web_search", {"query": "violin makers"}),))
        if "WebSearch" not in exchange.tools:
            return Say(calls=(Call("ToolSearch", {"query": "select:WebSearch"}),))
        links = [result for result in exchange.results if "violins.example" in result]
        if links:
            return Say(f"I have read: {links[0]}")
        return Say(calls=(Call("WebSearch", {"query": "who made violins"}),))

    upstream.play(script)
    claude = ClaudeCode(version, tmp_path / "home", searching.url)
    run = claude.ask("search the web for violins", *SKIP_PERMISSIONS)
    assert not run.failed, run.text
    assert "https://violins.example/" in run.text, conversation(upstream.last)
    assert f"http://127.0.0.1:{web}/amati" in run.text
    assert "Amati did." in run.text
    assert Web.queries == ["violin makers"]
    searches = [
        exchange for exchange in upstream.exchanges if "Perform a web search" in flat(exchange.messages[-1]["content"])
    ]
    assert len(searches) == 1, "one request, no ladder of attempts"
    assert "Links:" in json.dumps(run.tool_results)
    assert run.result["usage"].get("server_tool_use", {}).get("web_search_requests", 0) >= 0


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_claude_code_without_a_search_engine_is_told_once(
    version: str, gateway: Latimer, upstream: Upstream, tmp_path: Path
) -> None:
    def script(exchange: Exchange) -> Say:
        if "WebSearch" not in exchange.tools:
            return Say(calls=(Call("ToolSearch", {"query": "select:WebSearch"}),))
        told = [result for result in exchange.results if "search" in result.lower() and "select:" not in result]
        if any("unavailable" in result or "not available" in result for result in told):
            return Say(f"I was told: {told[-1]}")
        return Say(calls=(Call("WebSearch", {"query": "who made violins"}),))

    upstream.play(script)
    claude = ClaudeCode(version, tmp_path / "home", gateway.url)
    run = claude.ask("search the web for violins", *SKIP_PERMISSIONS)
    assert "[web_search] backend" in run.text
    assert len(upstream.exchanges) <= 3, "the search request itself never reaches a model"


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_claude_code_over_its_upstreams_limit_of_tools(version: str, upstream: Upstream, tmp_path: Path) -> None:
    """The upstream takes ten tools; what is left out is found again, by a search that Latimer runs."""
    found = Say(calls=(Call("tool_search_tool_bm25", {"query": "Bash run a shell command"}),))

    def script(exchange: Exchange) -> Say:
        assert len(exchange.tools) <= 10
        if "Bash" not in exchange.tools:
            return found
        if not any("hello" in result for result in exchange.results):
            return Say(calls=(Call("Bash", {"command": "echo hello", "description": "say hello"}),))
        return Say("It said hello.")

    upstream.play(script)
    config = '[providers.local]\nbase_url = "%s"\ntools = { max_count = 10 }\n[routes]\ndefault = "local/m"\n'
    (tmp_path / "latimer.toml").write_text(config % upstream.url)
    with serving(["--config", str(tmp_path / "latimer.toml"), "--port", "0"], home=tmp_path) as gateway:
        environment = {"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"}  # all tools at once, no search of its own
        claude = ClaudeCode(version, tmp_path / "home", gateway.url, environment)
        run = claude.ask("say hello", *SKIP_PERMISSIONS)
        assert run.text == "It said hello."
        again = claude.ask("once more", *SKIP_PERMISSIONS, more=True)
    assert again.text == "It said hello."
