"""Web search: a query in, hits out, by the backend that the configuration names.

SearXNG: https://docs.searxng.org/dev/search_api.html. Brave: https://api-dashboard.search.brave.com/app/documentation.
Tavily: https://docs.tavily.com/documentation/api-reference/endpoint/search. Exa: https://docs.exa.ai/reference/search.
DuckDuckGo has no API for this; the library `ddgs` reads its pages (`pip install 'latimer[search]'`).
"""

from __future__ import annotations

import asyncio
import html
import importlib
import logging
import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from msgspec import json

from latimer.domains import Domains
from latimer.errors import ConfigError
from latimer.policy.web import WebSearch
from latimer.server_tools.plan import ServerTool
from latimer.server_tools.results import Found, ToolFailure
from latimer.shell.http.proxies import kind_of, proxy_for
from latimer.shell.http.trust import SYSTEM, tls_context
from latimer.shell.secrets import resolve

MAX_QUERY = 1000
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MOST_SITES = 8
"""How many domains are named in a query; all of them are checked in the results."""
EXCERPT_CHARS = 1500

PUBLIC_URLS = {
    "brave": "https://api.search.brave.com/res/v1",
    "tavily": "https://api.tavily.com",
    "exa": "https://api.exa.ai",
}
_MARKUP = re.compile(r"<[^>]{1,80}>")
_log = logging.getLogger(__name__)
logging.getLogger("ddgs").setLevel(logging.CRITICAL + 1)  # it logs queries, which are the user's business

Json = dict[str, Any]


class Searcher:
    """Searches with one backend."""

    def __init__(self, rules: WebSearch, environ: Mapping[str, str]) -> None:
        self._rules = rules
        self._environ = environ
        self._base = (rules.base_url or PUBLIC_URLS.get(rules.backend, "")).rstrip("/")

    async def search(self, query: str, tool: ServerTool) -> list[Found]:
        """The hits that the tool's domains permit. Raises `ToolFailure`."""
        if len(query) > MAX_QUERY:
            raise ToolFailure("query_too_long")
        try:
            async with asyncio.timeout(self._rules.timeout_seconds):
                found = await self._ask(query, tool)
        except (aiohttp.ClientError, OSError, ConfigError) as error:  # TimeoutError is an OSError
            _log.warning("web_search: %s: %s", self._rules.backend, _cause(error))
            raise ToolFailure("unavailable") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            _log.warning("web_search: %s: an unexpected answer (%s)", self._rules.backend, type(error).__name__)
            raise ToolFailure("unavailable") from None
        kept = [hit for hit in found if hit.url.startswith(("http://", "https://")) and tool.domains.permit(hit.url)]
        return kept[: self._rules.max_results]

    async def _ask(self, query: str, tool: ServerTool) -> list[Found]:
        match self._rules.backend:
            case "searxng":
                return await self._searxng(_with_sites(query, tool.domains))
            case "brave":
                return await self._brave(_with_sites(query, tool.domains), _country(tool))
            case "tavily":
                return await self._tavily(query, tool.domains)
            case "exa":
                return await self._exa(query, tool.domains)
            case "duckduckgo":
                return await asyncio.to_thread(self._duckduckgo, _with_sites(query, tool.domains))
            case _:
                raise ToolFailure("unavailable")

    async def _searxng(self, query: str) -> list[Found]:
        answer = await self._call("GET", "/search", params={"q": query, "format": "json"})
        return [_found(hit, "content", "publishedDate") for hit in answer["results"]]

    async def _brave(self, query: str, country: str) -> list[Found]:
        params = {"q": query, "count": str(self._rules.max_results), "extra_snippets": "true"}
        params |= {"country": country} if country else {}
        headers = {"X-Subscription-Token": await self._key()}
        answer = await self._call("GET", "/web/search", params=params, headers=headers)
        hits = (answer.get("web") or {}).get("results") or []
        return [_found({**hit, "text": _joined(hit)}, "text", "age") for hit in hits]

    async def _tavily(self, query: str, domains: Domains) -> list[Found]:
        body: Json = {"query": query, "max_results": self._rules.max_results}
        body |= _named("include_domains", domains.allowed) | _named("exclude_domains", domains.blocked)
        headers = {"Authorization": f"Bearer {await self._key()}"}
        answer = await self._call("POST", "/search", body=body, headers=headers)
        return [_found(hit, "content", "published_date") for hit in answer["results"]]

    async def _exa(self, query: str, domains: Domains) -> list[Found]:
        contents = {"text": {"maxCharacters": EXCERPT_CHARS}}
        body: Json = {"query": query, "numResults": self._rules.max_results, "contents": contents}
        body |= _named("includeDomains", domains.allowed) | _named("excludeDomains", domains.blocked)
        answer = await self._call("POST", "/search", body=body, headers={"x-api-key": await self._key()})
        return [_found(hit, "text", "publishedDate") for hit in answer["results"]]

    def _duckduckgo(self, query: str) -> list[Found]:
        try:
            ddgs = importlib.import_module("ddgs")
            problems = importlib.import_module("ddgs.exceptions")
        except ImportError:
            _log.warning("web_search: duckduckgo needs the search extra: pip install 'latimer[search]'")
            raise ToolFailure("unavailable") from None
        client = ddgs.DDGS(timeout=int(self._rules.timeout_seconds), proxy=proxy_for("https://duckduckgo.com") or None)
        try:
            hits = client.text(query, max_results=self._rules.max_results, backend="duckduckgo")
        except problems.RatelimitException:
            raise ToolFailure("too_many_requests") from None
        except problems.DDGSException as error:
            if "No results" in str(error):
                return []
            _log.warning("web_search: duckduckgo: %s", type(error).__name__)
            raise ToolFailure("unavailable") from None
        return [_found({**hit, "url": hit["href"]}, "body", "") for hit in hits]

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """One call of a backend's API. Raises `ToolFailure`, aiohttp's errors, OSError and ValueError."""
        url = self._base + path
        data = None if body is None else json.encode(body)
        given = {
            "Accept": "application/json",
            **({"Content-Type": "application/json"} if data else {}),
            **(headers or {}),
        }
        proxy = proxy_for(url)
        if proxy and kind_of(proxy) == "socks":
            raise ConfigError(f"searches go through HTTP proxies only; name {self._base} in NO_PROXY to go without")
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                method,
                url,
                params=params,
                data=data,
                headers=given,
                proxy=proxy or None,
                ssl=tls_context(SYSTEM),
                allow_redirects=False,
            ) as response,
        ):
            if response.status == 429:
                raise ToolFailure("too_many_requests")
            if response.status != 200:
                raise ConfigError(f"HTTP {response.status}{_HINTS.get((self._rules.backend, response.status), '')}")
            answer = json.decode(await _limited(response))
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        return answer

    async def _key(self) -> str:
        return await asyncio.to_thread(resolve, self._rules.api_key, self._environ)


_HINTS = {
    ("searxng", 403): ": add json to search.formats in SearXNG's settings.yml",
    ("brave", 401): ": check web_search.api_key",
    ("brave", 422): ": check web_search.api_key",
    ("tavily", 401): ": check web_search.api_key",
    ("exa", 401): ": check web_search.api_key",
}


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError("too large")
    return bytes(body)


def _found(hit: Json, text: str, age: str) -> Found:
    when = hit.get(age)
    return Found(_plain(hit.get("title")), str(hit["url"]), _plain(hit.get(text))[:EXCERPT_CHARS], when and str(when))


def _plain(markup: Any) -> str:
    return " ".join(html.unescape(_MARKUP.sub("", str(markup or ""))).split())


def _joined(hit: Json) -> str:
    return " ".join([str(hit.get("description") or ""), *map(str, hit.get("extra_snippets") or ())])


def _named(field: str, rules: Any) -> Json:
    return {field: [rule.host for rule in rules]} if rules else {}


def _with_sites(query: str, domains: Domains) -> str:
    """The query, limited to domains in the words that all engines know. What they ignore is filtered out later."""
    if domains.allowed:
        return f"{query} {' OR '.join(f'site:{rule.host}' for rule in domains.allowed[:MOST_SITES])}"
    return " ".join([query, *(f"-site:{rule.host}" for rule in domains.blocked[:MOST_SITES])])


def _country(tool: ServerTool) -> str:
    country = tool.asked.user_location.country if tool.asked.user_location else None
    return country.upper() if country and re.fullmatch(r"[A-Za-z]{2}", country) else ""


def _cause(error: BaseException) -> str:
    """The text of our own errors; others may quote a query or a key."""
    return str(error) if isinstance(error, ConfigError) else type(error).__name__
