"""The web as the configuration lets models reach it."""

from __future__ import annotations

from collections.abc import Mapping

from latimer.domains import Domains
from latimer.policy.config import Config
from latimer.server_tools.plan import ServerTool
from latimer.server_tools.results import Found, Page
from latimer.shell.egress import Egress, checked_url
from latimer.shell.web_fetch import fetch
from latimer.shell.web_search import Searcher


class Web:
    """Searches and fetches. Every method may raise `ToolFailure`."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._rules = config.web_fetch
        self._searcher = Searcher(config.web_search, environ)
        self._egress = Egress(config.web_fetch)

    async def search(self, query: str, tool: ServerTool) -> list[Found]:
        """The hits that the tool's domains permit."""
        return await self._searcher.search(query, tool)

    def check(self, url: str) -> None:
        """Refuse a URL that must not be fetched."""
        checked_url(url, self._rules)

    async def fetch(self, url: str, domains: Domains, max_tokens: int | None) -> Page:
        """A page's text, at most about `max_tokens` long."""
        return await fetch(self._egress, url, domains, self._rules, max_tokens)
