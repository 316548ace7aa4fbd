"""What local engines and providers tell of themselves, and exact counts where they count."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from latimer.policy.knowledge import Finding, key_of
from latimer.shell import models as models_module
from latimer.shell.state import Store
from tests.scenarios.replies import Wire, html
from tests.shell.harness import PROMPT, Gateway, Upstream, config_for, eventually, gateway, serving, upstream

MODELS = "/v1/models"
COUNT = "/v1/messages/count_tokens"
LLAMA = {"data": [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}]}
PROPS = {"default_generation_settings": {"n_ctx": 8192}}


def template(raw: bytes) -> dict[str, str]:
    """llama.cpp's answer: the prompt as one text."""
    body = json.loads(raw)
    assert set(body) <= {"messages", "tools"}
    tools = "".join(json.dumps(tool) for tool in body.get("tools", []))
    return {"prompt": tools + "".join(f" <|{item['role']}|>{item['content']}" for item in body["messages"])}


def tokenize(raw: bytes) -> dict[str, list[int]]:
    body = json.loads(raw)
    return {"tokens": list(range(len(body["content"].split())))}


LLAMA_CPP = {MODELS: LLAMA, "/props": PROPS, "/apply-template": template, "/tokenize": tokenize}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": PROMPT}], **fields}


async def count(client: Gateway, **fields: Any) -> int:
    answer = await client.post(COUNT, body(**fields))
    assert answer.status == 200, answer.body
    tokens: int = answer.json["input_tokens"]
    return tokens


async def window(client: Gateway) -> int | None:
    found: int | None = (await client.get("/v1/models/claude-via-p0/m")).json["max_input_tokens"]
    return found


async def asked(script: Upstream, path: str) -> None:
    await eventually(lambda: any(line.endswith(path) for line in script.asked))
    await asyncio.sleep(0.03)


async def test_llama_cpp_counts_exactly() -> None:
    async with serving(others=LLAMA_CPP) as (client, script):
        await asked(script, "/props")
        assert await count(client) == len(PROMPT.split())
        tool = {"name": "Read", "input_schema": {"type": "object"}}
        assert await count(client, tools=[tool]) > len(PROMPT.split())
        assert await count(client, system="You are helpful. Be brief.") == len(PROMPT.split()) + 5
        assert await window(client) == 8192
        assert script.asked.count("GET /props") == 1
        assert not script.exchanges


async def test_many_exact_counts_at_once() -> None:
    async with serving(others=LLAMA_CPP) as (client, script):
        await asked(script, "/props")
        assert set(await asyncio.gather(*(count(client) for _ in range(50)))) == {len(PROMPT.split())}


@pytest.mark.parametrize(
    "broken",
    [
        {"/apply-template": html(500)},
        {"/apply-template": html()},
        {"/apply-template": {"prompt": 5}},
        {"/apply-template": []},
        {"/tokenize": Wire((b"{",))},
        {"/tokenize": {"tokens": None}},
        {"/tokenize": {"tokens": []}},
    ],
)
async def test_an_engine_that_fails_to_count_is_estimated(broken: dict[str, Any]) -> None:
    async with serving(others={**LLAMA_CPP, **broken}) as (client, script):
        await asked(script, "/props")
        assert 10 < await count(client) < 100


async def test_an_engine_that_hangs_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(others={**LLAMA_CPP, "/tokenize": Wire((b"{", *[b" "] * 100)).paced(0.1)}) as (client, script):
        await asked(script, "/props")
        monkeypatch.setattr(models_module, "ASK_SECONDS", 0.1)
        async with asyncio.timeout(1):
            assert 10 < await count(client) < 100


@pytest.mark.parametrize("key", ["context_length", "max_model_len", "context_window", "max_context_length"])
async def test_lists_of_models_tell_windows(key: str) -> None:
    listed = {"data": [{"id": "other", key: 1}, {"id": "m", key: 32768}]}
    async with serving(others={MODELS: listed}) as (client, script):
        await asked(script, MODELS)
        assert await window(client) == 32768
        assert script.asked == [f"GET {MODELS}"]  # nobody else is asked for what only llama.cpp has


async def test_the_only_model_may_have_another_name() -> None:
    async with serving(others={MODELS: {"data": [{"id": "/models/m.gguf", "max_model_len": 4096}]}}) as (
        client,
        script,
    ):
        await asked(script, MODELS)
        assert await window(client) == 4096


async def test_a_window_of_the_users_stays() -> None:
    rules = "request = { context_window = 1000 }"
    async with serving(others=LLAMA_CPP, rules=rules) as (client, script):
        await asked(script, "/props")
        assert await window(client) == 1000


async def test_what_a_server_tells_is_truer_than_what_is_known_of_the_model(tmp_path: Path) -> None:
    """A probe of yesterday, or a preset, does not know with which window the server was started today."""
    async with upstream(others=LLAMA_CPP) as script:
        config = config_for(script.url)
        found = Finding({"request": {"context_window": 131072}}, "it was probed", "probe", int(time.time()))
        key = key_of(config.providers["p0"], "m")
        Store(tmp_path).change(lambda kept: kept.having(key, found))
        async with gateway(config, tmp_path) as client:
            await asked(script, "/props")
            assert await window(client) == 8192
    assert Store(tmp_path).read().routes[key] == (found,), "what an engine tells is not kept"


@pytest.mark.parametrize(
    "models",
    [
        None,
        html(),
        Wire((b"",)),
        Wire((b"\xff\xfe",)),
        [],
        {"data": None},
        {"data": ["m"]},
        {"data": [{"id": "m", "context_length": "8k"}]},
        {"data": [{"id": "m", "max_model_len": True, "meta": {}}]},
        {"data": [{"id": "a", "max_model_len": 1}, {"id": "b", "max_model_len": 2}]},
        Wire((), status=302, headers={"content-type": "text/html", "location": "http://127.0.0.1:9/"}),
    ],
)
async def test_an_upstream_that_tells_nothing(models: Any) -> None:
    """Asking is optional: whatever comes back, requests are served."""
    async with serving(others={MODELS: models}) as (client, script):
        await asked(script, MODELS)
        assert await window(client) is None
        assert (await client.ask()).status == 200
        assert await count(client) >= 1


async def test_an_upstream_that_is_not_there() -> None:
    async with gateway(config_for("http://127.0.0.1:9/v1")) as client:
        assert await count(client) >= 1
        assert await window(client) is None


async def test_one_silent_upstream_does_not_keep_the_next_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_module, "ASK_SECONDS", 0.1)
    stuck = Wire((b"{", *[b" "] * 100)).paced(0.1)
    listed = {"data": [{"id": "m", "max_model_len": 4096}]}
    async with (
        upstream(others={MODELS: stuck}) as first,
        upstream(others={MODELS: listed}) as second,
        gateway(config_for(first.url, second.url)) as client,
    ):
        await asked(second, MODELS)
        found = (await client.get("/v1/models/claude-via-p1/m")).json
        assert found["max_input_tokens"] == 4096


async def test_a_lesson_outlives_what_the_engine_tells() -> None:
    """Both arrive in any order, and neither undoes the other."""
    release = asyncio.Event()

    async with upstream(others=LLAMA_CPP) as script:

        async def refuses(exchange: Any) -> None:
            if "reasoning_effort" in exchange.body:
                wire = Wire((b'{"error":{"message":"Unsupported parameter: \'reasoning_effort\'"}}',), status=400)
            else:
                wire = Wire((b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}',))
            await exchange.play(wire)

        script._answers = (refuses,)
        real = script._other

        async def late(path: str, raw: bytes) -> Wire:
            await release.wait()
            return await real(path, raw)

        script._other = late  # type: ignore[method-assign]
        async with gateway(config_for(script.url)) as client:
            effort = {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}}
            assert (await client.ask(**effort)).status == 200
            assert len(script.exchanges) == 2
            release.set()
            await asked(script, "/props")
            assert await window(client) == 8192
            assert (await client.ask(**effort)).status == 200
            assert len(script.exchanges) == 3
