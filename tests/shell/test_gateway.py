"""The hop: who is asked how often, what is learned, what is counted, and that requests do not mix."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.policy.config import parse
from latimer.shell import attempt
from latimer.shell.hop import OFFLOAD_BYTES, beside
from tests.scenarios import messages_replies
from tests.scenarios.replies import Call, Pause, Say, Wire, events, failure, html, overflow, rate_limited
from tests.shell.harness import (
    DONE,
    ENDING,
    PROMPT,
    USAGE,
    WHOLE_TEXT,
    Exchange,
    Gateway,
    config_for,
    event,
    eventually,
    gateway,
    hang,
    message,
    names,
    serving,
    upstream,
)

STREAMS = pytest.mark.parametrize("stream", [True, False])
SSE = {"content-type": "text/event-stream"}
BOOM = failure(500, "boom")


def report(headers: Any) -> dict[str, dict[str, str]]:
    return {entry["field"]: entry for entry in json.loads(headers.get("latimer-report", "[]"))}


# --- tries -----------------------------------------------------------------------------------------------------------


@STREAMS
@pytest.mark.parametrize("tries", [1, 2, 3, 5])
async def test_tries_are_exact(tries: int, stream: bool) -> None:
    async with serving(BOOM, retry=f"tries = {tries}") as (client, script):
        assert (await client.ask(stream=stream)).status == 500
        assert len(script.exchanges) == tries


@STREAMS
@pytest.mark.parametrize("failures", [1, 2])
async def test_then_it_succeeds(failures: int, stream: bool) -> None:
    async with serving(*[BOOM] * failures, Say("Hello")) as (client, script):
        answer = await client.ask(stream=stream)
        assert answer.status == 200
        assert len(script.exchanges) == failures + 1


async def test_a_bare_429_waits_the_base_time() -> None:
    limited = failure(429, "slow down")
    async with serving(limited, limited, Say("Hello"), retry="base_wait_seconds = 0.2") as (client, script):
        begun = time.monotonic()
        assert (await client.ask()).status == 200
        passed = time.monotonic() - begun
    assert 0.6 <= passed < 1.5  # 0.2, then 0.4, each with up to half of it on top
    assert len(script.exchanges) == 3


async def test_retry_after_is_honoured() -> None:
    async with serving(rate_limited("1"), Say("Hello"), retry="base_wait_seconds = 30") as (client, script):
        begun = time.monotonic()
        assert (await client.ask()).status == 200
        assert 0.95 <= time.monotonic() - begun < 2
        assert len(script.exchanges) == 2


@pytest.mark.parametrize(
    "wire", [failure(400, "bad"), failure(401, "wrong key"), failure(402, "pay"), overflow(10, 5), html(404)]
)
async def test_some_failures_are_never_tried_again(wire: Wire) -> None:
    async with serving(wire) as (client, script):
        assert (await client.ask()).status >= 400
        assert len(script.exchanges) == 1


async def test_nothing_is_tried_again_once_the_client_has_content() -> None:
    broken = events({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}, {"error": {"message": "x", "code": 500}})
    async with serving(broken, Say("never asked")) as (client, script):
        answer = await client.ask()
        assert names(answer.events)[-1] == "error"
        assert len(script.exchanges) == 1


async def test_a_tool_call_that_has_begun_is_content() -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "Bash", "arguments": '{"command":"rm'}}
    broken = events({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    tool = {"name": "Bash", "input_schema": {"type": "object"}}
    async with serving(broken) as (client, script):
        answer = await client.ask(tools=[tool])
        assert names(answer.events)[-1] == "error"
        assert "content_block_stop" not in names(answer.events)
        assert len(script.exchanges) == 1


# --- chains ----------------------------------------------------------------------------------------------------------


@STREAMS
@pytest.mark.parametrize(
    ("wire", "attempts"),
    [
        (BOOM, 2),
        (failure(503, "full"), 1),
        (failure(429, "slow"), 1),
        (failure(402, "no money"), 1),
        (rate_limited("9999"), 1),
    ],
)
async def test_the_next_route_answers(wire: Wire, attempts: int, stream: bool) -> None:
    async with (
        upstream(wire) as first,
        upstream(Say("From the second")) as second,
        gateway(config_for(first.url, second.url)) as client,
    ):
        answer = await client.ask(stream=stream)
        assert answer.status == 200
        assert answer.headers["latimer-route"] == "p1/m"
        assert b"From the" in answer.body
    assert len(first.exchanges) == attempts
    assert len(second.exchanges) == 1


async def test_a_dead_route_is_passed_over() -> None:
    async with (
        upstream(Say("From the second")) as second,
        gateway(config_for("http://127.0.0.1:9/v1", second.url)) as client,
    ):
        answer = await client.ask()
        assert answer.text == "From the second"
        assert names(answer.events)[0] == "message_start"


@pytest.mark.parametrize("wire", [failure(400, "bad request"), failure(401, "wrong key"), overflow(10, 5)])
async def test_what_is_wrong_everywhere_stops_the_chain(wire: Wire) -> None:
    async with (
        upstream(wire) as first,
        upstream(Say("never asked")) as second,
        gateway(config_for(first.url, second.url)) as client,
    ):
        answer = await client.ask()
        assert answer.status in (400, 401)
        assert answer.headers["latimer-route"] == "p0/m"
    assert not second.exchanges


async def test_a_chain_that_fails_tells_of_its_last_route() -> None:
    async with (
        upstream(BOOM) as first,
        upstream(failure(503, "full")) as second,
        gateway(config_for(first.url, second.url, retry="tries = 1")) as client,
    ):
        answer = await client.ask()
        assert answer.status == 529
        assert answer.error["message"].startswith("p1/m: ")


async def test_a_fallback_that_cannot_serve_the_request_hides_no_failure() -> None:
    async with upstream(Say("unused")) as second:
        config = config_for("http://127.0.0.1:9", second.url, retry="tries = 1")
        rules = {"endpoint": {"dialect": "messages"}, "native": {"server_tools": True, "tool_members": ["*"]}}
        providers = {**config.providers, "p0": replace(config.providers["p0"], rules=rules)}
        async with gateway(replace(config, providers=providers)) as client:
            answer = await client.ask(tools=[{"type": "web_search_20250305", "name": "web_search"}])
        assert answer.error["message"].startswith("p0/m: ")
        assert "connection" in answer.error["message"]
        assert not second.exchanges


@STREAMS
async def test_thinking_goes_to_nobody_but_its_signer(stream: bool) -> None:
    asked: list[tuple[str, Any]] = []

    def native(name: str) -> dict[str, Any]:
        def answer(raw: bytes) -> Wire:
            asked.append((name, json.loads(raw)))
            thinking = {"type": "thinking", "thinking": "hm", "signature": f"signed by {name}"}
            content = [thinking, {"type": "text", "text": "Hello"}]
            usage = {"input_tokens": 1, "output_tokens": 1}
            told = {"id": "msg_0123456789abcdef", "type": "message", "role": "assistant", "model": "m"}
            return Wire((json.dumps({**told, "content": content, "stop_reason": "end_turn", "usage": usage}).encode(),))

        return {"/v1/messages": answer}

    async with (
        upstream(others=native("p0")) as first,
        upstream(others=native("p1")) as second,
        gateway(config_for(first.url, second.url, rules='dialect = "messages"')) as client,
    ):
        before = (await client.ask(stream=False)).json["content"]
        user = {"role": "user", "content": "go on"}
        for model in ("p0/m", "p1/m"):
            history = [user, {"role": "assistant", "content": before}, user]
            await client.ask(model=model, messages=history, stream=stream)
    seen = {name: [block["type"] for block in body["messages"][1]["content"]] for name, body in asked[1:]}
    assert seen == {"p0": ["thinking", "text"], "p1": ["text"]}


# --- lessons ---------------------------------------------------------------------------------------------------------

NO_EFFORT = failure(400, "Unrecognized request argument supplied: reasoning_effort", param="reasoning_effort")
EFFORT = {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}}


def needs_no(*fields: str) -> Any:
    """An upstream that refuses the first of these fields it sees."""

    async def answer(exchange: Exchange) -> None:
        for name in fields:
            if name in exchange.body:
                await exchange.play(failure(400, f"Unsupported parameter: '{name}'", param=name))
                return
        await exchange.play(Say("Hello", usage=USAGE).streamed("m", include_usage=True))

    return answer


@STREAMS
async def test_a_lesson_is_learned_reported_and_kept(stream: bool) -> None:
    async with serving(needs_no("reasoning_effort"), retry="tries = 1") as (client, script):
        first = await client.ask(stream=stream, **EFFORT)
        assert first.status == 200
        assert ["reasoning_effort" in exchange.body for exchange in script.exchanges] == [True, False]
        assert report(first.headers)["reasoning_effort"]["action"] == "approximated"
        second = await client.ask(stream=stream, **EFFORT)
        assert second.status == 200
        assert len(script.exchanges) == 3
        assert "output_config.effort" in str(report(second.headers))


async def test_one_extra_attempt_and_no_more() -> None:
    """The second lesson has to wait for the next request."""
    fields = ("reasoning_effort", "stream_options")
    async with serving(needs_no(*fields)) as (client, script):
        assert (await client.ask(**EFFORT)).status == 400
        assert len(script.exchanges) == 2
        assert (await client.ask(**EFFORT)).status == 200
        assert len(script.exchanges) == 4
        assert (await client.ask(**EFFORT)).status == 200
        assert len(script.exchanges) == 5


async def test_a_refusal_that_goes_on_is_told() -> None:
    async with serving(NO_EFFORT) as (client, script):
        assert (await client.ask(**EFFORT)).status == 400
        assert len(script.exchanges) == 2
        assert (await client.ask(**EFFORT)).status == 400
        assert len(script.exchanges) == 3  # what is not sent cannot be left out


@pytest.mark.parametrize(
    "wire",
    [
        failure(400, "messages.3.content: reasoning_effort is a funny word", param="messages"),
        failure(400, "Invalid content"),
        overflow(10, 5),
    ],
)
async def test_errors_of_content_teach_nothing(wire: Wire) -> None:
    async with serving(wire) as (client, script):
        assert (await client.ask(**EFFORT)).status == 400
        assert len(script.exchanges) == 1


async def test_lessons_learned_at_once_are_both_kept() -> None:
    """Two requests are refused for different fields while both are under way."""
    waiting = 0
    both = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        name = "reasoning_effort" if "reasoning_effort" in exchange.body else "stream_options"
        if name in exchange.body and exchange.number < 2:
            await exchange.play(failure(400, f"Unsupported parameter: '{name}'", param=name))
            return
        await exchange.play(Say("Hello", usage=USAGE).streamed("m", include_usage=True))

    async with serving(answer) as (client, script):
        await asyncio.gather(client.ask(**EFFORT), client.ask())
        await client.ask(**EFFORT)
        last = script.exchanges[-1].body
        assert "reasoning_effort" not in last
        assert "stream_options" not in last


async def test_many_requests_that_meet_the_same_refusal() -> None:
    """Each gets its one extra attempt, though the first of them has learned the lesson for all."""
    async with serving(needs_no("reasoning_effort"), retry="tries = 1") as (client, _):
        answers = await asyncio.gather(*(client.ask(**EFFORT) for _ in range(8)))
        assert [answer.status for answer in answers] == [200] * 8


async def test_the_users_word_counts_more_than_a_lesson() -> None:
    rules = 'reasoning = { control = "effort" }'
    async with serving(NO_EFFORT, rules=rules) as (client, script):
        assert (await client.ask(**EFFORT)).status == 400
        assert len(script.exchanges) == 1


# --- ends ------------------------------------------------------------------------------------------------------------


@STREAMS
async def test_no_tokens_at_all(stream: bool) -> None:
    async with serving() as (client, script):
        answer = await client.ask(stream=stream, max_tokens=0)
        assert answer.status == 200
        if stream:
            assert names(answer.events) == ["message_start", *ENDING]
            assert answer.events[1][1]["delta"]["stop_reason"] == "max_tokens"
        else:
            assert answer.json["content"] == []
            assert answer.json["stop_reason"] == "max_tokens"
        assert not script.exchanges


@STREAMS
async def test_a_stop_sequence_closes_the_upstream_at_once(stream: bool) -> None:
    async def talkative(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("one two ST", "OP three")
        await exchange.gone.wait()

    async with serving(talkative) as (client, script):
        async with asyncio.timeout(1):
            answer = await client.ask(stream=stream, stop_sequences=["STOP"])
            await script.exchanges[0].gone.wait()
        if stream:
            assert answer.text == "one two "
            ending = answer.events[-2][1]["delta"]
        else:
            assert answer.json["content"] == [{"type": "text", "text": "one two "}]
            ending = answer.json
        assert ending["stop_reason"] == "stop_sequence"
        assert ending["stop_sequence"] == "STOP"


@pytest.mark.parametrize("comments", [True, False])
async def test_usage_that_never_comes(comments: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers keep the connection open after the finish reason, some with comments."""
    monkeypatch.setattr(attempt, "SETTLE_SECONDS", 0.15)

    async def open_end(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await exchange.chunk(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        while comments and not exchange.gone.is_set():
            await exchange.chunk(b": still here\n\n")
            await asyncio.sleep(0.01)
        await exchange.gone.wait()

    async with serving(open_end) as (client, script):
        begun = time.monotonic()
        answer = await client.ask()
        assert 0.1 < time.monotonic() - begun < 1
        assert names(answer.events) == [*WHOLE_TEXT, *ENDING]
        assert answer.events[-2][1]["usage"]["output_tokens"] > 0
        await asyncio.wait_for(script.exchanges[0].gone.wait(), 1)


@STREAMS
async def test_an_upstream_that_falls_silent(stream: bool) -> None:
    async with serving(hang, retry="tries = 2", idle_timeout_seconds=0.1) as (client, script):
        answer = await client.ask(stream=stream)
        assert answer.status == 504
        assert answer.error["type"] == "timeout_error"
        assert "nothing came for 0.1 s" in answer.error["message"]
        assert len(script.exchanges) == 2
        await eventually(lambda: all(exchange.gone.is_set() for exchange in script.exchanges))


async def test_an_upstream_that_falls_silent_in_the_middle() -> None:
    async def fades(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(10):  # slow, but never silent for long
            await exchange.say("x")
            await asyncio.sleep(0.03)
        await exchange.gone.wait()

    async with serving(fades, idle_timeout_seconds=0.15) as (client, _):
        answer = await client.ask()
        assert answer.text == "x" * 10
        assert answer.events[-1][1]["error"]["type"] == "timeout_error"


async def test_comments_do_not_keep_an_answer_open_that_goes_no_further() -> None:
    async def beats(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("x")
        while True:
            await exchange.chunk(b": still there\n\n")
            await asyncio.sleep(0.01)

    async with serving(beats, idle_timeout_seconds=0.15) as (client, _):
        answer = await client.ask()
        assert answer.text == "x"
        assert answer.events[-1][1]["error"]["type"] == "timeout_error"


@pytest.mark.parametrize("passthrough", ["true", "false"])
async def test_pings_do_not_either(passthrough: str) -> None:
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    said = [
        step
        for step in messages_replies.streamed(Say("one two", usage=USAGE), "m", 1, "").steps
        if isinstance(step, bytes)
    ]
    begun = next(number for number, step in enumerate(said) if b"content_block_delta" in step)
    beats = [step for _ in range(300) for step in (ping, Pause(0.01))]
    wire = Wire((*said[: begun + 1], *beats), headers={"content-type": "text/event-stream"})
    rules = f'dialect = "messages"\nnative = {{ passthrough = {passthrough} }}'
    async with serving(others={"/v1/messages": wire}, rules=rules, idle_timeout_seconds=0.15) as (client, _):
        answer = await client.ask()
        assert "one" in answer.text
        assert answer.events[-1][1]["error"]["type"] == "timeout_error"


# --- apart -----------------------------------------------------------------------------------------------------------


async def test_two_requests_do_not_mix() -> None:
    async def echo(exchange: Exchange) -> None:
        word = exchange.body["messages"][-1]["content"]
        await exchange.head()
        for _ in range(30):
            await exchange.say(word)
            await asyncio.sleep(0.001)
        await exchange.finish()

    async with serving(echo) as (client, _):
        words = [f"<{number}>" for number in range(12)]
        asked = [
            client.ask(messages=[{"role": "user", "content": word}], stream=number % 3 > 0)
            for number, word in enumerate(words)
        ]
        answers = await asyncio.gather(*asked)
    ids = set()
    for number, (word, answer) in enumerate(zip(words, answers, strict=True)):
        if number % 3:
            assert answer.text == word * 30
            ids.add(answer.events[0][1]["message"]["id"])
        else:
            assert answer.json["content"][0]["text"] == word * 30
            ids.add(answer.json["id"])
    assert len(ids) == len(words)


async def test_message_and_tool_ids_are_unique() -> None:
    """Though the upstream gives every answer and every call the same id."""
    say = Say(calls=(Call("Bash", {"command": "ls"}, id="call_1"), Call("Bash", {"command": "pwd"}, id="call_1")))
    tool = {"name": "Bash", "input_schema": {"type": "object"}}
    async with serving(say) as (client, _):
        answers = [await client.ask(stream=False, tools=[tool]) for _ in range(5)]
        calls = answers[0].json["content"]
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in calls]
        history = [
            {"role": "user", "content": PROMPT},
            {"role": "assistant", "content": calls},
            {"role": "user", "content": results},
        ]
        following = await client.ask(stream=False, tools=[tool], messages=history)
    assert len({answer.json["id"] for answer in answers}) == 5
    assert all(answer.json["id"].startswith("msg_") for answer in answers)
    ids = [block["id"] for answer in (answers[0], following) for block in answer.json["content"]]
    assert len(set(ids)) == 4


async def test_an_unknown_model_is_a_400_that_names_the_known() -> None:
    text = """
        [providers.p0]
        base_url = "http://127.0.0.1:9/v1"
        [routes]
        opus = "p0/big"
        [server]
        port = 0
        """
    async with gateway(parse(text, "here.toml")) as client:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            answer = await client.ask(path=path, model="claude-haiku-5")
            assert answer.status == 400
            assert "here.toml" in answer.error["message"]


async def test_large_requests_do_not_hold_up_a_stream() -> None:
    """Translated beside the loop, several at a time."""

    async def steady(exchange: Exchange) -> None:
        if len(exchange.raw) > 100_000:
            await exchange.play(Say("ok", usage=USAGE).streamed("m", include_usage=True))
            return
        await exchange.head()
        for _ in range(50):
            await exchange.say("x")
            await asyncio.sleep(0.005)
        await exchange.finish()

    large = [{"role": "user", "content": [{"type": "text", "text": "word " * 50} for _ in range(2000)]}]
    async with serving(steady) as (client, _):
        running = asyncio.create_task(client.ask())
        await asyncio.gather(*(client.ask(messages=large) for _ in range(4)))
        assert (await running).text == "x" * 50


async def test_work_goes_to_a_thread_when_it_is_large() -> None:
    main = threading.get_ident()
    assert await beside(b"small", threading.get_ident) == main
    assert await beside(b" " * OFFLOAD_BYTES, threading.get_ident) != main
    assert await beside(b"small", threading.get_ident, files=1) != main


# --- counting --------------------------------------------------------------------------------------------------------

COUNT = "/v1/messages/count_tokens"
TOOL = {"name": "Read", "description": "Reads a file. " * 40, "input_schema": {"type": "object", "properties": {}}}


def counted(text: str, **fields: Any) -> dict[str, Any]:
    """A body of `count_tokens`, which has no max_tokens."""
    return {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": text}], **fields}


async def count(client: Gateway, body: dict[str, Any], path: str = COUNT) -> int:
    answer = await client.post(path, body)
    assert answer.status == 200, answer.body
    assert answer.json.keys() - {"context_management"} == {"input_tokens"}
    tokens: int = answer.json["input_tokens"]
    return tokens


async def test_counts_are_estimates_at_first() -> None:
    async with serving() as (client, script):
        small = await count(client, counted("foo"))
        assert small >= 1
        assert await count(client, counted("foo"), f"{COUNT}?beta=true") == small
        assert await count(client, counted("foo"), f"/v1{COUNT}/") == small
        with_tools = await count(client, counted("foo", tools=[TOOL]))
        assert with_tools > small + 50
        assert await count(client, counted("foo", tools=[TOOL], system="You are. " * 100)) > with_tools + 100
        assert await count(client, counted("foo", max_tokens=5, stream=True)) >= small
        assert not script.exchanges


async def test_counting_takes_no_less_than_messages_do() -> None:
    """What only counts must not be refused for what an answer would need."""
    fields = {
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tool_choice": {"type": "auto"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": []},
        "cache_control": {"type": "ephemeral"},
        "speed": "fast",
        "new_field": 1,
    }
    async with gateway(config_for("http://127.0.0.1:9/v1")) as client:
        assert await count(client, counted("foo", tools=[TOOL], **fields)) > 1
        web_search = {"type": "web_search_20250305", "name": "web_search"}
        assert await count(client, counted("foo", tools=[web_search])) > 1


@pytest.mark.parametrize("ratio", [0.18, 0.25, 0.45])
async def test_counts_learn_the_models_ratio(ratio: float) -> None:
    """Within 10 % after a few requests, whatever the tokenizer."""

    async def counting(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("ok")
        usage = {"prompt_tokens": round(len(exchange.raw) * ratio), "completion_tokens": 1}
        await exchange.chunk(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}))
        await exchange.chunk(DONE)
        await exchange.end()

    async with serving(counting) as (client, script):
        for turn in range(4):
            text = "The quick brown fox jumps over the lazy dog. " * (100 + 40 * turn)
            answer = await client.ask(messages=[{"role": "user", "content": text}], tools=[TOOL])
            assert answer.status == 200
        last = script.exchanges[-1]
        truth = round(len(last.raw) * ratio)
        assert abs(await count(client, counted(text, tools=[TOOL])) - truth) <= truth * 0.1


async def test_answers_without_usage_teach_no_ratio() -> None:
    """Their usage is the estimate itself; taken for the truth, it would slow down the learning of it."""
    silent = Wire(Say("ok").streamed("m", include_usage=False).steps, headers=SSE)
    real = Say("ok", usage={"prompt_tokens": 9000, "completion_tokens": 1})
    text = "The quick brown fox jumps over the lazy dog. " * 400
    async with serving(silent, silent, real) as (client, _):
        for _ in range(3):
            await client.ask(messages=[{"role": "user", "content": text}])
        assert abs(await count(client, counted(text)) - 9000) < 100


async def test_many_counts_are_quick_and_hold_nothing_up() -> None:
    async def steady(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(100):
            await exchange.say("x")
            await asyncio.sleep(0.005)
        await exchange.finish()

    body = counted("word " * 12_000, tools=[TOOL] * 20)  # as large as Claude Code's own
    async with serving(steady) as (client, _), client.opened() as answer:
        await answer.content.readany()
        gaps = []
        loop = asyncio.get_running_loop()

        async def listen() -> None:
            last = loop.time()
            while await answer.content.readany():
                gaps.append(loop.time() - last)
                last = loop.time()

        listening = asyncio.create_task(listen())
        begun = loop.time()
        answers = await asyncio.gather(*(client.post(COUNT, body) for _ in range(50)))
        passed = loop.time() - begun
        await listening
    assert [one.status for one in answers] == [200] * 50
    assert passed < 1.5  # two machines' work in one process: client, upstream and gateway
    assert max(gaps) < 0.5


# --- private ---------------------------------------------------------------------------------------------------------


async def test_debug_logs_hold_no_private_word(caplog: pytest.LogCaptureFixture) -> None:
    """`conftest.discreet` checks every test's log; this one makes sure that there is a log to check."""
    echoing = failure(400, f"cannot parse: {PROMPT}")
    async with serving(echoing, BOOM, BOOM, Say("Hello")) as (client, _):
        assert (await client.ask()).status == 400
        assert (await client.ask()).status == 200
        await client.post("/v1/messages", {**message(), "messages": PROMPT})
        await client.post("/v1/messages", b"{" + PROMPT.encode())
        await client.get(f"/{PROMPT.replace(' ', '%20')}")
    assert any(record.name.startswith("latimer") for record in caplog.records)
