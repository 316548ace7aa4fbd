"""Edits of the context and the keys of caches, on the whole way from a client to its upstream."""

from typing import Any

import pytest

from tests.shell.harness import Exchange, serving

STEPS: list[Any] = [{"role": "user", "content": "go"}]
for step in range(5):
    STEPS += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": f"toolu_{step}", "name": "Bash", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": f"toolu_{step}", "content": f"out {step} " * 500}],
        },
    ]
CLEAR = {"type": "clear_tool_uses_20250919", "trigger": {"type": "input_tokens", "value": 2000}}
EDITS = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}, CLEAR]}
KEYS = """
request = { session_key = "prompt_cache_key" }
cache = { session_headers = ["x-session-affinity"] }
"""


async def answer(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello.")
    await exchange.finish()


@pytest.mark.parametrize("stream", [True, False])
async def test_edits_are_done_and_told(stream: bool) -> None:
    async with serving(answer) as (client, script):
        got = await client.ask(messages=STEPS, context_management=EDITS, stream=stream)
        plain = await client.ask(messages=STEPS, stream=stream)
    results = [message["content"] for message in script.exchanges[0].body["messages"] if message["role"] == "tool"]
    assert [result[:5] for result in results] == ["[Old ", "[Old ", "out 2", "out 3", "out 4"]
    ending = dict(got.events)["message_delta"] if stream else got.json
    (edit,) = ending["context_management"]["applied_edits"]
    assert edit["type"] == "clear_tool_uses_20250919"
    assert edit["cleared_tool_uses"] == 2
    assert 1500 < edit["cleared_input_tokens"] < 2200
    assert "context_management" not in (dict(plain.events)["message_delta"] if stream else plain.json)
    assert "context_management" in got.headers["latimer-report"]


async def test_a_count_says_what_the_edits_leave() -> None:
    async with serving() as (client, _):
        body = {"model": "claude", "messages": STEPS}
        (whole, edited, untouched) = [
            (await client.post("/v1/messages/count_tokens", {**body, **fields})).json
            for fields in ({}, {"context_management": EDITS}, {"context_management": {"edits": []}})
        ]
        wrong = await client.post("/v1/messages/count_tokens", {**body, "context_management": {"edits": 1}})
    original = edited["context_management"]["original_input_tokens"]
    assert whole["input_tokens"] <= original < whole["input_tokens"] + 100, "the field itself weighs a little"
    assert 1500 < original - edited["input_tokens"] < 2200
    assert untouched["context_management"]["original_input_tokens"] == untouched["input_tokens"]
    assert wrong.status == 400


async def test_a_session_is_known_by_its_hash() -> None:
    session = {"x-claude-code-session-id": "0f5a-session"}
    async with serving(answer, rules=KEYS) as (client, script):
        await client.ask(headers=session)
        await client.ask(headers=session, messages=STEPS)
        await client.ask(headers=session | {"x-claude-code-agent-id": "a-agent"})
        await client.ask()
    keys = [exchange.body.get("prompt_cache_key") for exchange in script.exchanges]
    headers = [
        {name.lower(): value for name, value in exchange.headers.items()}.get("x-session-affinity")
        for exchange in script.exchanges
    ]
    assert keys == headers
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] is None
    assert not any("0f5a-session" in str(e.headers) or b"0f5a-session" in e.raw for e in script.exchanges)
