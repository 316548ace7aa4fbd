"""Compaction on the whole way: the summary is asked for, told, gone on from, and sent back."""

import json
from typing import Any

import anthropic
import pytest

from latimer.dialects.messages.compaction import INSTRUCTIONS, told_summary
from tests.dialects.chat.asking import assistant, call, result, text, tool, user
from tests.scenarios.replies import Call, Say, Wire
from tests.shell.harness import Exchange, Json, Response, serving

BETA = "compact-2026-01-12"
SUMMARY = Say("The user wants a boat.")
ANSWER = Say("Here is the sail.")
TOLD = {"role": "user", "content": told_summary("The user wants a boat.")}
HISTORY = [user("Build me a boat. " * 100), assistant("The hull is done. " * 100), user("Now the sail.")]
BROKEN = Wire((b'{"error":{"message":"no such thing"}}',), status=400)
STREAMS = pytest.mark.parametrize("stream", [True, False])


def compact(value: int = 500, **fields: Any) -> Json:
    trigger = {"type": "input_tokens", "value": value}
    return {"edits": [{"type": "compact_20260112", "trigger": trigger, **fields}]}


def read(response: Response, *, stream: bool) -> Json:
    """The message as the official SDK reads it."""
    assert response.status == 200, response.body
    if not stream:
        return response.json  # type: ignore[no-any-return]  # JSON
    blocks: list[Json] = []
    ending: Json = {}
    for name, data in response.events:
        if name == "content_block_start":
            assert data["index"] == len(blocks)
            blocks.append(data["content_block"])
        elif name == "content_block_delta":
            key = {"compaction_delta": "content", "text_delta": "text"}.get(data["delta"]["type"])
            if key:
                blocks[-1][key] = (blocks[-1][key] or "") + data["delta"][key]
        elif name == "message_delta":
            ending = {**data["delta"], **{key: data[key] for key in data if key not in ("type", "delta")}}
    return {"content": blocks, **ending}


def report(response: Response) -> list[tuple[str, str]]:
    return [(loss["field"], loss["action"]) for loss in json.loads(response.headers.get("latimer-report", "[]"))]


def messages(exchange: Exchange) -> list[Json]:
    found: list[Json] = exchange.body["messages"]
    return found


@STREAMS
async def test_the_answer_begins_with_the_summary_and_goes_on(stream: bool) -> None:
    async with serving(SUMMARY, ANSWER) as (client, script):
        got = await client.ask(messages=HISTORY, context_management=compact(), tools=[tool()], stream=stream)
    asked, main = script.exchanges
    assert messages(asked)[:3] == HISTORY
    assert messages(asked)[3:] == [{"role": "user", "content": INSTRUCTIONS}]
    assert "tools" not in asked.body
    assert messages(main) == [TOLD, HISTORY[-1]]
    assert main.body["tools"]
    message = read(got, stream=stream)
    assert message["content"] == [
        {"type": "compaction", "content": "The user wants a boat."},
        text("Here is the sail."),
    ]
    assert message["stop_reason"] == "end_turn"
    assert message["context_management"] == {"applied_edits": []}, "the SDK has no type for this one"
    assert [(each["type"], each["input_tokens"]) for each in message["usage"]["iterations"]] == [
        ("compaction", 12),
        ("message", 12),
    ]
    assert ("context_management.edits.*", "emulated") in report(got)
    if stream:
        first = [data for name, data in got.events if name.startswith("content_block")][:3]
        assert first == [
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "compaction", "content": None},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "compaction_delta", "content": "The user wants a boat."},
            },
            {"type": "content_block_stop", "index": 0},
        ]


@STREAMS
async def test_a_pause_ends_the_answer_after_the_summary(stream: bool) -> None:
    asking = compact(pause_after_compaction=True, instructions="Only the boat.")
    async with serving(SUMMARY) as (client, script):
        got = await client.ask(messages=HISTORY, context_management=asking, stream=stream)
    (asked,) = script.exchanges
    assert messages(asked)[-1] == {"role": "user", "content": "Only the boat."}
    message = read(got, stream=stream)
    assert message["content"] == [{"type": "compaction", "content": "The user wants a boat."}]
    assert message["stop_reason"] == "compaction"
    assert [each["type"] for each in message["usage"]["iterations"]] == ["compaction"]


@STREAMS
@pytest.mark.parametrize(
    "failing", [BROKEN, Say("  "), Say("The user", finish="length"), Say(calls=[Call("Bash", {})])], ids=str
)
@pytest.mark.parametrize("pause", [True, False])
async def test_without_a_summary_the_conversation_goes_on_whole(stream: bool, failing: Any, pause: bool) -> None:
    asking = compact(pause_after_compaction=pause)
    async with serving(failing, ANSWER) as (client, script):
        got = await client.ask(messages=HISTORY, context_management=asking, stream=stream)
    assert len(script.exchanges) == 2
    assert messages(script.exchanges[1]) == HISTORY
    assert read(got, stream=stream)["content"] == [text("Here is the sail.")]
    assert [loss for loss in report(got) if "edits" in loss[0]] == [("context_management.edits.*", "dropped")]


async def test_nothing_is_asked_below_the_trigger_or_without_history() -> None:
    async with serving(ANSWER) as (client, script):
        await client.ask(messages=HISTORY, context_management=compact(50_000))
        await client.ask(messages=HISTORY, context_management={"edits": [{"type": "compact_20260112"}]})
        alone = await client.ask(context_management=compact(0))
        await client.ask(messages=HISTORY)
    assert [len(messages(exchange)) for exchange in script.exchanges] == [3, 3, 1, 3]
    assert ("context_management.edits.*", "dropped") in report(alone)


async def test_the_calls_of_the_last_turn_stay_with_their_results() -> None:
    turn = [assistant(text("I look."), call("toolu_1"), call("toolu_2")), user(result("toolu_1"), result("toolu_2"))]
    async with serving(SUMMARY, ANSWER) as (client, script):
        await client.ask(messages=[*HISTORY, *turn], tools=[tool()], context_management=compact())
    assert messages(script.exchanges[1])[0] == TOLD
    assert [message["role"] for message in messages(script.exchanges[1])] == ["user", "assistant", "tool", "tool"]


async def test_later_turns_begin_with_the_same_bytes() -> None:
    said = [*HISTORY]
    async with serving(SUMMARY, ANSWER) as (client, script):
        for words in ("And a rudder.", "And a flag."):
            got = await client.ask(messages=said, context_management=compact(), stream=False)
            said = [*said, {"role": "assistant", "content": got.json["content"]}, user(words)]
        count = await client.post("/v1/messages/count_tokens", {"model": "claude", "messages": said})
        whole = await client.post("/v1/messages/count_tokens", {"model": "claude", "messages": HISTORY})
    assert len(script.exchanges) == 3, "after the summary the prompt is below the trigger"
    sail = {"role": "assistant", "content": "Here is the sail."}
    assert messages(script.exchanges[2]) == [TOLD, sail, user("And a rudder.")]
    assert count.json["input_tokens"] < whole.json["input_tokens"]


async def test_an_upstream_that_fails_after_the_summary_is_an_honest_status() -> None:
    async with serving(SUMMARY, BROKEN) as (client, _):
        got = await client.ask(messages=HISTORY, context_management=compact())
    assert got.status == 400
    assert got.error["type"] == "invalid_request_error"


async def test_the_official_sdk_reads_and_sends_it_back() -> None:
    async with serving(SUMMARY, ANSWER) as (client, script):
        sdk = anthropic.AsyncAnthropic(base_url=client.url, api_key="x", max_retries=0)
        asking: Any = {"model": "claude", "max_tokens": 100, "betas": [BETA], "context_management": compact(0)}
        whole = await sdk.beta.messages.create(messages=HISTORY, **asking)  # type: ignore[call-overload]  # plain JSON
        script.exchanges.clear()
        async with sdk.beta.messages.stream(messages=HISTORY, **asking) as stream:
            streamed = await stream.get_final_message()
        paused = compact(0, pause_after_compaction=True)
        script.exchanges.clear()
        async with sdk.beta.messages.stream(messages=HISTORY, **{**asking, "context_management": paused}) as stream:
            stopped = await stream.get_final_message()
        said = [*HISTORY, {"role": "assistant", "content": stopped.content}]
        await sdk.beta.messages.create(messages=said, **asking)
        await sdk.close()
    for message in (whole, streamed):
        assert [block.type for block in message.content] == ["compaction", "text"]
        assert message.content[0].to_dict()["content"] == "The user wants a boat."
        assert [each.type for each in message.usage.iterations or ()] == ["compaction", "message"]
    assert stopped.stop_reason == "compaction"
    assert [block.type for block in stopped.content] == ["compaction"]
    assert messages(script.exchanges[-1]) == [TOLD]


@STREAMS
async def test_the_rounds_of_latimers_own_tools_come_after_the_summary(stream: bool) -> None:
    rules = "[web_fetch]\nenabled = true\n"
    fetch = Say("Let me see.", calls=[Call("web_fetch", {"url": "http://127.0.0.1/"})])
    tools = [{"type": "web_fetch_20250910", "name": "web_fetch"}]
    async with serving(SUMMARY, fetch, ANSWER, rules=rules) as (client, script):
        got = await client.ask(messages=HISTORY, tools=tools, context_management=compact(), stream=stream)
    assert [message["role"] for message in messages(script.exchanges[2])] == ["user", "user", "assistant", "tool"]
    assert messages(script.exchanges[2])[0] == TOLD
    kinds = [block["type"] for block in read(got, stream=stream)["content"]]
    assert kinds == ["compaction", "text", "server_tool_use", "web_fetch_tool_result", "text"]
