"""A server whose configuration changes under its requests: what is open ends as it began, what comes is new."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from latimer.policy.config import parse
from latimer.shell import reload as reload_module
from latimer.shell.generation import Generation
from latimer.shell.reload import Source
from latimer.shell.service import running
from latimer.shell.signals import Signals
from tests.scenarios.replies import Say, failure
from tests.shell.harness import (
    KEY,
    KEY_VARIABLE,
    WHOLE_TEXT,
    Exchange,
    Gateway,
    Upstream,
    events_in,
    eventually,
    halting,
    hang,
    names,
    upstream,
)


class Live(Gateway):
    """A gateway whose file is looked at all the time, and which a test may signal."""

    def __init__(self, path: Path, url: str, session: aiohttp.ClientSession, signals: Signals) -> None:
        super().__init__(url, session)
        self.path = path
        self.signals = signals

    async def status(self) -> Any:
        return (await self.get("/status")).json

    async def read(self, text: str) -> Any:
        """Write the file, and give the status once it was read, with or without success."""
        before = (await self.status())["config"]
        self.path.write_text(text)
        return await self.until(lambda config: config != before)

    async def until(self, condition: Callable[[Any], bool]) -> Any:
        deadline = asyncio.get_running_loop().time() + 10
        while not condition((status := await self.status())["config"]):
            assert asyncio.get_running_loop().time() < deadline, status
            await asyncio.sleep(0.01)
        return status


def text_for(script: Upstream, model: str = "m", server: str = "", key: str = f"env:{KEY_VARIABLE}") -> str:
    return (
        f"[server]\nport = 0\n{server}\n[retry]\nbase_wait_seconds = 0.01\n"
        f'[providers.p0]\nbase_url = "{script.url}"\napi_key = "{key}"\n[routes]\ndefault = "p0/{model}"\n'
    )


@asynccontextmanager
async def live(path: Path, text: str) -> AsyncIterator[Live]:
    path.write_text(text)  # noqa: ASYNC240
    source = Source(path, path.read_text, lambda text: parse(text or "", str(path)))
    before = asyncio.all_tasks()
    signals = Signals()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        running(source.load(), source=source, signals=signals) as url,
    ):
        yield Live(path, url, session, signals)
    await eventually(lambda: not [task for task in asyncio.all_tasks() - before if "latimer" in repr(task)])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "LOOK_SECONDS", 0.01)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of the generations that were closed."""
    found: list[str] = []
    real = Generation.close

    async def close(self: Generation) -> None:
        found.append(self.config.routes["default"][0])
        await real(self)

    monkeypatch.setattr(Generation, "close", close)
    return found


# --- what changes ---


async def test_a_file_that_changes_during_the_start(tmp_path: Path) -> None:
    """The server begins with what it has read, and reads what was written meanwhile."""
    path = tmp_path / "c.toml"
    async with upstream() as script, aiohttp.ClientSession() as session:
        path.write_text(text_for(script, "old"))
        source = Source(path, path.read_text, lambda text: parse(text or "", str(path)))
        config = source.load()
        path.write_text(text_for(script, "newer"))
        async with running(config, source=source.through(lambda config: config)) as url:
            status = await Live(path, url, session, Signals()).until(lambda config: config["number"] == 2)
    assert status["routes"]["default"] == ["p0/newer"]


async def test_streams_end_as_they_began_and_the_next_request_is_new(tmp_path: Path, closed: list[str]) -> None:
    go = asyncio.Event()

    async with (
        upstream(halting(go), Say("new")) as script,
        live(tmp_path / "c.toml", text_for(script, "old")) as client,
    ):
        async with client.opened() as answer:
            begun = await answer.content.readuntil(b"Hello")
            status = await client.read(text_for(script, "new"))
            assert status["config"]["number"] == 2
            assert status["routes"] == {"default": ["p0/new"]}
            assert (status["open_requests"], status["older_requests"]) == (1, 1)
            fresh = await client.ask()
            assert (fresh.text, fresh.headers["latimer-route"]) == ("new", "p0/new")
            assert closed == []
            go.set()
            body = begun + await answer.read()
        assert names(events_in(body))[:3] == WHOLE_TEXT[:3]
        assert names(events_in(body))[-1] == "message_stop"
        assert [exchange.body["model"] for exchange in script.exchanges] == ["old", "new"]
        await eventually(lambda: closed == ["p0/old"])
        assert (await client.status())["older_requests"] == 0
    assert closed == ["p0/old", "p0/new"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text + "[", "not valid TOML"),
        (lambda text: text.replace("default =", "defualt = 3\ndefault ="), "routes.defualt"),
        (lambda text: text.replace(KEY_VARIABLE, "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE is not set"),
    ],
    ids=["no TOML", "a wrong type", "no key"],
)
async def test_a_bad_file_changes_nothing_and_is_told(
    tmp_path: Path, change: Callable[[str], str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(Say("Hello")) as script, live(tmp_path / "c.toml", text_for(script)) as client:
        good = text_for(script)
        status = await client.read(change(good))
        assert status["config"]["number"] == 1
        assert why in status["config"]["error"]
        logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(logged) == 1
        assert logged[0].startswith("the configuration stays as it was: ")
        assert why in logged[0]
        assert (await client.ask()).text == "Hello"
        status = await client.read(good)
        assert (status["config"]["number"], status["config"]["error"]) == (2, "")
        assert (await client.ask()).text == "Hello"


async def test_keys_are_read_again_when_asked(tmp_path: Path) -> None:
    """The file is as it was; the key behind it is not."""
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    reference = f"file:{key}"
    async with upstream(Say("Hello")) as script, live(tmp_path / "c.toml", text_for(script, key=reference)) as client:
        await client.ask()
        key.write_text(f"{KEY}-new")
        await client.ask()
        client.signals.reload.set()
        await client.until(lambda config: config["number"] == 2)
        await client.ask()
    sent = [exchange.headers["authorization"] for exchange in script.exchanges]
    assert sent == [f"Bearer {KEY}", f"Bearer {KEY}", f"Bearer {KEY}-new"]


async def test_limits_and_tokens_change_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "gateway-token")
    async with upstream(Say("Hello")) as script, live(tmp_path / "c.toml", text_for(script)) as client:
        large = {"system": "x" * 3000}
        assert (await client.ask(**large)).status == 200
        await client.read(text_for(script, server="max_body_bytes = 2048"))
        assert (await client.ask(**large)).status == 413
        client.path.write_text(text_for(script, server='token = "env:GATEWAY_TOKEN"'))
        await _refused(client)
        assert (await client.ask(headers={"x-api-key": "gateway-token"}, **large)).status == 200


async def _refused(client: Live) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while (await client.get("/v1/models")).status != 401:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_what_needs_a_restart_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with upstream(Say("Hello")) as script, live(tmp_path / "c.toml", text_for(script)) as client:
        status = await client.read(text_for(script, "new").replace("port = 0", 'port = 4999\nhost = "localhost"'))
        assert status["config"]["restart"] == ["server.host", "server.port"]
        assert status["routes"] == {"default": ["p0/new"]}
        told = [record.getMessage() for record in caplog.records if "is started again" in record.getMessage()]
        assert [line.split()[0] for line in told] == ["server.host", "server.port"]


async def test_what_was_counted_and_learned_stays(tmp_path: Path) -> None:
    """Without a state folder it stands in memory only: a refusal's lesson, the counters."""
    refusal = failure(400, "Unsupported parameter: 'temperature'", param="temperature")
    async with upstream(refusal, Say("Hello")) as script, live(tmp_path / "c.toml", text_for(script)) as client:
        assert (await client.ask(temperature=0.5)).text == "Hello"
        assert len(script.exchanges) == 2
        await client.read(text_for(script, server="ping_seconds = 4.0"))
        assert (await client.ask(temperature=0.5)).text == "Hello"
        assert "temperature" not in script.exchanges[2].body
        metrics = (await client.get("/metrics")).body.decode()
        assert 'latimer_requests_total{outcome="200",path="/v1/messages"} 2.0' in metrics


# --- the end ---


async def test_requests_of_all_generations_are_told_of_the_end(tmp_path: Path, closed: list[str]) -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await hang(exchange)

    async with upstream(begin) as script:
        stack = live(tmp_path / "c.toml", text_for(script, "old"))
        client = await stack.__aenter__()
        async with client.opened() as old:
            await old.content.readuntil(b"Hello")
            await client.read(text_for(script, "new", server="shutdown_seconds = 0.05"))
            async with client.opened() as new:
                await new.content.readuntil(b"Hello")
                leaving = asyncio.create_task(stack.__aexit__(None, None, None))
                ends = [(await answer.read()).split(b"event: ")[-1] for answer in (old, new)]
        await asyncio.wait_for(leaving, 10)
    assert [json.loads(end.split(b"data: ")[1])["error"]["type"] for end in ends] == ["overloaded_error"] * 2
    assert sorted(closed) == ["p0/new", "p0/old"]


async def test_a_second_signal_hurries(tmp_path: Path) -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await hang(exchange)

    async with upstream(begin) as script:
        stack = live(tmp_path / "c.toml", text_for(script, server="shutdown_seconds = 600.0"))
        client = await stack.__aenter__()
        async with client.opened() as answer:
            await answer.content.readuntil(b"Hello")
            leaving = asyncio.create_task(stack.__aexit__(None, None, None))
            await asyncio.sleep(0.05)
            assert not leaving.done()
            client.signals.hurry.set()
            assert b"event: error" in await answer.read()
        await asyncio.wait_for(leaving, 10)


async def test_a_connection_that_is_kept_alive_is_closed_at_the_end(tmp_path: Path) -> None:
    """The request on it is answered, then there is no other."""
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        await exchange.head()
        await exchange.say("Hello")
        await exchange.finish()

    async with upstream(slow) as script:
        stack = live(tmp_path / "c.toml", text_for(script))
        client = await stack.__aenter__()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rsplit(":", 1)[1]))
        body = json.dumps({"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}).encode()
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await eventually(lambda: len(script.exchanges) == 1)
        leaving = asyncio.create_task(stack.__aexit__(None, None, None))
        await asyncio.sleep(0.05)
        go.set()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Hello" in answer
        await asyncio.wait_for(leaving, 10)
        writer.close()
