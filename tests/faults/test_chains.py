"""Routes that fail before the first token in every way, while another route or another key is fine."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from latimer.policy.fallback import USUAL
from tests.faults.chains import FORMS, ON, Link, ask_all, chains, play_all
from tests.faults.page import PAGE, chained
from tests.faults.table import FAULTS, PATIENT
from tests.latimer_process import serving
from tests.shell.harness import KEY, KEY_VARIABLE, Exchange, Gateway, Upstream, upstream

WORKERS = 2
SHARED = (
    "connection refused",
    "certificate not trusted",
    "reset on accepting",
    "reset after the request",
    "garbage instead of HTTP",
    "401",
    "429 with a time",
    "500",
    "503",
    "200 with an empty body",
    "an error in a 200",
    "two Content-Lengths",
)
OTHER_KEY = "sk-another-canary-9876543210"
SESSIONS = 12


def test_the_second_route_answers() -> None:
    found = asyncio.run(play_all(FAULTS))
    known = PAGE.read_text("utf-8").splitlines()
    for fault in FAULTS:
        line = chained(fault, found)
        assert line in known, "docs/faults.md says otherwise (python docs/generate.py)"
    assert {name for name, _ in found} == {fault.name for fault in FAULTS}
    failed = {where: what for where, what in found.items() if "answered" not in what}
    assert all(what.startswith(("event: ", "goes on")) for what in failed.values()), failed
    # What is told in a stream has begun: with a block in Messages, with some of the text in other dialects.
    before_any_text = {where for where, what in failed.items() if "before any text" in what or "goes on" in what}
    assert {form for _, form in before_any_text} == {("messages", "stream")}
    assert {*ON} == {*USUAL, "authentication"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
async def test_the_second_route_answers_in_workers_too(tmp_path: Path) -> None:
    faults = [fault for fault in FAULTS if fault.name in SHARED]
    assert len(faults) == len(SHARED)
    assert all(fault.limits is PATIENT for fault in faults)
    links = [Link(fault, form) for fault in faults for form in FORMS if form != ("messages", "stream")]
    async with chains(links, tmp_path) as text:
        (tmp_path / "c.toml").write_text(text)
        environment = {KEY_VARIABLE: KEY, "SSL_CERT_FILE": str(tmp_path / "trusted.pem")}
        flags = ["--config", str(tmp_path / "c.toml"), "--workers", str(WORKERS)]
        server = serving(flags, home=tmp_path, environment=environment)
        latimer = await asyncio.to_thread(server.__enter__)
        try:
            found = await ask_all(links, latimer.url)
            assert latimer.stderr.count(": answered instead of first") == len(links)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)
    assert set(found.values()) == {"answered by the second"}, found
    assert KEY not in latimer.stderr


@asynccontextmanager
async def two_keys(home: Path, script: Upstream) -> AsyncIterator[Gateway]:
    """Workers before a provider with two keys."""
    (home / "c.toml").write_text(
        f'[server]\nport = 0\n[providers.p]\nbase_url = "{script.url}"\n'
        f'api_key = ["env:{KEY_VARIABLE}", "env:OTHER_KEY"]\n[routes]\ndefault = "p/m"\n'
    )
    flags = ["--config", str(home / "c.toml"), "--workers", str(WORKERS)]
    server = serving(flags, home=home, environment={KEY_VARIABLE: KEY, "OTHER_KEY": OTHER_KEY})
    latimer = await asyncio.to_thread(server.__enter__)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            yield Gateway(latimer.url, session)
        assert KEY not in latimer.stderr
        assert OTHER_KEY not in latimer.stderr
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
@pytest.mark.parametrize("status", [401, 402, 429])
async def test_the_second_key_answers(status: int, tmp_path: Path) -> None:
    """Each worker finds out once that a key is no good, whatever session comes."""
    asked = {KEY: 0, OTHER_KEY: 0}

    async def answer(exchange: Exchange) -> None:
        key = exchange.headers["authorization"].removeprefix("Bearer ")
        asked[key] += 1
        if key == KEY:
            await exchange.head(status, "application/json", retry_after="30")
            await exchange.chunk(b'{"error": {"message": "not with this key", "type": "x", "code": null}}')
            await exchange.end()
        else:
            await exchange.head()
            await exchange.say("by the other key")
            await exchange.finish()

    async with upstream(answer) as script, two_keys(tmp_path, script) as gateway:
        for number in range(SESSIONS):
            user = {"user_id": json.dumps({"session_id": f"session {number}"})}
            told = await gateway.ask(stream=number % 2 == 0, metadata=user)
            assert told.status == 200, told.body
            assert b"by the other key" in told.body
            assert told.headers["latimer-route"] == "p/m"
    assert asked[OTHER_KEY] == SESSIONS
    assert 1 <= asked[KEY] <= WORKERS
