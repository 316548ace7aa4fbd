"""How many requests a provider gets at once: who waits, in what order, and what waiting clients see."""

import asyncio
import math
from contextlib import suppress
from typing import Any

import pytest

from latimer.policy.config import Provider
from latimer.shell.slots import Busy, Slots
from tests.scenarios.replies import Say, failure
from tests.shell.harness import (
    ENDING,
    WHOLE_TEXT,
    Exchange,
    Gateway,
    config_for,
    eventually,
    gateway,
    hang,
    names,
    serving,
    upstream,
)

STREAMS = pytest.mark.parametrize("stream", [True, False])
ONE = Provider("p0", "http://127.0.0.1:9/v1", max_concurrent=1, max_queued=2)


# --- by itself -------------------------------------------------------------------------------------------------------


async def test_a_slot_goes_from_one_to_the_next() -> None:
    slots = Slots([ONE])
    slot = await slots.take(ONE, "a", math.inf)
    waiting = asyncio.create_task(slots.take(ONE, "a", math.inf))
    await asyncio.sleep(0)
    assert (slots.free(ONE), slots.in_flight("p0"), slots.queued("p0")) == (False, 1, 1)
    slots.give_back(slot)
    slots.give_back(await waiting)
    assert (slots.free(ONE), slots.in_flight("p0"), slots.queued("p0")) == (True, 0, 0)


async def test_past_the_bound_it_says_which_setting() -> None:
    slots = Slots([ONE])
    await slots.take(ONE, "a", math.inf)
    waiting = [asyncio.create_task(slots.take(ONE, "a", math.inf)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy) as caught:
        await slots.take(ONE, "b", math.inf)
    failure = caught.value.failure
    assert failure.status == 529
    assert failure.retry_after == 15.0  # three are before it, and none has ended yet
    for word in ("p0", "max_concurrent", "max_queued", "[providers.p0]"):
        assert word in failure.message
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert slots.queued("p0") == 0


async def test_nobody_waits_longer_than_it_may() -> None:
    slots = Slots([ONE])
    slot = await slots.take(ONE, "a", math.inf)
    with pytest.raises(Busy):
        await slots.take(ONE, "b", asyncio.get_running_loop().time() + 0.05)
    assert slots.queued("p0") == 0
    slots.give_back(slot)
    assert slots.free(ONE)


async def test_who_is_called_as_it_goes_passes_its_slot_on() -> None:
    slots = Slots([ONE])
    slot = await slots.take(ONE, "a", math.inf)
    first, second = (asyncio.create_task(slots.take(ONE, "a", math.inf)) for _ in range(2))
    await asyncio.sleep(0)
    slots.give_back(slot)  # calls the first
    first.cancel()
    got = await asyncio.wait_for(second, 5)
    assert slots.in_flight("p0") == 1
    slots.give_back(got)
    assert slots.free(ONE)


async def test_who_has_gone_before_it_is_called_is_passed_over() -> None:
    slots = Slots([ONE])
    slot = await slots.take(ONE, "a", math.inf)
    first, second = (asyncio.create_task(slots.take(ONE, "a", math.inf)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    slots.give_back(slot)  # before the first has left the queue
    slots.give_back(await asyncio.wait_for(second, 5))
    assert (slots.free(ONE), slots.queued("p0")) == (True, 0)


async def test_what_was_out_before_a_reload_still_counts() -> None:
    before = Slots([ONE])
    slot = await before.take(ONE, "a", math.inf)
    after = Slots([ONE], before)
    assert (after.free(ONE), after.in_flight("p0")) == (False, 1)
    before.give_back(slot)
    assert (after.free(ONE), after.in_flight("p0")) == (True, 0)


# --- through the gateway ---------------------------------------------------------------------------------------------


class Held:
    """Answers when it is told to, and knows how many it had at once."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.order: list[str] = []
        self.leave = asyncio.Semaphore(0)

    async def __call__(self, exchange: Exchange) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        self.order.append(exchange.body["messages"][0]["content"])
        try:
            await self.leave.acquire()
            said = Say("done")
            await exchange.play(
                said.streamed("m", include_usage=True) if exchange.body.get("stream") else said.whole("m")
            )
        finally:
            self.open -= 1


async def ask(client: Gateway, session: str, **fields: Any) -> Any:
    messages = [{"role": "user", "content": session}]
    return await client.ask(headers={"x-claude-code-session-id": session}, messages=messages, **fields)


async def provider(client: Gateway) -> Any:
    (told,) = (await client.get("/status")).json["health"]["providers"]
    return told


def limited(concurrent: int, queued: int) -> str:
    return f"max_concurrent = {concurrent}\nmax_queued = {queued}"


@STREAMS
async def test_no_more_at_once_and_sessions_take_turns(stream: bool) -> None:
    held = Held()
    async with serving(held, rules=limited(2, 20)) as (client, script):
        busy = [asyncio.create_task(ask(client, "busy", stream=stream)) for _ in range(8)]
        await eventually(lambda: len(script.exchanges) == 2, 10)
        await asyncio.sleep(0.2)  # the other six are in the queue
        other = asyncio.create_task(ask(client, "other", stream=stream))
        await asyncio.sleep(0.2)
        for _ in range(9):
            held.leave.release()
        answers = await asyncio.gather(*busy, other)
    assert {answer.status for answer in answers} == {200}
    assert held.most == 2
    assert "other" in held.order[:4]  # the second to be called, after two that were in and one that waited longer


async def test_a_queued_stream_gets_pings_and_its_answer() -> None:
    held = Held()
    async with serving(held, rules=limited(1, 5), commit_seconds=0.05, ping_seconds=0.05) as (client, script):
        first = asyncio.create_task(ask(client, "a"))
        await eventually(lambda: len(script.exchanges) == 1, 10)
        second = asyncio.create_task(ask(client, "b"))
        await asyncio.sleep(0.5)
        held.leave.release()
        held.leave.release()
        await first
        events = (await second).events
    assert names(events) == [*WHOLE_TEXT, *ENDING]
    assert names(events, pings=True).index("content_block_start") >= 4  # message_start and three pings


@STREAMS
async def test_a_full_queue_is_told_at_once(stream: bool) -> None:
    held = Held()
    async with serving(held, rules=limited(1, 0), retry="tries = 3") as (client, script):
        first = asyncio.create_task(ask(client, "a"))
        await eventually(lambda: len(script.exchanges) == 1, 10)
        answer = await ask(client, "b", stream=stream)
        assert answer.status == 529
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "max_queued" in answer.error["message"]
        held.leave.release()
        await first
        held.leave.release()
        assert (await ask(client, "b", stream=stream)).status == 200


async def test_a_client_that_goes_leaves_the_queue_and_its_slot() -> None:
    async with serving(hang, Say("free"), rules=limited(1, 5)) as (client, script):
        first = asyncio.create_task(ask(client, "a"))
        await eventually(lambda: len(script.exchanges) == 1, 10)
        second = asyncio.create_task(ask(client, "b"))
        third = asyncio.create_task(ask(client, "c"))
        await asyncio.sleep(0.2)
        second.cancel()
        first.cancel()
        answer = await asyncio.wait_for(third, 10)
        assert answer.text == "free"
        await asyncio.sleep(0.1)
        assert len(script.exchanges) == 2  # the second never went out
        assert (await ask(client, "d")).text == "free"


@pytest.mark.parametrize(
    "trouble", [failure(500, "boom"), failure(400, "no"), Say("Hello").streamed("m", include_usage=True).cut(b"Hel")]
)
async def test_no_failure_keeps_a_slot(trouble: Any) -> None:
    async with serving(*[trouble] * 4, Say("free"), rules=limited(1, 0), retry="tries = 1") as (client, _):
        for _ in range(4):
            await ask(client, "a")
        assert (await ask(client, "a")).text == "free"


async def test_many_that_come_and_go_leave_every_slot() -> None:
    async def sometimes(exchange: Exchange) -> None:
        kind = exchange.number % 5
        if kind == 0:
            await hang(exchange)
        elif kind == 1:
            exchange.reset()
        elif kind == 2:
            await exchange.play(failure(500, "boom"))
        else:
            await asyncio.sleep(0.01)
            await exchange.play(Say("done").streamed("m", include_usage=True))

    async with serving(sometimes, rules=limited(3, 40), retry="tries = 2") as (client, _):

        async def impatient(number: int) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05 + number % 7 / 10):
                    await ask(client, f"session {number % 6}")

        await asyncio.gather(*[impatient(number) for number in range(80)])
        async with asyncio.timeout(10):
            while (told := await provider(client))["in_flight"]:  # noqa: ASYNC110  # over HTTP
                await asyncio.sleep(0.02)
        assert told["queued"] == 0
        assert told["answered"] > 0


async def test_a_chain_goes_on_where_nobody_waits() -> None:
    held = Held()
    async with upstream(held) as first, upstream(Say("From the second")) as second:
        config = config_for(first.url, second.url, rules=limited(1, 5))
        async with gateway(config) as client:
            one = asyncio.create_task(ask(client, "a"))
            await eventually(lambda: len(first.exchanges) == 1, 10)
            assert (await ask(client, "b")).text == "From the second"
            held.leave.release()
            assert (await one).text == "done"


async def test_where_all_are_busy_it_waits_for_the_first() -> None:
    held, other = Held(), Held()
    async with upstream(held) as first, upstream(other) as second:
        config = config_for(first.url, second.url, rules=limited(1, 5))
        async with gateway(config) as client:
            tasks = [asyncio.create_task(ask(client, name)) for name in "abc"]
            await eventually(lambda: len(first.exchanges) + len(second.exchanges) == 2, 10)
            await asyncio.sleep(0.1)
            held.leave.release()
            held.leave.release()
            other.leave.release()
            assert {answer.text for answer in await asyncio.gather(*tasks)} == {"done"}
    assert (len(first.exchanges), len(second.exchanges)) == (2, 1)


async def test_a_whole_answer_does_not_wait_longer_than_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latimer.shell.gateway.WHOLE_SECONDS", 0.2)
    held = Held()
    async with serving(held, rules=limited(1, 5)) as (client, script):
        first = asyncio.create_task(ask(client, "a"))
        await eventually(lambda: len(script.exchanges) == 1, 10)
        answer = await ask(client, "b", stream=False)
        assert answer.status == 529
        held.leave.release()
        await first


async def test_health_tells_who_is_out_and_who_waits() -> None:
    held = Held()
    async with serving(held, rules=limited(1, 5)) as (client, script):
        tasks = [asyncio.create_task(ask(client, "a")) for _ in range(3)]
        await eventually(lambda: len(script.exchanges) == 1, 10)
        async with asyncio.timeout(10):
            while (told := await provider(client))["queued"] < 2:  # noqa: ASYNC110  # over HTTP
                await asyncio.sleep(0.02)
        assert (told["name"], told["in_flight"], told["queued"], told["max_concurrent"]) == ("p0", 1, 2, 1)
        assert told["keys"] == ["env:LATIMER_TEST_KEY"]
        for _ in range(3):
            held.leave.release()
        await asyncio.gather(*tasks)
        told = await provider(client)
        assert (told["in_flight"], told["queued"], told["answered"], told["failed"]) == (0, 0, 3, 0)
