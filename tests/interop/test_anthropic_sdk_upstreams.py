"""The official `anthropic` SDK through Latimer, in front of upstreams with habits of their own."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import pytest

from tests.interop.sdk import CLOCK, MODEL, WEATHER, Sdk, assistant, result, user
from tests.scenarios.replies import Call, Say, Wire, events, failure
from tests.upstream import Exchange, Reply

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


def _crlf(wire: Wire) -> Wire:
    return wire.mapped(lambda steps: [s.replace(b"\n", b"\r\n") if isinstance(s, bytes) else s for s in steps])


def _narrow(wire: Wire) -> Wire:
    return wire.mapped(lambda steps: [s.replace(b"data: ", b"data:") if isinstance(s, bytes) else s for s in steps])


def _commented(wire: Wire) -> Wire:
    return wire.mapped(lambda steps: [piece for s in steps for piece in (b": PROCESSING\n\n", s)])


def _named(wire: Wire) -> Wire:
    return wire.mapped(lambda steps: [piece for s in steps for piece in (b"event: message\nid: 7\n", s)])


def _one_write(wire: Wire) -> Wire:
    return wire.together()


def _without_done(wire: Wire) -> Wire:
    return wire.mapped(lambda steps: [step for step in steps if step != b"data: [DONE]\n\n"])


@pytest.mark.parametrize("habit", [_crlf, _narrow, _commented, _named, _one_write, _without_done])
@pytest.mark.parametrize("size", [0, 5])
def test_dialects_of_event_streams(sdk: Sdk, habit: Any, size: int) -> None:
    say = Say("Look, ein Wörtchen 字。", calls=(Call("weather", {"city": "奥斯陆"}),), reasoning="Hm.")

    def script(exchange: Exchange) -> Reply:
        wire: Wire = habit(exchange.render(say))
        return wire.sliced(size) if size else wire

    sdk.upstream.play(script)
    blocks = [block.model_dump() for block in sdk.ask(streaming=True, tools=[WEATHER]).content]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    assert blocks[1]["text"] == say.text
    assert blocks[2]["input"] == {"city": "奥斯陆"}


@both_ways
def test_no_usage_at_all(sdk: Sdk, streaming: bool) -> None:
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Short"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    sdk.upstream.play([events(*chunks, "[DONE]")])
    message = sdk.ask(streaming)
    assert message.content[0].model_dump()["text"] == "Short"
    assert message.usage.input_tokens > 0


@both_ways
def test_nothing_said_is_an_empty_answer(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say("")])
    message = sdk.ask(streaming)
    assert (message.content, message.stop_reason) == ([], "end_turn")


def test_ids_that_repeat_from_turn_to_turn(sdk: Sdk) -> None:
    sdk.upstream.play(
        [Say(calls=(Call("clock", id="call_0"),)), Say(calls=(Call("clock", id="call_0"),)), Say("Noon.")]
    )
    history: list[Any] = [user("go")]
    ids = []
    for _ in range(2):
        message = sdk.ask(tools=[CLOCK], messages=history)
        ids.append(message.content[0].model_dump()["id"])
        history += [assistant(message.content), user([result(ids[-1], "noon")])]
    assert len(set(ids)) == 2, "Claude Code drops the second call of one id"
    sdk.ask(tools=[CLOCK], messages=history)
    calls = [message["tool_calls"][0]["id"] for message in sdk.upstream.last.messages if "tool_calls" in message]
    assert len(set(calls)) == 2


@both_ways
def test_a_tool_nobody_offered_is_passed_on(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say(calls=(Call("teleport", {"to": "Oslo"}),))])
    assert sdk.ask(streaming, tools=[CLOCK]).content[0].model_dump()["name"] == "teleport"


@both_ways
def test_a_stop_sequence_ends_the_upstreams_work(sdk: Sdk, streaming: bool) -> None:
    say = Say("yes STOP " + "and on it goes " * 60, piece=5)
    sdk.upstream.play(lambda exchange: exchange.render(say).paced(0.05))
    message = sdk.ask(streaming, stop_sequences=["STOP"])
    assert message.content[0].model_dump()["text"] == "yes "
    assert sdk.upstream.last.gone.wait(2), "tokens nobody will see were still being paid for"


@both_ways
def test_a_client_that_leaves_before_the_first_byte(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play(lambda exchange: exchange.render(Say("Too late.")).paused(8))
    client = sdk.client.with_options(timeout=0.7)
    with pytest.raises((anthropic.APITimeoutError, anthropic.APIConnectionError)):
        Sdk(client, sdk.gateway, sdk.upstream).ask(streaming)
    assert sdk.upstream.last.gone.wait(3), "the upstream request outlived its client"


@both_ways
def test_an_output_limit_is_learned(sdk: Sdk, streaming: bool) -> None:
    def script(exchange: Exchange) -> Reply:
        asked = exchange.body.get("max_tokens") or exchange.body.get("max_completion_tokens") or 0
        if asked > 4096:
            message = f"max_tokens is too large: {asked}. This model supports at most 4096 completion tokens."
            return failure(400, message, param="max_tokens", code="invalid_value")
        return Say(f"I may write {asked} tokens.")

    sdk.upstream.play(script)
    for _ in range(2):
        message = sdk.ask(streaming, max_tokens=20_000)
        assert message.content[0].model_dump()["text"] == "I may write 4096 tokens."
    assert len(sdk.upstream.exchanges) <= 3, "the limit must be remembered"


def test_an_unknown_parameter_is_learned(sdk: Sdk) -> None:
    def script(exchange: Exchange) -> Reply:
        if "top_p" in exchange.body or "reasoning_effort" in exchange.body:
            name = "top_p" if "top_p" in exchange.body else "reasoning_effort"
            return failure(400, f"Unrecognized request argument supplied: {name}", param=name, code="unknown_parameter")
        return Say("fine")

    sdk.upstream.play(script)
    for _ in range(2):
        assert sdk.ask(output_config={"effort": "low"}).content[0].model_dump()["text"] == "fine"
    assert len(sdk.upstream.exchanges) <= 3, "the parameter must be remembered"


def test_many_at_once_do_not_mix(sdk: Sdk) -> None:
    sdk.upstream.play(lambda exchange: exchange.render(Say(exchange.said("user")[-1] * 20, piece=3)).paced(0.002))
    words = [f"word{number} " for number in range(12)]

    def ask(word: str) -> str:
        return str(sdk.ask(streaming=True, content=word, model=MODEL).content[0].model_dump()["text"])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, words)) == [word * 20 for word in words]


@both_ways
def test_a_refusal_of_the_model(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say(refusal="I will not help with that.")])
    message = sdk.ask(streaming)
    assert message.stop_reason == "refusal"
    assert message.content[0].model_dump()["text"] == "I will not help with that."
