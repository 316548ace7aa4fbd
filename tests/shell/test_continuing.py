"""Answers that break off in the middle, and are gone on with by users who asked for it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.auto_mode.review import Review
from latimer.continuation.resume import ENDED
from latimer.continuation.seam import CONTINUED
from latimer.dialects.messages.encoder import Heading, StreamEncoder
from latimer.dialects.messages.headers import Headers
from latimer.dialects.messages.request import decode_request
from latimer.errors import Failure
from latimer.events import BlockStart, Delta, Text
from latimer.policy.counting import Weight
from latimer.policy.retry import RetryRules
from latimer.shell.client_stream import Client, WholeClient
from latimer.shell.continuing import Continuing
from latimer.shell.hop import Call as Incoming
from latimer.shell.hop import Hop
from tests.scenarios.replies import Call, Cut, Pause, Say, Wire, failure
from tests.shell.harness import ENDING, Gateway, Response, config_for, eventually, gateway, message, names
from tests.upstream import Exchange, Reply, Upstream

DIALECTS = pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
ON = "base_wait_seconds = 0.01\ncontinuations = 2"
WHOLE = "One two three four five six seven eight."
COMMAND = '{"command": "echo x >> made.txt"}'
TOOLS = [{"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]
LAST_WORDS = re.compile(r"only once:\n(.*?)\nThen", re.DOTALL)

Script = Callable[[Exchange], Reply]


@asynccontextmanager
async def before(script: Script, dialect: str = "chat", retry: str = ON) -> AsyncIterator[tuple[Gateway, Upstream]]:
    """A gateway that goes on with answers, and its upstream."""
    with Upstream().play(script) as server:
        async with gateway(config_for(server.url, rules=f'dialect = "{dialect}"', retry=retry)) as running:
            yield running, server
    assert (server.failures, server.refused) == ([], [])


def broken(wire: Wire, after: bytes, *, whole: bool = False) -> Wire:
    """The wire up to there, or to the end of that write; then the upstream's process dies."""
    steps = wire.ended(after).steps if whole else wire.cut(after).steps[:-1]
    return Wire((*steps, Pause(0.05), Cut()), wire.status, wire.headers)


def asked_for(exchange: Exchange) -> str:
    """The last words that the model is asked to repeat, '' where it is not asked to go on."""
    found = LAST_WORDS.search(exchange.said("user")[-1])
    return found[1] if found else ""


def whole(answer: Response) -> None:
    """The stream has one beginning, one end, and a number for each block."""
    found = names(answer.events)
    assert found.count("message_start") == 1
    assert found[-2:] == ENDING
    starts = [data["index"] for name, data in answer.events if name == "content_block_start"]
    stops = [data["index"] for name, data in answer.events if name == "content_block_stop"]
    assert starts == stops == list(range(len(starts)))


def calls(answer: Response) -> list[str]:
    """The arguments of each tool call."""
    kinds = {d["index"]: d["content_block"]["type"] for name, d in answer.events if name == "content_block_start"}
    told = [
        data for name, data in answer.events if name == "content_block_delta" and kinds[data["index"]] == "tool_use"
    ]
    texts = dict.fromkeys((index for index, kind in kinds.items() if kind == "tool_use"), "")
    for data in told:
        texts[data["index"]] += data["delta"]["partial_json"]
    return list(texts.values())


def stop_reason(answer: Response) -> str:
    return next(str(data["delta"]["stop_reason"]) for name, data in answer.events if name == "message_delta")


def ways(rest: str) -> dict[str, Callable[[str], str]]:
    """How a model may go on, by the words that it is asked for."""
    return {"exactly": lambda _: rest, "last words": lambda words: words + rest, "anew": lambda _: WHOLE}


@DIALECTS
@pytest.mark.parametrize("way", ["exactly", "last words", "anew"])
async def test_text_goes_on_in_its_block(dialect: str, way: str) -> None:
    def script(exchange: Exchange) -> Reply:
        if not exchange.number:
            return broken(exchange.render(Say(WHOLE, piece=10)), b"ree four f", whole=True)
        words = asked_for(exchange)
        assert words == "One two three four f"
        assert exchange.turns[-2].role == "assistant"
        assert exchange.turns[-2].text == words
        return Say(ways("ive six seven eight.")[way](words), piece=10)

    async with before(script, dialect) as (client, server):
        answer = await client.ask()
        metrics = (await client.get("/metrics")).body.decode()
    assert len(server.exchanges) == 2
    whole(answer)
    assert answer.text == WHOLE
    assert names(answer.events).count("content_block_start") == 1
    assert stop_reason(answer) == "end_turn"
    assert CONTINUED.encode() in answer.body, "the report of a stream is a comment at its end"
    assert CONTINUED in metrics


@DIALECTS
async def test_half_a_call_is_made_whole_and_once(dialect: str) -> None:
    said = Say("Let me see what is there.", (Call("Bash", COMMAND),), piece=10)

    def script(exchange: Exchange) -> Reply:
        if not exchange.number:
            return broken(exchange.render(said), b"echo x", whole=True)
        return Say(asked_for(exchange), said.calls)

    async with before(script, dialect) as (client, server):
        answer = await client.ask(tools=TOOLS)
    assert len(server.exchanges) == 2
    whole(answer)
    assert answer.text == said.text
    assert calls(answer) == [COMMAND]
    assert stop_reason(answer) == "tool_use"


@DIALECTS
async def test_an_attempt_that_said_nothing_but_half_a_call_is_made_again(dialect: str) -> None:
    """Nothing of the call was told, so this is a retry as it would be for any request, and no continuation."""
    said = Say(calls=(Call("Bash", COMMAND),), piece=10)

    def script(exchange: Exchange) -> Reply:
        wire = exchange.render(said)
        return wire if exchange.number else broken(wire, b"echo x", whole=True)

    async with before(script, dialect) as (client, server):
        answer = await client.ask(tools=TOOLS)
    first, second = server.exchanges
    assert first.raw == second.raw
    whole(answer)
    assert calls(answer) == [COMMAND]
    assert CONTINUED.encode() not in answer.body


@DIALECTS
async def test_tokens_are_counted_as_each_side_needs_them(dialect: str) -> None:
    """The client is told of one answer, and the operator of what the provider has counted."""

    def script(exchange: Exchange) -> Reply:
        if not exchange.number:
            return broken(exchange.render(Say(WHOLE, piece=10)), b"ree four f", whole=True)
        return Say(WHOLE, usage={"prompt_tokens": 50, "completion_tokens": 7})

    async with before(script, dialect) as (client, _):
        answer = await client.ask()
        metrics = (await client.get("/metrics")).body.decode()
    (usage,) = [data["usage"] for name, data in answer.events if name == "message_delta"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (50 - 5, 7 + 5)  # 20 characters were shown
    counted = dict(re.findall(r'latimer_tokens_total\{kind="(\w+)",route="p0/m"\} ([\d.]+)', metrics))
    assert (float(counted["input"]), float(counted["output"])) == (50, 7)


@DIALECTS
async def test_a_whole_call_ends_the_answer(dialect: str) -> None:
    """In Chat Completions a call is known to be whole when the next one begins."""
    other = Call("Bash", '{"command": "echo other"}')
    said = Say("Let me see.", (Call("Bash", COMMAND), other), piece=100)
    async with before(lambda exchange: broken(exchange.render(said), b"echo other"), dialect) as (client, server):
        answer = await client.ask(tools=TOOLS)
    assert len(server.exchanges) == 1, "nothing is asked again: the model goes on after the call's result"
    whole(answer)
    assert answer.text == said.text
    assert calls(answer) == [COMMAND]
    assert stop_reason(answer) == "tool_use"
    assert ENDED.encode() in answer.body


@DIALECTS
async def test_thinking_is_closed_and_all_is_asked_again(dialect: str) -> None:
    said = Say("Yes.", reasoning="Hm, let me think about that for a while.", piece=10)

    def script(exchange: Exchange) -> Reply:
        wire = exchange.render(said)
        return wire if exchange.number else broken(wire, b"think abo")

    async with before(script, dialect) as (client, server):
        answer = await client.ask(thinking={"type": "adaptive"})
    first, second = server.exchanges
    assert first.messages == second.messages
    whole(answer)
    kinds = [data["content_block"]["type"] for name, data in answer.events if name == "content_block_start"]
    assert kinds == ["thinking", "thinking", "text"]
    assert answer.text == "Yes."


@DIALECTS
async def test_a_continuation_may_break_off_as_well(dialect: str) -> None:
    def script(exchange: Exchange) -> Reply:
        rest = WHOLE.removeprefix(asked_for(exchange))
        wire = exchange.render(Say(asked_for(exchange) + rest, piece=5))
        return wire if exchange.number == 2 else broken(wire, (b"wo th", b"ix se")[exchange.number], whole=True)

    async with before(script, dialect) as (client, server):
        answer = await client.ask()
    assert len(server.exchanges) == 3
    assert len({len(exchange.turns) for exchange in server.exchanges[1:]}) == 1, "its parts are one message"
    whole(answer)
    assert answer.text == WHOLE


@DIALECTS
async def test_it_is_off_unless_it_is_asked_for(dialect: str) -> None:
    def script(exchange: Exchange) -> Reply:
        return broken(exchange.render(Say(WHOLE, piece=10)), b"four")

    async with before(script, dialect, retry="tries = 3") as (client, server):
        answer = await client.ask()
    assert len(server.exchanges) == 1
    assert names(answer.events)[-1] == "error"


async def test_so_often_and_no_more() -> None:
    def script(exchange: Exchange) -> Reply:
        text = asked_for(exchange) + f" and then number {exchange.number} came along"
        return broken(exchange.render(Say(text, piece=1000)), b"along", whole=True)

    async with before(script) as (client, server):
        answer = await client.ask()
    assert len(server.exchanges) == 3
    assert names(answer.events).count("message_start") == 1
    assert names(answer.events)[-1] == "error"
    assert "number 0" in answer.text
    assert "number 2" in answer.text


async def test_a_refused_continuation_leaves_the_first_failure() -> None:
    """The client has never asked what was refused there."""

    def script(exchange: Exchange) -> Reply:
        if exchange.number:
            return failure(400, "two users in a row")
        return broken(exchange.render(Say(WHOLE, piece=10)), b"four")

    async with before(script) as (client, server):
        answer = await client.ask()
    assert len(server.exchanges) == 2
    name, data = answer.events[-1]
    assert name == "error"
    assert "connection was closed" in data["error"]["message"]


async def test_a_continuation_is_tried_as_often_as_any_request() -> None:
    def script(exchange: Exchange) -> Reply:
        match exchange.number:
            case 0:
                return broken(exchange.render(Say(WHOLE, piece=10)), b"four")
            case 1:
                return failure(500, "not yet")
            case _:
                return Say(WHOLE)

    async with before(script) as (client, server):
        answer = await client.ask()
    assert len(server.exchanges) == 3
    assert answer.text == WHOLE


async def test_the_next_route_goes_on() -> None:
    def first(exchange: Exchange) -> Reply:
        if exchange.number:
            return failure(503, "gone")
        return broken(exchange.render(Say(WHOLE, piece=10)), b"four")

    with Upstream().play(first) as one, Upstream().play([Say(WHOLE)]) as two:
        async with gateway(config_for(one.url, two.url, retry=f"{ON}\ntries = 1")) as client:
            answer = await client.ask()
    assert [len(server.exchanges) for server in (one, two)] == [2, 1]
    whole(answer)
    assert answer.text == WHOLE


async def test_an_error_in_the_stream_is_a_break_if_it_may_pass() -> None:
    def script(kind: str) -> Script:
        def play(exchange: Exchange) -> Reply:
            if exchange.number:
                return Say(WHOLE)
            wire = exchange.render(Say(WHOLE, piece=10)).ended(b"four")
            error = b'event: error\ndata: {"type":"error","error":{"type":"%s","message":"no"}}\n\n' % kind.encode()
            return Wire((*wire.steps, error), headers=wire.headers)

        return play

    async with before(script("overloaded_error"), "messages") as (client, _):
        assert (await client.ask()).text == WHOLE
    async with before(script("authentication_error"), "messages") as (client, server):
        assert names((await client.ask()).events)[-1] == "error"
        assert len(server.exchanges) == 1


async def test_a_call_does_not_hide_a_failure_that_stays() -> None:
    def script(exchange: Exchange) -> Reply:
        wire = exchange.render(Say(calls=(Call("Bash", COMMAND),))).ended(b"content_block_stop")
        error = b'event: error\ndata: {"type":"error","error":{"type":"authentication_error","message":"no"}}\n\n'
        return Wire((*wire.steps, error), headers=wire.headers)

    async with before(script, "messages") as (client, _):
        answer = await client.ask(tools=TOOLS)
    assert calls(answer) == [COMMAND]
    assert names(answer.events)[-1] == "error"


async def test_nobody_is_asked_for_a_client_that_has_gone() -> None:

    def script(exchange: Exchange) -> Reply:
        return exchange.render(Say(WHOLE, piece=10)).paused(60, after=b"four")

    with Upstream().play(script) as server:
        async with gateway(config_for(server.url, retry=ON)) as client:
            async with client.opened() as response:
                await response.content.readuntil(b"four")
            await eventually(server.last.gone.is_set, 10)
            await asyncio.sleep(0.1)
    assert len(server.exchanges) == 1


async def test_a_whole_message_is_asked_for_again() -> None:
    def script(exchange: Exchange) -> Reply:
        wire = exchange.render(Say(WHOLE, piece=10))
        return wire if exchange.number else broken(wire, b"four")

    async with before(script) as (client, server):
        answer = await client.ask(stream=False)
    first, second = server.exchanges
    assert first.messages == second.messages
    assert answer.json["content"] == [{"type": "text", "text": WHOLE}]


def hop_of(**fields: Any) -> Hop:
    request = decode_request(json.dumps(message()).encode())
    heading = Heading("msg_1", "m", "req_1")
    return Hop(Incoming(b"", Headers(), "", ""), request, Weight(0, ()), heading, StreamEncoder(heading), **fields)


async def test_a_continuation_weighs_what_is_sent_along() -> None:
    """By its weight its tokens are estimated, and whether it fits the window."""
    weights: list[int] = []

    async def ask(asked: Hop, _: Client) -> None:
        weights.append(asked.weight.text_bytes)
        if len(weights) == 1:
            assert asked.shown is not None
            for event in (BlockStart(0, Text()), Delta(0, "twenty characters, é"), Failure("api_error", "lost")):
                asked.shown.encode(event)

    await Continuing(RetryRules(continuations=1), ask).answer(hop_of(), WholeClient())
    assert weights == [0, 21]


async def test_an_answer_that_waits_for_a_review_is_left_alone() -> None:
    hop = hop_of()
    watched: list[bool] = []

    async def ask(asked: Hop, _: Client) -> None:
        watched.append(asked.shown is not None)

    continuing = Continuing(RetryRules(continuations=2), ask)
    for each in (hop, replace(hop, review=Review(hop.request, {})), replace(hop, stream=None)):
        await continuing.answer(each, WholeClient())
    assert watched == [True, False, False]
