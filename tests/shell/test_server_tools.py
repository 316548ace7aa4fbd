"""Latimer's rounds with a model that searches and fetches: one answer for the client, honest requests upstream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.scenarios.replies import Call, Say, Wire, failure
from tests.scenarios.rules import Rules
from tests.shell.harness import USAGE, Gateway, Json, Response, Upstream, events_in, serving
from tests.shell.test_egress import says, site
from tests.shell.test_web_search import SEARXNG, engine

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
BASH = {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}
LOOK = Say("Let me look.", calls=(Call("web_search", {"query": "violins"}),))
DONE = Say("Violins are old.")
HIT = {
    "type": "web_search_result",
    "title": "Violins & more",
    "url": "https://violins.example/a",
    "encrypted_content": "latimer:Old violins.",
    "page_age": "2026-01-02",
}


@asynccontextmanager
async def searching(*answers: Any, rules: str = "", **options: Any) -> AsyncIterator[tuple[Gateway, Upstream]]:
    """A gateway with a search engine before a scripted upstream, each of whose requests is checked."""
    async with engine(SEARXNG) as server:
        table = f'[web_search]\nbackend = "searxng"\nbase_url = "http://127.0.0.1:{server.port}"\n'
        async with serving(*answers, rules=table + rules, **options) as (client, upstream):
            yield client, upstream
            for exchange in upstream.exchanges:
                Rules(message_keys=frozenset({"reasoning_content"})).check(exchange.body)


def folded(response: Response) -> Json:
    """The message of a stream, as an SDK folds it, and checked to be in order."""
    message: Json = {}
    for name, data in response.events:
        match name:
            case "message_start":
                assert not message
                message = data["message"]
            case "content_block_start":
                assert data["index"] == len(message["content"])
                message["content"].append({**data["content_block"], "_open": ""})
            case "content_block_delta":
                block, delta = message["content"][data["index"]], data["delta"]
                if delta["type"] == "input_json_delta":
                    block["_open"] += delta["partial_json"]
                else:
                    key = delta["type"].removesuffix("_delta")
                    block[key] = delta[key] if key == "signature" else block[key] + delta[key]
            case "content_block_stop":
                text = message["content"][data["index"]].pop("_open")
                if text:
                    message["content"][data["index"]]["input"] = json.loads(text)
            case "message_delta":
                message |= data["delta"]
                message["usage"] |= data["usage"]
    assert response.events[-1][0] == "message_stop"
    return message


async def ask(client: Gateway, *, stream: bool = True, **fields: Any) -> Json:
    response = await client.ask(stream=stream, **fields)
    assert response.status == 200, response.body
    message: Json = folded(response) if stream else response.json
    return message


def kinds(message: Json) -> list[str]:
    return [block["type"] for block in message["content"]]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_search(stream: bool) -> None:
    async with searching(LOOK, DONE) as (client, upstream):
        message = await ask(client, stream=stream, tools=[SEARCH])
    said, call, result, text = message["content"]
    assert said == {"type": "text", "text": "Let me look."}
    assert (call["type"], call["name"], call["input"]) == ("server_tool_use", "web_search", {"query": "violins"})
    assert call["id"].startswith("srvtoolu_")
    assert result["tool_use_id"] == call["id"]
    assert result["content"][0] == HIT
    assert text == {"type": "text", "text": "Violins are old."}
    assert message["stop_reason"] == "end_turn"
    usage = message["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (24, 6), "two rounds"
    assert usage["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
    first, second = upstream.exchanges
    assert [tool["function"]["name"] for tool in first.body["tools"]] == ["web_search"]
    assert second.body["messages"][: len(first.body["messages"])] == first.body["messages"]
    asked, found = second.body["messages"][-2:]
    assert asked["tool_calls"][0]["function"] == {"name": "web_search", "arguments": '{"query":"violins"}'}
    assert asked["content"] == "Let me look."
    assert "https://violins.example/a" in found["content"]
    assert "Old violins." in found["content"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("display", ["summarized", "omitted"])
async def test_the_next_turn_continues_where_the_rounds_ended(stream: bool, display: str) -> None:
    """The model still knows what it found, and its provider's cache holds: no earlier message changes."""
    async with searching(Say("Let me look.", calls=LOOK.calls, reasoning="Hm."), DONE, DONE) as (client, upstream):
        user = {"role": "user", "content": "What of violins?"}
        fields = {"tools": [SEARCH, BASH], "thinking": {"type": "adaptive", "display": display}}
        message = await ask(client, stream=stream, messages=[user], **fields)
        turns = [user, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": "And now?"}]
        response = await client.ask(messages=turns, **fields)
        assert response.text == "Violins are old."
        before, after = upstream.exchanges[1].body, upstream.exchanges[2].body
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert after["tools"] == before["tools"]
    assert before["messages"][1]["reasoning_content"] == "Hm."
    assert [message["role"] for message in after["messages"]] == ["user", "assistant", "tool", "assistant", "user"]


async def test_a_system_message_until_the_next_user_message_outlives_the_rounds() -> None:
    note = {"role": "system", "content": "a note", "clear_at": "next_user_message"}
    async with searching(LOOK, DONE) as (client, upstream):
        await ask(client, tools=[SEARCH], messages=[{"role": "user", "content": "hi"}, note])
    first, second = (exchange.body["messages"] for exchange in upstream.exchanges)
    assert second[:2] == first
    assert first[1]["content"] == "a note"


async def test_without_the_tool_the_history_is_told_as_text() -> None:
    async with searching(LOOK, DONE, DONE) as (client, upstream):
        user = {"role": "user", "content": "What of violins?"}
        message = await ask(client, tools=[SEARCH], messages=[user])
        turns = [user, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": "And now?"}]
        await ask(client, messages=turns)
        assert "Old violins." in json.dumps(upstream.exchanges[2].body["messages"])


async def test_ordinary_tools_end_the_turn_with_the_results_of_ours() -> None:
    both = Say(calls=(Call("web_search", {"query": "violins"}), Call("Bash", {"command": "ls"})))
    async with searching(both, DONE) as (client, upstream):
        message = await ask(client, tools=[SEARCH, BASH])
        assert sorted(kinds(message)) == ["server_tool_use", "tool_use", "web_search_tool_result"]
        assert message["stop_reason"] == "tool_use"
        assert len(upstream.exchanges) == 1
        use = next(block for block in message["content"] if block["type"] == "tool_use")
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": message["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"], "content": "a.txt"}]},
        ]
        await ask(client, tools=[SEARCH, BASH], messages=turns)
        messages = upstream.exchanges[1].body["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "tool"]
    assert [call["function"]["name"] for call in messages[1]["tool_calls"]] == ["web_search", "Bash"]


async def test_ordinary_tools_alone_are_as_ever() -> None:
    async with searching(Say(calls=(Call("Bash", {"command": "ls"}),))) as (client, upstream):
        message = await ask(client, tools=[SEARCH, BASH])
    assert (kinds(message), message["stop_reason"]) == (["tool_use"], "tool_use")
    assert message["usage"]["server_tool_use"] is None
    assert [tool["function"]["name"] for tool in upstream.exchanges[0].body["tools"]] == ["web_search", "Bash"]


async def test_a_model_that_never_stops_searching_is_paused() -> None:
    async with searching(LOOK) as (client, upstream):
        message = await ask(client, tools=[{**SEARCH, "max_uses": None}])
        assert len(upstream.exchanges) == 8
        assert message["stop_reason"] == "pause_turn"
        assert message["usage"]["server_tool_use"]["web_search_requests"] == 8
        ids = [block["id"] for block in message["content"] if block["type"] == "server_tool_use"]
        assert len(set(ids)) == 8
        # The client may send it all back and have the model go on.
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": message["content"]}]
        await ask(client, tools=[SEARCH], messages=turns)
        assert upstream.exchanges[8].body["messages"][-1]["role"] == "tool"


async def test_max_uses() -> None:
    twice = Say(calls=(Call("web_search", {"query": "a"}), Call("web_search", {"query": "b"})))
    async with searching(twice, DONE) as (client, upstream):
        message = await ask(client, tools=[{**SEARCH, "max_uses": 1}])
    results = [block["content"] for block in message["content"] if block["type"] == "web_search_tool_result"]
    assert results[0][0] == HIT
    assert results[1] == {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 1, "errors are not counted"
    assert "max_uses_exceeded" in upstream.exchanges[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("arguments", ["{}", '{"query": ""}', '{"query": " "}'])
async def test_calls_that_make_no_sense(arguments: str) -> None:
    async with searching(Say(calls=(Call("web_search", arguments),)), DONE) as (client, _):
        message = await ask(client, tools=[SEARCH])
    codes = [block["content"]["error_code"] for block in message["content"] if block["type"].endswith("_result")]
    assert codes == ["invalid_tool_input"]
    assert message["content"][-1]["text"] == "Violins are old."


async def test_a_forced_choice_is_forced_once() -> None:
    async with searching(LOOK, DONE) as (client, upstream):
        await ask(client, tools=[SEARCH], tool_choice={"type": "tool", "name": "web_search"})
    forced, free = (exchange.body["tool_choice"] for exchange in upstream.exchanges)
    assert forced == {"type": "function", "function": {"name": "web_search"}}
    assert free == "auto"


async def test_a_function_of_the_same_name_is_another_tool() -> None:
    own = {**BASH, "name": "web_search"}
    ours = Say(calls=(Call("web_search_on_server", {"query": "violins"}),))
    async with searching(ours, Say(calls=(Call("web_search", {"command": "x"}),))) as (client, _):
        message = await ask(client, tools=[own, SEARCH])
    assert kinds(message) == ["server_tool_use", "web_search_tool_result", "tool_use"]
    assert message["content"][0]["name"] == "web_search"


async def test_an_upstream_that_fails_between_the_rounds_is_asked_again() -> None:
    busy = failure(503, "busy")
    async with searching(LOOK, busy, DONE) as (client, upstream):
        message = await ask(client, tools=[SEARCH])
    assert kinds(message) == ["text", "server_tool_use", "web_search_tool_result", "text"]
    assert len(upstream.exchanges) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_an_upstream_that_is_lost_between_the_rounds(stream: bool) -> None:
    broken = failure(401, "no key")
    async with searching(LOOK, broken) as (client, _):
        response = await client.ask(stream=stream, tools=[SEARCH])
    if stream:
        assert response.events[-1][0] == "error"
        assert response.events[-1][1]["error"]["type"] == "authentication_error"
    else:
        assert response.status == 401
        assert response.error["type"] == "authentication_error"


async def test_an_answer_that_was_cut_is_not_gone_on_from() -> None:
    cut: Wire = LOOK.streamed("m", include_usage=True).cut(b"query")
    async with searching(cut, retry="tries = 1") as (client, upstream):
        response = await client.ask(tools=[SEARCH])
        assert events_in(response.body)[-1][0] == "error"
        assert '"type":"server_tool_use"' not in response.body.decode()
    assert len(upstream.exchanges) == 1


async def test_a_call_that_the_length_cut_off_is_not_run() -> None:
    async with searching(Say(calls=LOOK.calls, finish="length")) as (client, upstream):
        message = await ask(client, tools=[SEARCH])
    assert message["stop_reason"] == "max_tokens"
    assert "web_search_tool_result" not in kinds(message)
    assert len(upstream.exchanges) == 1


async def test_pings_while_a_search_takes_its_time() -> None:
    async def slow(exchange: Any) -> None:
        await asyncio.sleep(0.3)
        await exchange.play(Say("Violins are old.", usage=USAGE).streamed("m", include_usage=True))

    async with searching(LOOK, slow, ping_seconds=0.1, commit_seconds=0.1) as (client, _):
        response = await client.ask(tools=[SEARCH])
    assert [name for name, _ in response.events].count("ping") >= 2
    assert folded(response)["content"][-1]["text"] == "Violins are old."


# --- without a backend ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_only_searches_is_told_why_not(stream: bool) -> None:
    async with serving(DONE) as (client, upstream):
        content = [{"type": "text", "text": "Perform a web search for the query: violins"}]
        message = await ask(client, stream=stream, tools=[SEARCH], messages=[{"role": "user", "content": content}])
        headers = (await client.ask(stream=stream, tools=[SEARCH])).headers
    call, result, text = message["content"]
    assert call["input"] == {"query": "violins"}
    assert result["content"] == {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    assert "[web_search] backend" in text["text"]
    assert message["stop_reason"] == "end_turn"
    assert upstream.exchanges == []
    assert headers["latimer-route"] == "latimer"
    assert "no web_search is configured" in headers["latimer-report"]


async def test_beside_other_tools_it_is_left_out_with_a_report() -> None:
    async with serving(DONE) as (client, upstream):
        response = await client.ask(tools=[SEARCH, FETCH, BASH], tool_choice={"type": "tool", "name": "web_search"})
        assert response.text == "Violins are old."
    assert [tool["function"]["name"] for tool in upstream.exchanges[0].body["tools"]] == ["Bash"]
    assert "no web_search is configured" in response.headers["latimer-report"]
    assert "no web_fetch is configured" in response.headers["latimer-report"]


@pytest.mark.parametrize("kind", ["code_execution_20250825", "advisor_20260301", "mcp_toolset"])
async def test_other_server_tools_are_still_refused(kind: str) -> None:
    async with serving(DONE) as (client, _):
        response = await client.ask(tools=[{"type": kind, "name": "x"}, BASH])
    assert response.status == 400
    assert kind in response.error["message"]


async def test_lists_that_contradict_each_other() -> None:
    async with searching(DONE) as (client, _):
        response = await client.ask(
            tools=[{**SEARCH, "allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}]
        )
        assert "tools.0" in response.error["message"]
        response = await client.ask(tools=[{**SEARCH, "allowed_domains": ["https://a.example"]}])
        assert "https://a.example" in response.error["message"]


async def test_counting() -> None:
    async with searching(DONE) as (client, _):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [SEARCH, FETCH]}
        assert (await client.post("/v1/messages/count_tokens", body)).json["input_tokens"] > 1


# --- fetching -------------------------------------------------------------------------------------------------------


def fetching(port: int, more: str = "") -> str:
    return f"[web_fetch]\nenabled = true\nunsafe_allow_private_addresses = true\nports = [{port}]\n{more}"


async def test_a_fetch() -> None:
    async with site(a=says("The page about violins.")) as port:
        url = f"http://127.0.0.1:{port}/a"
        look = Say(calls=(Call("web_fetch", {"url": url}),))
        async with serving(look, DONE, rules=fetching(port)) as (client, upstream):
            content = f"read {url}, please"
            message = await ask(client, tools=[FETCH], messages=[{"role": "user", "content": content}])
            found = upstream.exchanges[1].body["messages"][-1]["content"]
    result = message["content"][1]
    assert result["type"] == "web_fetch_tool_result"
    assert result["content"]["url"] == url
    assert result["content"]["content"]["source"]["data"] == "The page about violins."
    assert result["content"]["retrieved_at"].endswith("Z")
    assert message["usage"]["server_tool_use"] == {"web_search_requests": 0, "web_fetch_requests": 1}
    assert "The page about violins." in found
    assert url in found


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:PORT/a?secret=1", "url_not_in_prior_context"),
        ("http://elsewhere.example:PORT/", "url_not_in_prior_context"),
        ("http://127.0.0.1:1/a", "url_not_allowed"),
        ("file:///etc/passwd", "url_not_allowed"),
        ("http://127.0.0.1:PORT/missing", "url_not_accessible"),
    ],
)
async def test_what_is_not_fetched(url: str, code: str) -> None:
    async with site(a=says("x")) as port:
        url = url.replace("PORT", str(port))
        look = Say(calls=(Call("web_fetch", {"url": url}),))
        async with serving(look, DONE, rules=fetching(port)) as (client, _):
            content = f"read http://127.0.0.1:{port}/a or http://127.0.0.1:{port}/missing"
            message = await ask(client, tools=[FETCH], messages=[{"role": "user", "content": content}])
    assert message["content"][1]["content"] == {"type": "web_fetch_tool_result_error", "error_code": code}


async def test_what_a_search_found_can_be_fetched() -> None:
    async with site(a=says("deep")) as port, engine({"results": []}) as server:
        url = f"http://127.0.0.1:{port}/a"
        server.answer = {"results": [{"url": url, "title": "T", "content": "s"}]}
        table = f'[web_search]\nbackend = "searxng"\nbase_url = "http://127.0.0.1:{server.port}"\n'
        steps = (LOOK, Say(calls=(Call("web_fetch", {"url": url}),)), DONE)
        async with serving(*steps, rules=table + fetching(port)) as (client, upstream):
            message = await ask(client, tools=[SEARCH, FETCH])
    assert kinds(message)[-3:] == ["server_tool_use", "web_fetch_tool_result", "text"]
    assert message["usage"]["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 1}
    assert "deep" in upstream.exchanges[2].body["messages"][-1]["content"]


# --- tool search ----------------------------------------------------------------------------------------------------


def deferred(count: int) -> list[Json]:
    schema = {"type": "object", "properties": {}}
    return [
        {"name": f"tool_{n}", "description": f"Does thing {n}", "input_schema": schema, "defer_loading": True}
        for n in range(count)
    ]


TOOL_SEARCH = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


async def test_few_tools_are_loaded_at_once() -> None:
    async with serving(DONE) as (client, upstream):
        response = await client.ask(tools=[TOOL_SEARCH, *deferred(3)])
    assert [tool["function"]["name"] for tool in upstream.exchanges[0].body["tools"]] == ["tool_0", "tool_1", "tool_2"]
    assert "all tools are loaded" in response.headers["latimer-report"]


@pytest.mark.parametrize("variant", ["bm25", "regex"])
async def test_many_tools_are_searched_for(variant: str) -> None:
    name = f"tool_search_tool_{variant}"
    look = Say(calls=(Call(name, {"query": "thing 7" if variant == "bm25" else "thing 7$"}),))
    steps = (look, Say(calls=(Call("tool_7", {}),)))
    async with serving(*steps, rules="[providers.p0.tools]\nmax_count = 5\n") as (client, upstream):
        tools = [{"type": f"{name}_20251119", "name": name}, BASH, *deferred(9)]
        message = await ask(client, tools=tools)
        names = [[tool["function"]["name"] for tool in each.body["tools"]] for each in upstream.exchanges]
    assert names[0] == [name, "Bash"]
    assert "tool_7" in names[1]
    assert names[1][:2] == names[0], "the prefix stays"
    assert kinds(message) == ["server_tool_use", "tool_search_tool_result", "tool_use"]
    result = message["content"][1]["content"]
    assert result["type"] == "tool_search_tool_search_result"
    assert {"type": "tool_reference", "tool_name": "tool_7"} in result["tool_references"]
    assert "Does thing 7" in upstream.exchanges[1].body["messages"][-1]["content"]
