"""Server tools at work: the rounds of one answer, and what is run between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from latimer.dialects.messages.request import Request
from latimer.domains import Domains
from latimer.events import Event, Finish
from latimer.policy.config import Config
from latimer.server_tools.context import mentions
from latimer.server_tools.plan import Abilities
from latimer.server_tools.results import (
    ToolFailure,
    error_content,
    fetch_content,
    references_content,
    search_content,
)
from latimer.server_tools.tool_search import search_tools
from latimer.server_tools.turn import ServerCall, Turn
from latimer.shell.egress import Egress, checked_url
from latimer.shell.web_fetch import can_read_pages, fetch
from latimer.shell.web_search import Searcher

_log = logging.getLogger(__name__)

Ask = Callable[[Request], Awaitable[None]]
Tell = Callable[[list[Event]], Awaitable[None]]


class ServerTools:
    """What the gateway does for models: searches and fetches, as the configuration permits."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._fetch_rules = config.web_fetch
        self._search_name = config.web_search.backend
        self._searcher = Searcher(config.web_search, environ)
        self._egress = Egress(config.web_fetch)
        if config.web_fetch.enabled and not can_read_pages():
            _log.warning("web_fetch reads no HTML without the fetch extra: pip install 'latimer[fetch]'")

    def abilities(self, most_tools: int) -> Abilities:
        """What can be run here, for an upstream that takes so many tools."""
        return Abilities(self._search_name, self._fetch_rules.enabled, most_tools)

    async def converse(self, turn: Turn, ask: Ask, tell: Tell) -> None:
        """Ask the model and run what it calls, until it has its answer or the client is to go on.

        `ask` makes one round; it raises `Rejection` when nothing of that round has reached the client.
        """
        if turn.plan.alone:
            await tell(turn.decline())
            return
        following: Request | Finish = turn.request
        while not isinstance(following, Finish):
            await ask(following)
            calls = turn.settle()
            if not calls:
                return
            # All at once; they are shown in the order of the calls, so that an answer is the same each time.
            for call, content in zip(calls, await self._run_all(calls, turn), strict=True):
                await tell(turn.show(call, content))
            following = turn.go_on()
        await tell([following])

    async def _run_all(self, calls: list[ServerCall], turn: Turn) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run(call, turn)) for call in calls]
        return [task.result() for task in tasks]

    async def _run(self, call: ServerCall, turn: Turn) -> Any:
        """The content of a call's result."""
        kind = call.tool.kind
        try:
            turn.admit(call)
            match kind:
                case "web_search":
                    return search_content(await self._searcher.search(call.text("query"), call.tool))
                case "web_fetch":
                    return await self._fetch(call, turn)
                case "tool_search":
                    regex = "regex" in str(call.tool.asked.type)
                    return references_content(search_tools(call.text("query"), turn.request.tools, regex=regex))
        except ToolFailure as failure:
            _log.info("%s: %s", kind, failure.code)
            return error_content(kind, failure.code)

    async def _fetch(self, call: ServerCall, turn: Turn) -> Any:
        url, asked = call.text("url"), call.tool.asked
        checked_url(url, self._fetch_rules)
        # A page that tells the model to put a secret into a URL must not get it.
        if not mentions(turn.so_far(), url, asked.url_sources, turn.plan.tools):
            raise ToolFailure("url_not_in_prior_context")
        domains: Domains = call.tool.domains
        page = await fetch(self._egress, url, domains, self._fetch_rules, asked.max_content_tokens)
        return fetch_content(page, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
