"""Putting a probe's questions: in their number, in their time, with the key and without a trace of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from latimer.errors import Rejection
from latimer.policy.config import Config, Flags, parse
from latimer.policy.knowledge import Finding, key_of
from latimer.policy.model_lists import Told
from latimer.policy.presets import Overlay
from latimer.policy.probing.questions import Question
from latimer.policy.routing import Route, routes_for
from latimer.shell import probe as probe_module
from latimer.shell.models import ask_model
from latimer.shell.probe import Known, Probed, keep, probe, unprobed
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamClient
from tests.policy.probing.imitation import Imitation, answers, refusal, without
from tests.scenarios.replies import Wire

Json = dict[str, Any]
KEY = "sk-canary-0123456789abcdefghij"


class Server:
    """An imitation on a loopback port; `before` may answer in its stead, `lists` are what it has to GET."""

    def __init__(self, imitation: Imitation) -> None:
        self.imitation = imitation
        self.lists: dict[str, Json] = {}
        self.before: list[Wire | float] = []
        self.heads: list[bytes] = []
        self.gone = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                lines = head.decode().lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                await self._answer(head.decode().split(" "), await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            self.gone += 1
        finally:
            writer.close()

    async def _answer(self, head: list[str], raw: bytes, writer: asyncio.StreamWriter) -> None:
        method, path = head[:2]
        if method == "GET":
            found = self.lists.get(path)
            return await self._write(writer, 200 if found else 404, json.dumps(found or {}).encode())
        step = self.before.pop(0) if self.before else None
        if isinstance(step, float):
            await asyncio.sleep(step)
        if isinstance(step, Wire):
            body = b"".join(each for each in step.steps if isinstance(each, bytes))
            if not body:
                raise ConnectionResetError
            return await self._write(writer, step.status, body, dict(step.headers))
        dialect = next((name for name in ("chat", "responses", "messages") if f"/{name}" in path), "")
        question = Question("", dialect, json.loads(raw), "/count_tokens" if "count" in path else "")  # type: ignore[arg-type]
        self.imitation.asked.append(question)
        status, answer = self.imitation.answer(question)
        await self._write(writer, status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        return None

    async def _write(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, more: dict[str, str] | None = None
    ) -> None:
        headers = {"content-length": str(len(body)), **(more or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body)
        await writer.drain()


class Bench:
    """A server and a client for it."""

    def __init__(self, server: Server, config: Config, client: UpstreamClient) -> None:
        self.server, self.client = server, client
        self.heard: list[tuple[int, Question]] = []
        self.route: Route = routes_for(config, "any")[0]

    async def probe(self, most: int = 60, told: Told | None = None, learned: Overlay | None = None) -> Probed:
        known = Known(told or Told(), learned or {}, most)
        return await probe(
            self.client, self.route, known, lambda number, question: self.heard.append((number, question))
        )


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.setattr(probe_module, "USUAL_WAIT", 0.0)
    server = Server(Imitation())
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    config = parse("", "command line", Flags(upstream=f"http://127.0.0.1:{port}/v1", model="m", api_key_env="ACME_KEY"))
    client = UpstreamClient(config.server, os.environ)
    try:
        yield Bench(server, config, client)
    finally:
        await client.close()
        listener.close()


async def test_a_whole_probe(bench: Bench) -> None:
    done = await bench.probe()
    assert answers(done.found)["tools"] == "yes"
    assert done.requests == len(bench.heard) == len(bench.server.heads)
    assert [number for number, _ in bench.heard] == list(range(1, done.requests + 1))
    assert all(f"authorization: Bearer {KEY}".lower() in head.decode().lower() for head in bench.server.heads)
    assert KEY not in str(done)


async def test_the_messages_api_is_asked_in_its_own_way(bench: Bench) -> None:
    bench.server.imitation.dialects = ("chat", "messages")
    await bench.probe()
    heads = [head.decode().lower() for head in bench.server.heads if b" /v1/messages" in head]
    assert len(heads) == 4
    assert all("anthropic-version: 2023-06-01" in head for head in heads)
    assert len([head for head in heads if head.startswith("post /v1/messages/count_tokens ")]) == 1


@pytest.mark.parametrize("most", [1, 7])
async def test_no_more_requests_than_allowed(bench: Bench, most: int) -> None:
    done = await bench.probe(most)
    assert done.requests == len(bench.server.heads) == most


async def test_a_rate_limit_is_waited_for_once(bench: Bench) -> None:
    limit = Wire((b'{"error": {"message": "Rate limit"}}',), status=429, headers={"retry-after": "0"})
    bench.server.before = [limit]
    done = await bench.probe()
    assert answers(done.found)["Chat Completions"] == "yes"
    assert done.requests == len(bench.server.imitation.asked) + 1, "the refused one counts"


async def test_a_long_wait_is_not_waited(bench: Bench) -> None:
    bench.server.imitation.rules = [lambda body: refusal("Later", 429) if "stop" in body else None]
    done = await bench.probe()
    assert answers(done.found)["stop"] == "unclear"
    limit = Wire((b'{"error": {"message": "Rate limit"}}',), status=429, headers={"retry-after": "3600"})
    bench.server.before = [Wire((json.dumps(bench.server.imitation.chat({"messages": []})).encode(),)), limit]
    async with asyncio.timeout(20):
        assert answers((await bench.probe()).found)["Responses"] == "unclear"


async def test_a_connection_that_breaks_is_tried_again(bench: Bench) -> None:
    bench.server.imitation.clever = False
    first = Wire((json.dumps(bench.server.imitation.chat({"messages": []})).encode(),))
    bench.server.before = [first, Wire(())]
    done = await bench.probe()
    assert answers(done.found)["Responses"] == "no", "its 404 was heard in the end"


async def test_silence_is_no_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "QUESTION_SECONDS", 0.3)
    first = Wire((json.dumps(bench.server.imitation.chat({"messages": []})).encode(),))
    bench.server.before = [first, 1.0]
    done = await bench.probe()
    assert answers(done.found)["Responses"] == "unclear"
    assert answers(done.found)["tools"] == "yes", "the rest was asked all the same"


async def test_a_wrong_key(bench: Bench) -> None:
    bench.server.imitation.rules = [lambda _: refusal("Incorrect API key provided", 401)]
    with pytest.raises(Rejection, match="the key from the environment variable ACME_KEY"):
        await bench.probe()
    assert len(bench.heard) == 1


async def test_nobody_there() -> None:
    config = parse("", "command line", Flags(upstream="http://127.0.0.1:9/v1", model="m"))
    client = UpstreamClient(config.server, {})
    try:
        with pytest.raises(Rejection, match="nothing accepts connections there"):
            await probe(client, routes_for(config, "any")[0], Known(Told(), {}, 9), lambda *_: None)
    finally:
        await client.close()


async def test_what_the_list_tells(bench: Bench) -> None:
    entry = {"id": "m", "owned_by": "llamacpp", "architecture": {"input_modalities": ["text"]}}
    bench.server.lists = {
        "/v1/models": {"data": [entry]},
        "/props": {"default_generation_settings": {"n_ctx": 4096}},
    }
    told = await ask_model(bench.client, bench.route.provider, bench.route.model)
    assert (told.facts.context_window, told.facts.images, told.engine) == (4096, False, "llamacpp")
    overlay = (await bench.probe(told=told)).found.overlay
    assert overlay["tools"]["schema"] == "grammar", "what is known of the engine lies below"
    assert overlay["request"]["context_window"] == 4096


async def test_what_was_found_takes_the_place_of_what_was_found_before(bench: Bench, tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = key_of(bench.route.provider, bench.route.model)
    refused = Finding({"request": {"top_k": False, "drop": ["user"]}}, "a refusal", "refusal", 2_000_000_000)
    store.change(lambda known: known.having(key, refused))
    for rules in ([without("stop"), without("parallel_tool_calls")], [without("parallel_tool_calls")]):
        bench.server.imitation.rules = rules
        learned = unprobed(store.read()).overlay(key)
        await asyncio.to_thread(keep, store, bench.route, await bench.probe(learned=learned))
    known = store.read()
    assert [finding.source for finding in known.routes[key]] == ["refusal", "probe"]
    overlay = known.overlay(key)
    assert overlay["request"] == {"top_k": False, "drop": ["user"]}, "the first probe's stop is gone"
    assert overlay["tools"] == {"parallel": False}, "what the second found again is still there"
    assert KEY not in store.path.read_text()
