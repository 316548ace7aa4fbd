"""Asks the classifier model about the tool calls of an answer. Whatever goes wrong, no call is passed as harmless."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from latimer.auto_mode.prompt import classifier_body
from latimer.auto_mode.review import Call, Review
from latimer.auto_mode.verdicts import read_verdict, verdict_of_failure
from latimer.errors import Rejection
from latimer.events import Verdict
from latimer.policy.auto_mode import AutoMode
from latimer.shell.metrics import Metrics

log = logging.getLogger(__name__)

PARALLEL = 8
MOST_CALLS = 64
"""Of one answer. A model that makes more has lost its way, and each costs a request."""

Ask = Callable[[bytes], Awaitable[bytes]]
"""Sends a Messages request, returns the whole message. Raises `Rejection`."""


class Reviewer:
    """Reviews answers by the rules of `[auto_mode]`."""

    def __init__(self, rules: AutoMode, ask: Ask, metrics: Metrics) -> None:
        self._rules = rules
        self._ask = ask
        self._metrics = metrics

    async def verdicts(self, review: Review) -> dict[str, Verdict]:
        """A verdict for every call of the answer, several asked for at a time."""
        gate = asyncio.Semaphore(PARALLEL)
        async with asyncio.TaskGroup() as group:
            tasks = {
                call.id: group.create_task(self._verdict(review, call, gate, number))
                for number, call in enumerate(review.calls)
            }
        verdicts = {call: task.result() for call, task in tasks.items()}
        outcomes = Counter(_outcome(verdict) for verdict in verdicts.values())
        self._metrics.reviews.update(outcomes)
        log.info("auto mode: %s", ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
        return verdicts

    async def _verdict(self, review: Review, call: Call, gate: asyncio.Semaphore, number: int) -> Verdict:
        if call.input is None:
            return Verdict("unavailable", "truncated")
        if call.name in self._rules.skip_tools:
            return Verdict("unreviewed")
        if number >= MOST_CALLS:
            return Verdict("unavailable", "error")
        async with gate:
            try:
                async with asyncio.timeout(self._rules.timeout_seconds):
                    return await self._asked(review, call)
            except TimeoutError:
                return Verdict("unavailable", "timeout")
            except Rejection as rejection:
                log.warning("auto mode: no verdict: %s", rejection.failure.type)
                return verdict_of_failure(rejection.failure)
            except Exception as error:  # an answer that is complete must not fail for its review's sake
                log.error("auto mode: no verdict: unexpected %s", type(error).__name__)
                return Verdict("unavailable", "error")

    async def _asked(self, review: Review, call: Call) -> Verdict:
        rules = self._rules
        # A long conversation takes a while to go through.
        body = await asyncio.to_thread(classifier_body, rules.classifier, review, call, rules.max_input_tokens)
        if body is None:
            return Verdict("unavailable", "input_too_long")
        return read_verdict(await self._ask(body))


def _outcome(verdict: Verdict) -> str:
    return f"{verdict.outcome}_{verdict.why}" if verdict.outcome == "unavailable" else verdict.outcome
