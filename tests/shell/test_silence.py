"""The watch over an upstream's silence, by itself."""

import asyncio
from typing import Any

import pytest

from latimer.shell.silence import Silence


def timers() -> list[Any]:
    scheduled: list[Any] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [handle for handle in scheduled if not handle.cancelled() and "Silence" in repr(handle._callback)]


async def test_silence_ends_the_block() -> None:
    silence = Silence(0.03)
    with pytest.raises(TimeoutError):
        async with silence.watched():
            await asyncio.sleep(1)
    assert timers() == []


async def test_what_is_heard_keeps_it_open() -> None:
    silence = Silence(0.05)
    async with silence.watched():
        for _ in range(6):
            await asyncio.sleep(0.02)
            silence.heard()
            silence.listen()
            assert len(timers()) == 1
    assert timers() == []


async def test_silence_after_words_ends_the_block() -> None:
    silence = Silence(0.05)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError):
        async with silence.watched():
            await asyncio.sleep(0.03)
            silence.heard()
            silence.listen()
            await asyncio.sleep(1)
    assert 0.075 < loop.time() - begun < 0.5


async def test_a_slow_client_is_not_silence() -> None:
    silence = Silence(0.03)
    async with silence.watched():
        silence.heard()
        await asyncio.sleep(0.12)  # what the client takes to read
        silence.listen()
    with pytest.raises(TimeoutError):
        async with silence.watched():
            await asyncio.sleep(1)


async def test_what_is_no_answer_does_not_count_as_its_beginning() -> None:
    silence = Silence(5, 0.1)
    with pytest.raises(TimeoutError):
        async with silence.watched():
            while True:  # comments
                await asyncio.sleep(0.01)
                silence.heard()
                silence.listen()
    assert "first_token_timeout_seconds" in silence.why
    assert timers() == []


async def test_once_begun_only_silence_counts() -> None:
    silence = Silence(0.2, 0.1)
    with pytest.raises(TimeoutError):
        async with silence.watched():
            silence.begun()
            await asyncio.sleep(0.15)
            silence.heard()
            silence.listen()
            await asyncio.sleep(5)
    assert silence.why == "nothing came for 0.2 s"


async def test_settling_is_a_fixed_time() -> None:
    silence = Silence(5)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError):
        async with silence.watched():
            while True:
                silence.heard()
                silence.settle(0.05)
                silence.listen()
                await asyncio.sleep(0.01)
    assert 0.04 < loop.time() - begun < 0.5
    assert timers() == []


async def test_other_ends_pass_through() -> None:
    silence = Silence(5)
    with pytest.raises(KeyError):
        async with silence.watched():
            raise KeyError
    assert timers() == []

    async def watch() -> None:
        async with Silence(5).watched():
            await asyncio.sleep(5)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert timers() == []
