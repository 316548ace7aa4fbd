"""Chains under faults: who answers, when, by which key, and what the client is told when nobody does."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.policy.config import Config, parse
from tests.scenarios.replies import Say, Wire, failure, rate_limited
from tests.shell.harness import (
    ENDING,
    KEY,
    ROLE,
    Exchange,
    Gateway,
    event,
    eventually,
    gateway,
    halting,
    hang,
    names,
    upstream,
)

STREAMS = pytest.mark.parametrize("stream", [True, False])
BOOM = failure(500, "boom")
LIMIT = failure(429, "slow down")
SECOND = Say("From the second")
NOBODY = "http://127.0.0.1:9/v1"
KEYS = {"LATIMER_TEST_A": "sk-test-aaaaaaaaaaaaaaaaaaaaaaaa", "LATIMER_TEST_B": "sk-test-bbbbbbbbbbbbbbbbbbbbbbbb"}


def chain(
    *urls: str, fallback: str = "", retry: str = "tries = 1", rules: str = "", models: Mapping[str, Any] | None = None
) -> Config:
    """Providers p0, p1, … in one chain, or with `models` in others."""
    lines = ["[server]", "port = 0", "[retry]", "base_wait_seconds = 0.01", retry, "[fallback]", fallback]
    for number, url in enumerate(urls):
        lines += [f"[providers.p{number}]", f'base_url = "{url}"', 'api_key = "env:LATIMER_TEST_KEY"', rules]
    routes = models or {"default": [f"p{number}/m" for number in range(len(urls))]}
    return parse("\n".join([*lines, "[routes]", *(f"{k} = {json.dumps(v)}" for k, v in routes.items())]), "test.toml")


async def only_comments(exchange: Exchange) -> None:
    """Alive, and without a word: what keeps connections open is not an answer."""
    await exchange.head()
    await exchange.chunk(ROLE)
    while not exchange.gone.is_set():
        await exchange.chunk(b": still there\n\n")
        await asyncio.sleep(0.02)


# --- when the next route is asked ------------------------------------------------------------------------------------


@STREAMS
@pytest.mark.parametrize(
    ("wire", "asked"),
    [
        (BOOM, 2),  # a hiccup is not worth another model, so once more
        (failure(502, "bad gateway"), 2),
        (LIMIT, 1),
        (rate_limited("7"), 1),
        (failure(503, "full"), 1),
        (failure(529, "overloaded"), 1),
        (failure(402, "no money"), 1),
        (failure(504, "too slow"), 1),
    ],
)
async def test_with_another_route_ready_nobody_waits(wire: Wire, asked: int, stream: bool) -> None:
    async with (
        upstream(wire) as first,
        upstream(SECOND) as second,
        gateway(chain(first.url, second.url, retry="tries = 3\nmax_wait_seconds = 60")) as client,
    ):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answer = await client.ask(stream=stream)
        assert loop.time() - begun < 5
    assert answer.status == 200
    assert answer.headers["latimer-route"] == "p1/m"
    assert (len(first.exchanges), len(second.exchanges)) == (asked, 1)


async def test_a_hiccup_keeps_the_first_route() -> None:
    async with (
        upstream(BOOM, Say("From the first")) as first,
        upstream(SECOND) as second,
        gateway(chain(first.url, second.url, retry="tries = 3")) as client,
    ):
        assert (await client.ask()).text == "From the first"
    assert not second.exchanges


@pytest.mark.parametrize("first_answer", [hang, only_comments])
async def test_no_first_token_in_time(first_answer: Any) -> None:
    rules = "first_token_timeout_seconds = 0.7"
    async with (
        upstream(first_answer) as first,
        upstream(SECOND) as second,
        gateway(chain(first.url, second.url, rules=rules)) as client,
    ):
        answer = await client.ask()
        assert answer.text == "From the second"
        assert names(answer.events).count("message_start") == 1
        assert names(answer.events)[-2:] == ENDING
        await eventually(first.exchanges[0].gone.is_set, 5)


async def test_after_the_headers_a_comment_tells_who_answers() -> None:
    async with upstream(hang) as first, upstream(SECOND) as second:
        config = chain(first.url, second.url, rules="first_token_timeout_seconds = 0.7")
        server = replace(config.server, commit_seconds=0.05, ping_seconds=0.1)
        async with gateway(replace(config, server=server)) as client:
            answer = await client.ask()
    assert answer.headers["latimer-route"] == "p0/m"
    assert answer.text == "From the second"
    assert answer.body.count(b"\n: latimer-route p1/m\nevent: ping\n") == 1
    assert answer.body.index(b": latimer-route p1/m") < answer.body.index(b"content_block_start")


async def test_the_first_token_limit_is_over_with_the_first_token() -> None:
    async def slowly(exchange: Exchange) -> None:
        await exchange.head()
        for text in ("one ", "two ", "three ", "four"):
            await exchange.say(text)
            await asyncio.sleep(0.4)
        await exchange.finish()

    async with (
        upstream(slowly) as first,
        gateway(chain(first.url, rules="first_token_timeout_seconds = 1")) as client,
    ):
        assert (await client.ask()).text == "one two three four"


async def test_a_whole_answer_has_no_first_token() -> None:
    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await exchange.play(Say("late").whole("m"))

    async with upstream(late) as first, gateway(chain(first.url, rules="first_token_timeout_seconds = 0.2")) as client:
        assert (await client.ask(stream=False)).status == 200


async def test_who_says_what_makes_a_chain_go_on() -> None:
    async with (
        upstream(failure(401, "wrong key")) as first,
        upstream(SECOND) as second,
    ):
        async with gateway(chain(first.url, second.url)) as client:
            for _ in range(2):  # though its key rests by then, the user is to see it
                answer = await client.ask()
                assert (answer.status, answer.headers["latimer-route"]) == (401, "p0/m")
        async with gateway(chain(first.url, second.url, fallback='on = ["authentication"]')) as client:
            for _ in range(2):
                assert (await client.ask()).text == "From the second"
    assert len(first.exchanges) == 3  # not asked again while its key rests


async def test_nothing_makes_it_go_on_if_the_user_says_so() -> None:
    async with (
        upstream(BOOM) as first,
        upstream(SECOND) as second,
        gateway(chain(first.url, second.url, fallback="on = []", retry="tries = 2")) as client,
    ):
        assert (await client.ask()).status == 500
    assert (len(first.exchanges), len(second.exchanges)) == (2, 0)


NO = Wire(
    (
        event({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}),
        b"data: [DONE]\n\n",
    ),
    headers={"content-type": "text/event-stream"},
)


@pytest.mark.parametrize("wire", [NO, failure(400, "flagged by our content filter", code="content_filter")])
async def test_a_refusal_if_asked(wire: Wire) -> None:
    async with upstream(wire) as first, upstream(SECOND) as second:
        async with gateway(chain(first.url, second.url)) as client:
            answer = await client.ask()
            assert answer.headers["latimer-route"] == "p0/m"
        async with gateway(chain(first.url, second.url, fallback='on = ["refusal"]')) as client:
            assert (await client.ask()).text == "From the second"
        async with gateway(chain(first.url, fallback='on = ["refusal"]')) as client:
            answer = await client.ask()  # nobody else is there: the refusal is the answer
            assert b"refus" in answer.body
            assert (answer.status == 200) == (wire is NO)


# --- what the client is told -----------------------------------------------------------------------------------------


async def test_the_soonest_failure_is_told_and_names_every_route() -> None:
    async with (
        upstream(rate_limited("50")) as first,
        upstream(rate_limited("7")) as second,
        upstream(failure(402, "no money")) as third,
        gateway(chain(first.url, second.url, third.url, NOBODY, fallback='on = ["rate_limit", "billing"]')) as client,
    ):
        answer = await client.ask()
    assert answer.status == 429
    assert answer.headers["retry-after"] == "7"
    message = answer.error["message"]
    assert message.startswith("p1/m: ")
    assert (
        "Tried: p0/m (rate limit, again in 50 s), p1/m (rate limit, again in 7 s), p2/m (no balance or quota)"
        in message
    )
    assert "p3/m (no connection)" in message


async def test_a_route_that_can_not_answer_later_is_named_to_the_end() -> None:
    async with (
        upstream(failure(402, "no money")) as first,
        upstream(BOOM) as second,
        gateway(chain(first.url, second.url, retry="tries = 3")) as client,
    ):
        answer = await client.ask()
    assert "Tried: p0/m (no balance or quota), p1/m (server error)." in answer.error["message"]
    assert (len(first.exchanges), len(second.exchanges)) == (1, 3)


@pytest.mark.parametrize("tries", [1, 2, 3])
async def test_no_route_is_asked_more_often_than_the_user_said(tries: int) -> None:
    async with (
        upstream(BOOM) as first,
        upstream(BOOM) as second,
        gateway(chain(first.url, second.url, retry=f"tries = {tries}")) as client,
    ):
        assert (await client.ask()).status == 500
    assert (len(first.exchanges), len(second.exchanges)) == (tries, tries)


async def test_a_whole_answer_is_not_tried_for_longer_than_its_client_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latimer.shell.gateway.WHOLE_SECONDS", 0.0)
    async with upstream(BOOM) as first, gateway(chain(first.url, retry="tries = 3")) as client:
        assert (await client.ask(stream=False)).status == 500
        assert len(first.exchanges) == 1
        assert (await client.ask()).status == 500
        assert len(first.exchanges) == 4


async def test_a_stream_is_not_tried_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latimer.shell.chain.PATIENCE_SECONDS", 0.0)
    async with upstream(BOOM) as first, gateway(chain(first.url, retry="tries = 3")) as client:
        assert (await client.ask()).status == 500
    assert len(first.exchanges) == 1


async def test_a_request_that_is_wrong_is_told_as_it_is() -> None:
    async with (
        upstream(BOOM) as first,
        upstream(failure(400, "what is this?")) as second,
        gateway(chain(first.url, second.url)) as client,
    ):
        answer = await client.ask()
    assert answer.status == 400
    assert answer.error["message"] == "p1/m: what is this?"


async def test_all_are_tried_again_before_the_client_is_told() -> None:
    async with (
        upstream(LIMIT, LIMIT, Say("From the first")) as first,
        upstream(LIMIT) as second,
        gateway(chain(first.url, second.url, retry="tries = 3")) as client,
    ):
        assert (await client.ask()).text == "From the first"
    assert (len(first.exchanges), len(second.exchanges)) == (3, 2)


# --- circuits --------------------------------------------------------------------------------------------------------


async def test_what_is_down_is_passed_over_and_asked_again_later() -> None:
    async with upstream(BOOM, BOOM, Say("From the first")) as first, upstream(SECOND) as second:
        config = chain(first.url, second.url, fallback="open_after = 2\ncooldown_seconds = 1.5")
        async with gateway(config) as client:
            for _ in range(5):
                assert (await client.ask()).text == "From the second"
            assert len(first.exchanges) == 2
            await asyncio.sleep(1.6)
            assert (await client.ask()).text == "From the first"
            assert (await client.ask()).text == "From the first"


async def test_one_request_finds_out_whether_it_works_again() -> None:
    ready = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await ready.wait()
        await exchange.play(Say("From the first").streamed("m", include_usage=True))

    async with upstream(BOOM, slow) as first, upstream(SECOND) as second:
        config = chain(first.url, second.url, fallback="open_after = 1\ncooldown_seconds = 0.2")
        async with gateway(config) as client:
            assert (await client.ask()).text == "From the second"
            await asyncio.sleep(0.3)
            probe = asyncio.create_task(client.ask())
            await eventually(lambda: len(first.exchanges) == 2)
            others = await asyncio.gather(*[client.ask() for _ in range(5)])
            assert {answer.text for answer in others} == {"From the second"}
            assert len(first.exchanges) == 2
            ready.set()
            assert (await probe).text == "From the first"
            assert (await client.ask()).text == "From the first"


async def test_others_follow_a_probe_that_has_heard_something() -> None:
    ready = asyncio.Event()

    slow = halting(ready, "From the ", "first")
    async with upstream(BOOM, slow, Say("From the first")) as first, upstream(SECOND) as second:
        config = chain(first.url, second.url, fallback="open_after = 1\ncooldown_seconds = 0.1")
        async with gateway(config) as client:
            await client.ask()
            await asyncio.sleep(0.2)
            async with client.opened() as probe:
                await probe.content.readuntil(b"From the ")
                assert (await client.ask()).text == "From the first"
                ready.set()
                await probe.read()


async def test_a_client_that_leaves_its_probe_leaves_no_block() -> None:
    async with upstream(BOOM, hang, Say("From the first")) as first, upstream(SECOND) as second:
        config = chain(first.url, second.url, fallback="open_after = 1\ncooldown_seconds = 0.1")
        async with gateway(config) as client:
            await client.ask()
            await asyncio.sleep(0.2)
            probe = asyncio.create_task(client.ask())
            await eventually(lambda: len(first.exchanges) == 2)
            probe.cancel()
            await eventually(first.exchanges[1].gone.is_set)
            assert (await client.ask()).text == "From the first"


async def test_a_route_without_another_is_asked_whatever_happened() -> None:
    async with upstream(*[BOOM] * 8, Say("back")) as first, gateway(chain(first.url)) as client:
        for _ in range(8):
            assert (await client.ask()).status == 500
        assert (await client.ask()).text == "back"


@STREAMS
async def test_a_time_that_the_provider_named_is_kept_even_without_another(stream: bool) -> None:
    async with upstream(rate_limited("30"), Say("back")) as first, gateway(chain(first.url)) as client:
        assert (await client.ask(stream=stream)).status == 429
        answer = await client.ask(stream=stream)
        assert answer.status == 429
        assert 25 <= int(answer.headers["retry-after"]) <= 30
        assert "p0/m" in answer.error["message"]
        assert len(first.exchanges) == 1


async def test_within_its_limit_latimer_waits_for_that_time_itself() -> None:
    async with (
        upstream(rate_limited("1"), Say("back")) as first,
        gateway(chain(first.url, retry="tries = 2")) as client,
    ):
        answers = await asyncio.gather(client.ask(), client.ask())
        assert [answer.text for answer in answers] == ["back", "back"]


async def test_a_limit_of_one_model_is_none_of_another() -> None:
    def by_model(exchange: Exchange) -> Any:
        return exchange.play(
            rate_limited("30") if exchange.body["model"] == "a" else Say("From b").streamed("b", include_usage=True)
        )

    async with upstream(by_model) as first, upstream(SECOND) as second:
        models = {"opus": ["p0/a", "p1/m"], "haiku": ["p0/b", "p1/m"]}
        async with gateway(chain(first.url, second.url, models=models)) as client:
            for _ in range(2):
                assert (await client.ask(model="claude-opus-4-5")).text == "From the second"
                assert (await client.ask(model="claude-haiku-4-5")).text == "From b"
    assert len(first.exchanges) == 3


async def test_a_used_up_allowance_in_an_answers_headers() -> None:
    async def last_one(exchange: Exchange) -> None:
        await exchange.head(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="30s")
        await exchange.say("From the first")
        await exchange.finish()

    async with upstream(last_one) as first, upstream(SECOND) as second:
        async with gateway(chain(first.url, second.url)) as client:
            assert (await client.ask()).text == "From the first"
            assert (await client.ask()).text == "From the second"
        async with gateway(chain(first.url)) as client:
            for _ in range(2):  # nobody else is there, and the header is no refusal
                assert (await client.ask()).text == "From the first"


async def test_a_blocked_route_hides_behind_nobody_who_cannot_serve() -> None:
    """The second route refuses the request itself, so the first is asked though it rests."""
    async with upstream(BOOM, Say("From the first")) as first, upstream(SECOND) as second:
        config = chain(first.url, second.url, fallback="open_after = 1", rules="")
        async with gateway(config) as client:
            assert (await client.ask()).text == "From the second"
            assert (await client.ask(model="p0/m")).text == "From the first"


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


def with_keys(url: str, *more: str, fallback: str = "") -> Config:
    references = json.dumps([f"env:{name}" for name in KEYS])
    rest = "".join(f'[providers.p{n}]\nbase_url = "{u}"\n' for n, u in enumerate(more, 1))
    routes = json.dumps([f"p{n}/m" for n in range(len(more) + 1)])
    return parse(
        f'[server]\nport = 0\n[retry]\ntries = 1\n[fallback]\n{fallback}\n[providers.p0]\nbase_url = "{url}"\n'
        f"api_key = {references}\n{rest}[routes]\ndefault = {routes}",
        "test.toml",
    )


def key_of(exchange: Exchange) -> str:
    return next(name for name, key in KEYS.items() if exchange.headers["authorization"] == f"Bearer {key}")


async def ask(client: Gateway, session: str) -> Any:
    return await client.ask(headers={"x-claude-code-session-id": session})


@pytest.mark.usefixtures("keys")
async def test_a_session_keeps_its_key_and_sessions_are_spread() -> None:
    async with upstream() as first, gateway(with_keys(first.url)) as client:
        for _ in range(3):
            for session in range(12):
                await ask(client, f"session {session}")
    used = [key_of(exchange) for exchange in first.exchanges]
    assert used[:12] == used[12:24] == used[24:]
    assert 2 <= used[:12].count("LATIMER_TEST_A") <= 10


class Refusing:
    """Refuses one key with a status, and answers the other."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.refused = ""

    async def __call__(self, exchange: Exchange) -> None:
        if not self.refused:
            self.refused = key_of(exchange)
        refuses = key_of(exchange) == self.refused
        await exchange.play(self.wire if refuses else Say("By the other").streamed("m", include_usage=True))


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("wire", [rate_limited("30"), failure(401, "wrong key"), failure(402, "no money")])
async def test_another_key_comes_before_another_route(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    answer = Refusing(wire)
    async with (
        upstream(answer) as first,
        upstream(SECOND) as second,
        gateway(with_keys(first.url, second.url)) as client,
    ):
        for _ in range(3):
            assert (await ask(client, "one")).text == "By the other"
    assert len(first.exchanges) == 4  # the key that rests was asked once
    assert not second.exchanges
    logged = [record.getMessage() for record in caplog.records if "others come first" in record.getMessage()]
    assert len(logged) == 1
    assert f"with env:{answer.refused}" in logged[0]


@pytest.mark.usefixtures("keys")
async def test_a_lesson_holds_for_the_next_key() -> None:
    async def answer(exchange: Exchange) -> None:
        if "reasoning_effort" in exchange.body:
            await exchange.play(failure(400, "Unsupported parameter: 'reasoning_effort'", param="reasoning_effort"))
        elif exchange.number == 1:
            await exchange.play(LIMIT)
        else:
            await exchange.play(Say("Hello").streamed("m", include_usage=True))

    async with upstream(answer) as first, gateway(with_keys(first.url)) as client:
        response = await client.ask(output_config={"effort": "high"}, thinking={"type": "adaptive"})
    assert response.text == "Hello"
    assert "reasoning_effort" in response.headers["latimer-report"]
    used = [key_of(exchange) for exchange in first.exchanges]
    assert used[0] == used[1] != used[2]


@pytest.mark.usefixtures("keys")
async def test_a_session_returns_to_its_own_key() -> None:
    answer = Refusing(rate_limited("1"))
    async with upstream(answer) as first, gateway(with_keys(first.url)) as client:
        await ask(client, "one")
        own = key_of(first.exchanges[0])
        assert key_of(first.exchanges[1]) != own
        answer.wire = Say("By its own").streamed("m", include_usage=True)
        await asyncio.sleep(1.1)
        assert (await ask(client, "one")).text == "By its own"
        assert key_of(first.exchanges[-1]) == own


@pytest.mark.usefixtures("keys")
async def test_all_keys_refused_is_told_with_the_key_that_was() -> None:
    async with upstream(failure(401, "wrong key")) as first, gateway(with_keys(first.url)) as client:
        answer = await ask(client, "one")
    assert answer.status == 401
    assert [key_of(exchange) for exchange in first.exchanges] == sorted(
        {*KEYS}, key=lambda name: name != key_of(first.exchanges[0])
    )
    for name in KEYS:
        assert f"p0/m with env:{name} (key refused)" in answer.error["message"]
    assert not any(key in answer.error["message"] for key in (KEY, *KEYS.values()))


@pytest.mark.usefixtures("keys")
async def test_a_key_that_is_not_set_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATIMER_TEST_A")
    async with upstream() as first, gateway(with_keys(first.url)) as client:
        for session in range(8):
            assert (await ask(client, f"session {session}")).status == 200
    assert {key_of(exchange) for exchange in first.exchanges} == {"LATIMER_TEST_B"}


@pytest.mark.usefixtures("keys")
async def test_a_dead_server_is_not_asked_by_each_key() -> None:
    async with (
        upstream(BOOM) as first,
        upstream(SECOND) as second,
        gateway(with_keys(first.url, second.url)) as client,
    ):
        assert (await ask(client, "one")).text == "From the second"
    assert len(first.exchanges) == 1


# --- sizes -----------------------------------------------------------------------------------------------------------


async def test_an_endless_stream_for_a_whole_message_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latimer.shell.attempt.MAX_FOLDED_BYTES", 100_000)

    async def endless(exchange: Exchange) -> None:
        await exchange.head()
        while not exchange.gone.is_set():
            await exchange.say("more " * 100)

    async with upstream(endless) as first, gateway(chain(first.url, retry="tries = 3")) as client:
        answer = await client.ask(stream=False)
    assert answer.status == 500
    assert "larger than" in answer.error["message"]
    assert len(first.exchanges) == 1
