"""Puts a probe's questions to an upstream, within a number of requests, each within its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, json
from msgspec.structs import replace

from latimer.dialects.errors.failures import Asked, failure_of
from latimer.dialects.messages.headers import VERSION
from latimer.dialects.messages.request import OLD_VERSION
from latimer.errors import Failure
from latimer.policy.knowledge import Finding, Knowledge, key_of
from latimer.policy.model_lists import Told
from latimer.policy.presets import Overlay, presets
from latimer.policy.probing.answers import Reply, read_reply
from latimer.policy.probing.interview import Found, Interview
from latimer.policy.probing.questions import Question
from latimer.policy.probing.talk import Subject
from latimer.policy.profiles import resolve
from latimer.policy.routing import Route
from latimer.policy.tables import merge
from latimer.profile import Dialect
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamClient, named_failure

QUESTION_SECONDS = 60.0
MOST_WAIT = 20.0
"""Seconds that a rate limit may ask for; the question counts as unanswered where it asks for more."""
USUAL_WAIT = 2.0
MAX_ANSWER_BYTES = 256 * 1024
TRIES = 2
"""How often one question is asked of an upstream that is busy, or breaks the connection."""
BUSY = frozenset({429, 503, 529})

Heard = Callable[[int, Question], None]
"""Called with a request's number before it is sent."""


class Probed(Struct, frozen=True):
    """What a probe came to, and how many requests it took."""

    found: Found
    requests: int


class Known(Struct, frozen=True):
    """What is known before the first request."""

    told: Told
    learned: Overlay
    """What was learned of the route from others than earlier probes."""
    requests: int
    """The most that may be sent."""


async def probe(client: UpstreamClient, route: Route, known: Known, heard: Heard) -> Probed:
    """Ask everything. Raises Rejection when the upstream answers nothing at all, ConfigError without a usable key."""
    told, most = known.told, known.requests
    engine = _engine_rules(route, told)
    profile = resolve(route.provider, route.model, merge(engine, known.learned))
    interview = Interview(Subject(route.model, profile, told=told, fixed=_fixed(route)))
    asking = interview.questions()
    number = 0
    reply: Reply | None = None
    while True:
        try:
            question = next(asking) if reply is None else asking.send(reply)
        except StopIteration:
            break
        reply = Reply()
        for _ in range(min(TRIES, most - number)):
            number += 1
            heard(number, question)
            reply = await _ask(client, route, number, question)
            wait = _wait(reply)
            if wait is None or (number == 1 and not reply.status):  # nobody is there
                break
            await asyncio.sleep(wait)
    found = interview.found
    if engine:
        why = f"the server names itself as {told.engine}, whose rules are known"
        found = replace(found, overlay=merge(engine, found.overlay), reasons=(why, *found.reasons))
    return Probed(found, number)


def _engine_rules(route: Route, told: Told) -> Overlay:
    """The rules of the engine that names itself, where the configuration names none."""
    if route.provider.preset or told.engine not in presets():
        return {}
    return presets()[told.engine].rules


def _fixed(route: Route) -> Dialect | None:
    """The dialect that the user's configuration names for the route, whatever is learned; None where it names none."""
    learned: tuple[Overlay, ...] = ({"endpoint": {"dialect": "chat"}}, {"endpoint": {"dialect": "messages"}})
    named = {resolve(route.provider, route.model, overlay).endpoint.dialect for overlay in learned}
    return named.pop() if len(named) == 1 else None


def _wait(reply: Reply) -> float | None:
    """Seconds after which a question is asked again; None when it was answered, or the wait would be too long."""
    broke = not reply.status and reply.failure is not None and reply.failure.type == "api_error"
    if broke:
        return 0.0
    if reply.status not in BUSY:
        return None
    wait = reply.failure.retry_after if reply.failure else None
    seconds = USUAL_WAIT if wait is None else wait
    return seconds if seconds <= MOST_WAIT else None


async def _ask(client: UpstreamClient, route: Route, number: int, question: Question) -> Reply:
    """One request. Raises ConfigError when the key cannot be read."""
    provider = route.provider
    url = provider.url(question.dialect) + question.path
    headers = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
    if question.dialect == "messages":
        headers[VERSION] = OLD_VERSION
    asked = Asked(provider.name, route.name, provider.api_key, route.model, 0, 0, None)
    received = bytearray()
    try:
        async with (
            asyncio.timeout(QUESTION_SECONDS),
            client.request(provider, "POST", url, json.encode(question.body), headers) as answer,
        ):
            glance = question.glance and answer.status == 200

            def take(data: bytes) -> bool:
                received.extend(data)
                return not glance and len(received) < MAX_ANSWER_BYTES

            await answer.flow(take)
    except OSError as error:  # TimeoutError is an OSError
        return Reply(number, failure=named_failure(error, provider.base_url, asked))
    if glance:
        return Reply(number, 200)
    reply = read_reply(question.dialect, number, answer.status, bytes(received))
    if reply.verdict == "taken":
        return reply
    if reply.error.html and answer.status == 200:
        what = "it answered with a web page. Check base_url (--upstream): it usually ends in /v1"
        return replace(reply, failure=Failure("api_error", f"{route.name}: {what}", should_retry=False))
    return replace(reply, failure=failure_of(answer.status, answer.headers, reply.error, asked, time.time()))


def unprobed(known: Knowledge) -> Knowledge:
    """What is known from others than earlier probes, whose place a new one takes."""
    left = {key: tuple(one for one in found if one.source != "probe") for key, found in known.routes.items()}
    return Knowledge({key: found for key, found in left.items() if found})


def keep(store: Store, route: Route, probed: Probed) -> None:
    """Write what was found in place of what an earlier probe found. May wait for the disk; raises OSError."""
    key = key_of(route.provider, route.model)
    found = probed.found
    finding = Finding(found.overlay, "; ".join(found.reasons), "probe", int(time.time()))

    def edit(known: Knowledge) -> Knowledge:
        mine = unprobed(known).routes.get(key, ())
        others = {other: findings for other, findings in known.routes.items() if other != key}
        kept = Knowledge({**others, key: mine} if mine else others)
        return kept.having(key, finding) if found.overlay else kept

    store.change(edit)
