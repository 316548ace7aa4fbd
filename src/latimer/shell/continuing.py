"""Goes on with answers whose upstream died in the middle, for users who asked for it (`[retry] continuations`)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable

from msgspec.structs import replace

from latimer.continuation.resume import Resume, closing, ending, resume
from latimer.continuation.shown import Shown
from latimer.errors import Failure, Rejection
from latimer.events import Event
from latimer.policy.counting import Weight
from latimer.policy.retry import RetryRules, wait_before_retry
from latimer.shell.client_stream import Client
from latimer.shell.hop import Hop

log = logging.getLogger(__name__)

Ask = Callable[[Hop, Client], Awaitable[None]]


class Continuing:
    """Has requests answered by `ask`, and again for the rest of an answer that broke off."""

    def __init__(self, rules: RetryRules, ask: Ask) -> None:
        self._rules = rules
        self._ask = ask

    async def answer(self, hop: Hop, client: Client) -> None:
        """Have the request answered. Raises `Rejection` if nothing of an answer has reached the client.

        A whole message is not begun before it is complete, and a review waits for the end, so neither can break off.
        """
        if not self._rules.continuations or hop.stream is None or hop.review is not None:
            await self._ask(hop, client)
            return
        shown = Shown(hop.stream)
        hop = replace(hop, shown=shown)
        await self._ask(hop, client)
        left = self._rules.continuations
        while (failure := shown.failure) is not None:
            shown.failure = None
            try:
                going_on = await self._go_on(hop, shown, failure, client, left=left)
            except Rejection as rejection:
                # The client never made this request, so it hears why its own was not answered.
                log.warning("no continuation: %s", rejection.failure.type)
                going_on = False
            if not going_on:
                client.write(shown.give_up(failure))
            left -= 1

    async def _go_on(self, hop: Hop, shown: Shown, failure: Failure, client: Client, *, left: int) -> bool:
        """Whether there is more than the failure to tell of, and that told. Raises `Rejection`."""
        if failure.transient and (finish := ending(shown)):
            log.info("the answer ends with its tool call")
            _tell(shown, [*closing(shown), finish], client)
            return True
        following = resume(hop.request, shown) if left else None
        pause = wait_before_retry(1, failure, replace(self._rules, tries=2), random.random())  # noqa: S311  # jitter
        if following is None or pause is None:
            return False
        log.info("the answer goes on where it broke off, in %.1f s", pause)
        _tell(shown, closing(shown), client)
        await asyncio.sleep(pause)
        await self._ask(_resumed(hop, following), client)
        return True


def _resumed(hop: Hop, following: Resume) -> Hop:
    more = len(following.extra.encode())
    return replace(hop, resume=following, weight=Weight(hop.weight.text_bytes + more, hop.weight.files))


def _tell(shown: Shown, events: Iterable[Event], client: Client) -> None:
    if out := b"".join([shown.encode(event) for event in events]):
        client.write(out)
