"""Asking a provider about its models."""

import asyncio
import json
from typing import Any

import pytest

from latimer.policy.config import Config, Provider, Server
from latimer.policy.model_lists import Told
from latimer.policy.models import ModelFacts
from latimer.policy.retry import RetryRules
from latimer.policy.routing import Route
from latimer.profile import Profile
from latimer.shell.models import LLAMA_PROPS, ask_each, ask_model
from latimer.shell.setup import list_models
from latimer.shell.upstream import UpstreamClient
from tests.scenarios.replies import Wire
from tests.shell.harness import config_for, upstream

LIST = {"object": "list", "data": [{"id": "a", "max_model_len": 4096}, {"id": "b", "max_model_len": 8192}]}


async def ask(others: dict[str, Any], model: str, preset: str = "") -> tuple[Told, list[str]]:
    """What is known of a model, and the paths that were asked."""
    async with upstream(others=others) as script:
        client = UpstreamClient(Server(), {})
        try:
            known = await ask_model(client, Provider("p", script.url, preset=preset), model)
        finally:
            await client.close()
        return known, script.asked


async def test_one_model() -> None:
    known, asked = await ask({"/v1/models": LIST}, "b")
    assert known == Told(ModelFacts(8192))
    assert asked == ["GET /v1/models"]
    assert (await ask({"/v1/models": LIST}, "c"))[0] == Told()


async def test_anthropic_is_asked_in_a_version() -> None:
    """Without the header its API refuses to list anything; `latimer init` and `run` ask the same way."""
    body = json.dumps({"data": [{"id": "b", "max_input_tokens": 8192}]}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if b"anthropic-version: 2023-06-01" in head else b"400 Bad Request"
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        provider = Provider("p", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        assert await ask_each([Route(provider, "b", Profile())]) == [ModelFacts(8192)]
        config = Config(Server(), {"p": provider}, {}, RetryRules(), "")
        assert await list_models(config, "p") == ["b"]


async def test_several_models() -> None:
    async with upstream(others={"/v1/models": LIST}) as script:
        provider = Provider("p", script.url)
        routes = [Route(provider, model, Profile()) for model in ("b", "c", "a")]
        assert await ask_each(routes) == [ModelFacts(8192), ModelFacts(), ModelFacts(4096)]
        assert await ask_each([]) == []


@pytest.mark.parametrize("own", [{"owned_by": "llamacpp"}, {"meta": {"n_ctx_train": 131_072}}])
async def test_llama_cpp_is_known_by_its_list(own: dict[str, Any]) -> None:
    props = {"default_generation_settings": {"n_ctx": 1024}, "modalities": {"vision": True}}
    known, asked = await ask({"/v1/models": {"data": [{"id": "m", **own}]}, "/props": props}, "m")
    assert known == Told(ModelFacts(1024, images=True), own.get("owned_by", ""), LLAMA_PROPS)
    assert asked == ["GET /v1/models", "GET /props"]


SHOWN = {"model_info": {"qwen3.context_length": 40_960}, "capabilities": ["tools"], "parameters": "num_ctx 8192"}


@pytest.mark.parametrize(
    ("preset", "more", "told", "window"),
    [
        ("lmstudio", "GET /api/v0/models", {"data": [{"id": "b", "loaded_context_length": 2048}]}, 2048),
        ("litellm", "GET /v1/model/info", {"data": [{"model_name": "b", "model_info": {"max_input_tokens": 99}}]}, 99),
        ("llamacpp", "GET /props", {"default_generation_settings": {"n_ctx": 1024}}, 1024),
        ("ollama", "POST /api/show", SHOWN, 8192),
    ],
)
async def test_servers_that_tell_more_elsewhere(preset: str, more: str, told: Any, window: int) -> None:
    others = {"/v1/models": {"data": [{"id": "a"}, {"id": "b"}]}, more.split()[1]: told}
    known, asked = await ask(others, "b", preset)
    assert known.facts.context_window == window
    assert known.where == more
    assert asked == ["GET /v1/models", more]
    known, _ = await ask({**others, more.split()[1]: Wire((b"no",), status=500)}, "b", preset)
    assert known == Told()


@pytest.mark.parametrize("answer", [Wire((b"<html>",)), Wire((b"{}",), status=401), None])
async def test_a_provider_that_does_not_tell(answer: Any) -> None:
    known, _ = await ask({"/v1/models": answer}, "m")
    assert known == Told()


async def test_a_provider_that_is_not_there() -> None:
    client = UpstreamClient(Server(), {})
    try:
        assert await ask_model(client, Provider("p", "http://127.0.0.1:9/v1"), "m") == Told()
        without_key = Provider("p", "http://127.0.0.1:9/v1", api_key="env:NOT_SET_HERE")
        assert await ask_model(client, without_key, "m") == Told()
    finally:
        await client.close()


async def test_the_key_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(others={"/v1/models": LIST}) as script:
        routes = [Route(config_for(script.url).providers["p0"], "a", Profile())]
        assert await ask_each(routes) == [ModelFacts(4096)]
        monkeypatch.delenv("LATIMER_TEST_KEY")
        assert await ask_each(routes) == [ModelFacts()]
    assert script.asked == ["GET /v1/models"], "without its key it is not asked"
