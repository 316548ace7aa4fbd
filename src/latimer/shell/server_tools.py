"""Server tools at work: the rounds of one answer, and what is run between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from latimer.dialects.messages.request import Request
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

if TYPE_CHECKING:
    from latimer.shell.web import Web

_log = logging.getLogger(__name__)

Ask = Callable[[Request], Awaitable[None]]
Tell = Callable[[list[Event]], None]


class ServerTools:
    """What the gateway does for models: searches and fetches, as the configuration permits."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        if config.web_fetch.enabled and find_spec("trafilatura") is None:
            _log.warning("web_fetch reads no HTML without the fetch extra: pip install 'latimer[fetch]'")

    def abilities(self, most_tools: int) -> Abilities:
        """What can be run here, for an upstream that takes so many tools."""
        return Abilities(self._config.web_search.backend, self._config.web_fetch.enabled, most_tools)

    @cached_property
    def _web(self) -> Web:
        # With its library, which takes longer to import than all the rest of the gateway.
        from latimer.shell.web import Web  # noqa: PLC0415

        return Web(self._config, self._environ)

    async def converse(self, turn: Turn, ask: Ask, tell: Tell) -> None:
        """Ask the model and run what it calls, until it has its answer or the client is to go on.

        `ask` makes one round; it raises `Rejection` when nothing of that round has reached the client.
        """
        if turn.plan.alone:
            tell(turn.decline())
            return
        following: Request | Finish = turn.request
        while not isinstance(following, Finish):
            await ask(following)
            calls = turn.settle()
            if not calls:
                return
            # All at once; they are shown in the order of the calls, so that an answer is the same each time.
            for call, content in zip(calls, await self._run_all(calls, turn), strict=True):
                tell(turn.show(call, content))
            following = turn.go_on()
        tell([following])

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
                    return search_content(await self._web.search(call.text("query"), call.tool))
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
        self._web.check(url)
        # A page that tells the model to put a secret into a URL must not get it.
        if not mentions(turn.so_far(), url, asked.url_sources, turn.plan.tools):
            raise ToolFailure("url_not_in_prior_context")
        page = await self._web.fetch(url, call.tool.domains, asked.max_content_tokens)
        return fetch_content(page, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
