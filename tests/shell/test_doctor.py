"""`latimer doctor` against real servers on loopback, each fault caused for real."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from latimer import __version__
from latimer.policy.config import Config
from latimer.policy.diagnosis import Diagnosis
from latimer.policy.knowledge import Finding, key_of
from latimer.shell import doctor
from latimer.shell.doctor import examine
from latimer.shell.state import Store
from tests.scenarios.replies import Wire, html
from tests.shell.harness import KEY, KEY_VARIABLE, config_for, gateway, upstream

MODELS = "/v1/models"
LISTED = {"data": [{"id": "m", "max_model_len": 32768}, {"id": "other"}]}


@pytest.fixture
def claude(tmp_path: Path) -> str:
    return program(tmp_path, 'echo "2.1.330 (Claude Code)"')


def program(folder: Path, script: str) -> str:
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def examined(config: Config, state: Path, claude: str = "", network: bool = True) -> list[Diagnosis]:
    found = await examine(config, state, claude, network)
    assert KEY not in str(found), "a key is never shown"
    return found


def about(found: list[Diagnosis], where: str) -> list[Diagnosis]:
    return [each for each in found if each.where.startswith(where)]


def wrong(found: list[Diagnosis]) -> list[str]:
    return [each.where for each in found if each.level == "wrong"]


async def of_models(models: Any, state: Path, claude: str, rules: str = "") -> list[Diagnosis]:
    async with upstream(others={MODELS: models}) as script:
        return await examined(config_for(script.url, rules=rules), state, claude)


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[int]:
    """A server that answers each connection so, and then closes it."""
    tasks = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        with suppress(OSError):
            await answer(reader, writer)
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*(task for task in tasks if task))


async def test_nothing_is_wrong(tmp_path: Path, claude: str) -> None:
    found = await of_models(LISTED, tmp_path, claude)
    assert wrong(found) == []
    assert [each.what for each in about(found, "route p0/m")] == [
        "the provider lists the model",
        "context window of 32768 tokens",
    ]
    assert about(found, "Claude Code")[0].what == f"2.1.330 (Claude Code) at {claude}"


async def test_a_key_that_is_not_there(tmp_path: Path, claude: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(others={MODELS: LISTED}) as script:
        monkeypatch.delenv(KEY_VARIABLE)
        found = await examined(config_for(script.url), tmp_path, claude)
        assert wrong(found) == ["provider p0, key"]
        assert KEY_VARIABLE in about(found, "provider p0, key")[0].what
        assert script.asked == [], "nobody is asked without the key"


@pytest.mark.parametrize(("status", "what"), [(401, "the key is refused"), (500, "answers 500")])
async def test_an_upstream_that_refuses(status: int, what: str, tmp_path: Path, claude: str) -> None:
    found = await of_models(Wire((b"{}",), status=status), tmp_path, claude)
    assert wrong(found) == ["provider p0"]
    assert what in about(found, "provider p0")[1].what


async def test_an_upstream_that_is_not_there(tmp_path: Path, claude: str) -> None:
    found = await examined(config_for("http://127.0.0.1:9/v1"), tmp_path, claude)
    assert wrong(found) == ["provider p0"]
    assert about(found, "provider p0")[1].cure


async def test_an_upstream_that_speaks_no_tls(tmp_path: Path, claude: str) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 The plain HTTP request was expected\r\n\r\n")

    async with listening(refuse) as port:
        found = await examined(config_for(f"https://127.0.0.1:{port}/v1"), tmp_path, claude)
    assert wrong(found) == ["provider p0"]
    assert "no secure connection" in about(found, "provider p0")[1].what


async def test_an_upstream_that_hangs(tmp_path: Path, claude: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ASK_SECONDS", 0.1)
    start = time.monotonic()
    found = await of_models(Wire((b"{", *[b" "] * 100)).paced(0.1), tmp_path, claude)
    assert time.monotonic() - start < 2
    assert wrong(found) == ["provider p0"]


async def test_anthropics_own_api_wants_its_version(tmp_path: Path, claude: str) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    async with listening(answer) as port:
        await examined(config_for(f"http://127.0.0.1:{port}/v1"), tmp_path, claude)
    assert b"anthropic-version: 2023-06-01\r\n" in seen[0]


async def test_the_others_are_examined_too(tmp_path: Path, claude: str) -> None:
    async with upstream(others={MODELS: LISTED}) as script:
        found = await examined(config_for("http://127.0.0.1:9/v1", script.url), tmp_path, claude)
    assert wrong(found) == ["provider p0"]
    assert about(found, "route p1/m")[0].what == "the provider lists the model"


async def test_a_model_that_is_not_listed(tmp_path: Path, claude: str) -> None:
    found = await of_models({"data": [{"id": "m2"}, {"id": "x"}]}, tmp_path, claude)
    missing = about(found, "route p0/m")[0]
    assert missing.level == "note"
    assert "m2" in missing.cure
    assert "unknown" in about(found, "route p0/m")[1].what


@pytest.mark.parametrize("models", [None, html(), Wire((b"\xff",)), {"data": 5}, {"data": [1, {"id": 2}]}, [], 5])
async def test_an_upstream_that_lists_nothing(models: Any, tmp_path: Path, claude: str) -> None:
    found = await of_models(models, tmp_path, claude)
    assert wrong(found) == []
    assert [each.what for each in about(found, "route p0/m")] == [
        "the context window is unknown, so Claude Code assumes 200000 tokens"
    ]


async def test_without_network_nobody_is_asked(tmp_path: Path, claude: str) -> None:
    async with upstream(others={MODELS: LISTED}) as script:
        found = await examined(config_for(script.url), tmp_path, claude, network=False)
        assert (script.connections, wrong(found)) == (0, [])


async def test_what_was_learned_is_shown(tmp_path: Path, claude: str) -> None:
    async with upstream(others={MODELS: LISTED}) as script:
        config = config_for(script.url)
        finding = Finding({"request": {"context_window": 7}}, "the probe found it", "probe", int(time.time()) - 7200)
        key = key_of(config.providers["p0"], "m")
        Store(tmp_path).change(lambda kept: kept.having(key, finding))
        found = await examined(config, tmp_path, claude)
    assert any("7 tokens" in each.what for each in about(found, "route p0/m")), "it counts"
    learned = about(found, "route p0/m")[-1]
    assert "the probe found it (probe, 2 hours ago, forgotten in 30 days; sets request.context_window)" in learned.what
    assert "latimer forget p0/m" in learned.cure


# --- the port ---


async def of_port(port: int, state: Path, claude: str) -> Diagnosis:
    found = await examined(config_for("http://127.0.0.1:9/v1", port=port), state, claude, network=False)
    return about(found, "port")[0]


async def test_a_port_that_is_free(tmp_path: Path, claude: str) -> None:
    async def close(*_: object) -> None: ...

    async with listening(close) as port:
        pass
    assert (await of_port(port, tmp_path, claude)).what == "free"


async def test_a_port_that_is_ours(tmp_path: Path, claude: str) -> None:
    async with gateway(config_for("http://127.0.0.1:9/v1")) as client:
        found = await of_port(int(client.url.rsplit(":", 1)[1]), tmp_path, claude)
    assert (found.level, found.what) == ("ok", f"Latimer {__version__} listens there")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.0 404 x\r\n\r\nnot found",
        b'HTTP/1.0 200 x\r\n\r\n{"status":"up"}',
        b'HTTP/1.0 200 x\r\n\r\n{"status":"ok","version":5}',
        b"HTTP/1.0 200 x\r\n\r\n[]",
    ],
)
async def test_a_port_that_is_taken(answer: bytes, tmp_path: Path, claude: str) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with listening(say) as port:
        found = await of_port(port, tmp_path, claude)
    assert (found.level, found.what) == ("wrong", "another program listens there")


async def test_a_port_whose_owner_says_nothing(tmp_path: Path, claude: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ASK_SECONDS", 0.1)

    async def wait(reader: asyncio.StreamReader, _: object) -> None:
        await reader.read()

    async with listening(wait) as port:
        assert (await of_port(port, tmp_path, claude)).level == "wrong"


async def test_a_token_that_is_not_there(tmp_path: Path, claude: str) -> None:
    config = config_for("http://127.0.0.1:9/v1", token="env:LATIMER_NO_SUCH_TOKEN")
    found = await examined(config, tmp_path, claude, network=False)
    assert wrong(found) == ["server.token"]


# --- Claude Code ---


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "failed with exit code 3"),
        ("true", "failed with exit code 0"),
        ("exec sleep 5", "took more than 0.2 s"),
    ],
)
async def test_a_claude_code_that_does_not_work(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CLAUDE_SECONDS", 0.2 if "sleep" in script else 20.0)
    found = await examined(config_for("http://127.0.0.1:9/v1"), tmp_path, program(tmp_path, f"{script}"), network=False)
    assert wrong(found) == ["Claude Code"]
    assert words in about(found, "Claude Code")[0].what
    assert about(found, "Claude Code")[0].cure


async def test_no_claude_code(tmp_path: Path) -> None:
    found = await examined(config_for("http://127.0.0.1:9/v1"), tmp_path, str(tmp_path / "nothing"), network=False)
    assert wrong(found) == ["Claude Code"]
