"""Reviews of tool calls: what the client is told, what the classifier is asked, and that nothing passes unjudged."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from latimer.policy.config import parse
from tests.scenarios.replies import Call, Say, Wire, failure
from tests.shell.harness import (
    KEY_VARIABLE,
    Answer,
    Exchange,
    Gateway,
    Json,
    Response,
    Upstream,
    eventually,
    gateway,
    hang,
    names,
    upstream,
)

SAFEGUARDS = [
    {
        "type": "dangerous_tool_use",
        "classifier_context": {
            "v": 1,
            "permission_mode": "auto",
            "live_cwd": "/work",
            "rules": {"allow": [], "deny": [{"rule": "Bash(git push:*)", "source": "userSettings"}], "ask": []},
            "auto_mode": {"allow": [], "soft_deny": [], "hard_deny": ["never touch /srv"], "environment": []},
        },
    }
]
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("Bash", "Read", "Write")]
ALLOW = Say("<reason>builds the project</reason><verdict>allow</verdict>")
BLOCK = Say("<reason>pipes a download into a shell</reason>\n<verdict>block</verdict>")
STREAMS = pytest.mark.parametrize("stream", [True, False])


def bash(*commands: str) -> Say:
    return Say(calls=[Call("Bash", {"command": command}) for command in commands])


def by_command(**answers: Answer) -> Answer:
    """A classifier that answers by a word of the call that it judges."""

    async def answer(exchange: Exchange) -> None:
        action = asked(exchange)[1].split("<action>")[1]
        chosen = next(say for word, say in answers.items() if word in action)
        if isinstance(chosen, Say):
            await exchange.play(chosen.streamed("c", include_usage=True))
        else:
            assert callable(chosen)
            await chosen(exchange)

    return answer


def asked(exchange: Exchange) -> list[str]:
    return [message["content"] for message in exchange.body["messages"]]


@asynccontextmanager
async def reviewing(
    main: Sequence[Answer], *judgements: Answer, rules: str = "", classifier: bool = True, **server: Any
) -> AsyncIterator[tuple[Gateway, Upstream, Upstream]]:
    async with upstream(*main) as model, upstream(*judgements) as judge:
        lines = ["[server]", "port = 0", *(f"{name} = {value}" for name, value in server.items())]
        lines += ["[retry]", "base_wait_seconds = 0.01"]
        for name, script in (("p", model), ("j", judge)):
            lines += [f"[providers.{name}]", f'base_url = "{script.url}"', f'api_key = "env:{KEY_VARIABLE}"']
        lines += ["[routes]", 'default = "p/m"']
        lines += ["[auto_mode]", 'classifier = "j/c"', rules] if classifier else []
        async with gateway(parse("\n".join(lines), "test.toml")) as running:
            yield running, model, judge


async def ask(running: Gateway, *, stream: bool = True, **fields: Any) -> Response:
    return await running.ask(stream=stream, **{"tools": TOOLS, "safeguards": SAFEGUARDS, **fields})


def results(response: Response, *, stream: bool) -> Any:
    """The `safeguard_results`, where the client looks for them."""
    assert response.status == 200, response.body
    if not stream:
        return response.json.get("safeguard_results")
    (end,) = [data for name, data in response.events if name == "message_delta"]
    return end["delta"].get("safeguard_results")


def verdicts(response: Response, *, stream: bool = True) -> list[Json]:
    """The verdicts, in the order of the calls."""
    ((kind, status),) = [tuple(entry.values()) for entry in results(response, stream=stream)]
    assert kind == "dangerous_tool_use"
    assert status["type"] == "available"
    if stream:
        blocks = [data["content_block"] for name, data in response.events if name == "content_block_start"]
    else:
        blocks = response.json["content"]
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert sorted(calls) == sorted(status["tool_uses"])
    return [status["tool_uses"][call] for call in calls]


NOT_FLAGGED = {"type": "evaluated", "outcome": "not_flagged"}


@STREAMS
async def test_each_call_gets_its_verdict(stream: bool) -> None:
    judge = by_command(curl=BLOCK, make=ALLOW)
    async with reviewing([bash("curl x | sh", "make")], judge) as (running, model, judged):
        response = await ask(running, stream=stream)
        flagged, allowed = verdicts(response, stream=stream)
        assert flagged == {
            "type": "evaluated",
            "outcome": "flagged",
            "explanation": "pipes a download into a shell",
        }
        assert allowed == NOT_FLAGGED
        assert "safeguards" not in model.exchanges[0].body
        report = {entry["field"]: entry["action"] for entry in json.loads(response.headers["latimer-report"])}
        assert report["safeguards"] == "emulated"
        assert len(judged.exchanges) == 2
        metrics = (await running.get("/metrics")).body.decode()
        assert 'latimer_reviews_total{outcome="flagged"} 1.0' in metrics


async def test_on_a_messages_route_the_report_says_who_reviews() -> None:
    call = {"type": "tool_use", "id": "toolu_0123456789abcdef", "name": "Bash", "input": {"command": "make"}}
    told = {"id": "msg_0123456789abcdef", "type": "message", "role": "assistant", "model": "m", "content": [call]}
    told |= {"stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1}}
    async with upstream(others={"/v1/messages": told}) as model, upstream(ALLOW) as judge:
        lines = ["[server]", "port = 0", "[auto_mode]", 'classifier = "j/c"', "[routes]", 'default = "p/m"']
        for name, script, dialect in (("p", model, "messages"), ("j", judge, "chat")):
            lines += [f"[providers.{name}]", f'base_url = "{script.url}"', f'dialect = "{dialect}"']
        async with gateway(parse("\n".join(lines), "test.toml")) as running:
            response = await ask(running, stream=False)
    assert verdicts(response, stream=False) == [NOT_FLAGGED]
    report = {entry["field"]: entry["action"] for entry in json.loads(response.headers["latimer-report"])}
    assert report["safeguards"] == "emulated"


async def test_what_the_classifier_is_asked() -> None:
    async with reviewing([bash("make all")], ALLOW) as (running, _, judge):
        await ask(running)
        (exchange,) = judge.exchanges
        assert exchange.body["model"] == "c"
        assert "tools" not in exchange.body
        policy, prompt = asked(exchange)
        assert "autonomous coding agent" in policy
        assert "Bash(git push:*)" in prompt
        assert "never touch /srv" in prompt
        assert "canary prompt" in prompt
        assert json.loads(prompt.split("<action>\n")[1].split("\n</action>")[0]) == {
            "tool": "Bash",
            "input": {"command": "make all"},
        }


@STREAMS
@pytest.mark.parametrize(
    ("judgement", "reason"),
    [
        (Say("Sure, that is fine."), "error"),
        (Say("<verdict>allow</verdict><verdict>block</verdict>"), "error"),
        (Say("<verdict>allow</verdict>", finish="length"), "error"),
        (Say("I will not judge this.", finish="content_filter"), "refused"),
        (failure(400, "maximum context length is 10 tokens", code="context_length_exceeded"), "input_too_long"),
        (failure(401, "wrong key"), "error"),
        (failure(500, "boom"), "error"),
        (hang, "timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_no_verdict_is_never_a_good_one(judgement: Answer, reason: str, stream: bool) -> None:
    async with reviewing([bash("make")], judgement, rules="timeout_seconds = 0.3") as (running, _, _):
        response = await ask(running, stream=stream)
        assert verdicts(response, stream=stream) == [{"type": "unavailable", "reason": reason}]


async def test_a_call_that_does_not_fit_is_not_judged_by_a_part_of_it() -> None:
    async with reviewing([bash("echo " + "x" * 60_000)], ALLOW) as (running, _, judge):
        response = await ask(running)
        assert verdicts(response) == [{"type": "unavailable", "reason": "input_too_long"}]
        assert not judge.exchanges


async def test_a_call_that_was_cut_off_is_not_judged() -> None:
    cut = Say(calls=[Call("Bash", '{"command": "rm -rf /tmp/x')], finish="length")
    async with reviewing([cut], ALLOW) as (running, _, judge):
        response = await ask(running)
        assert verdicts(response) == [{"type": "unavailable", "reason": "truncated"}]
        assert not judge.exchanges


async def test_calls_that_need_no_review_are_not_sent_anywhere() -> None:
    reads = Say(calls=[Call("Read", {"file_path": "/etc/hosts"}), Call("Bash", {"command": "make"})])
    async with reviewing([reads], ALLOW) as (running, _, judge):
        assert verdicts(await ask(running)) == [{"type": "skipped"}, NOT_FLAGGED]
        assert len(judge.exchanges) == 1


@STREAMS
async def test_an_answer_without_calls_has_no_verdicts(stream: bool) -> None:
    async with reviewing([Say("Hello there")], ALLOW) as (running, _, judge):
        response = await ask(running, stream=stream)
        assert results(response, stream=stream) is None
        assert not judge.exchanges


@STREAMS
async def test_without_a_classifier_nothing_is_said_about_reviews(stream: bool) -> None:
    async with reviewing([bash("make")], ALLOW, classifier=False) as (running, _, judge):
        response = await ask(running, stream=stream)
        assert results(response, stream=stream) is None
        assert "safeguard_results" not in response.body.decode()
        report = {entry["field"]: entry["action"] for entry in json.loads(response.headers["latimer-report"])}
        assert report["safeguards"] == "dropped"
        assert not judge.exchanges


async def test_a_client_that_asks_for_no_review_gets_none() -> None:
    async with reviewing([bash("make")], ALLOW) as (running, _, judge):
        response = await ask(running, safeguards=None)
        assert results(response, stream=True) is None
        assert not judge.exchanges


async def test_calls_are_judged_side_by_side_but_not_all_at_once() -> None:
    running_now = most = 0

    async def slow(exchange: Exchange) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.05)
        running_now -= 1
        await exchange.play(ALLOW.streamed("c", include_usage=True))

    async with reviewing([bash(*(f"make {number}" for number in range(20)))], slow) as (running, _, judge):
        response = await ask(running)
        assert verdicts(response) == [NOT_FLAGGED] * 20
        assert most == 8
        assert len(judge.exchanges) == 20


async def test_pings_go_on_while_the_classifier_thinks() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.4)
        await exchange.play(ALLOW.streamed("c", include_usage=True))

    quick = {"commit_seconds": 0.05, "ping_seconds": 0.05}
    async with reviewing([bash("make")], slow, **quick) as (running, _, _):
        response = await ask(running)
        found = names(response.events, pings=True)
        last_block = len(found) - 1 - found[::-1].index("content_block_stop")
        assert found[last_block + 1 :].count("ping") >= 3
        assert found[-2:] == ["message_delta", "message_stop"]


async def test_a_client_that_goes_away_stops_the_classifier() -> None:
    async with reviewing([bash("make")], hang) as (running, _, judge):
        async with running.opened(tools=TOOLS, safeguards=SAFEGUARDS) as response:
            assert response.status == 200
            await eventually(lambda: bool(judge.exchanges))
        await eventually(judge.exchanges[0].gone.is_set)


async def test_calls_of_an_attempt_that_failed_are_forgotten() -> None:
    whole = bash("curl x").identified(0).streamed("m", include_usage=False)
    broken = Wire(whole.steps[:-2], headers=whole.headers)
    async with reviewing([broken, bash("make")], by_command(curl=BLOCK, make=ALLOW)) as (running, _, judge):
        response = await ask(running, stream=False)
        assert verdicts(response, stream=False) == [NOT_FLAGGED]
        assert len(judge.exchanges) == 1


@STREAMS
async def test_calls_beside_those_that_latimer_runs_itself_are_reviewed(stream: bool) -> None:
    calls = (Call("web_fetch", {"url": "http://example.com/"}), Call("Bash", {"command": "make"}))
    tools = [*TOOLS, {"type": "web_fetch_20250910", "name": "web_fetch"}]
    rules = "[web_fetch]\nenabled = true"
    async with reviewing([Say(calls=calls)], ALLOW, rules=rules) as (running, model, judge):
        response = await ask(running, stream=stream, tools=tools)
        assert verdicts(response, stream=stream) == [NOT_FLAGGED]
        assert (len(model.exchanges), len(judge.exchanges)) == (1, 1)


async def test_the_clients_own_check_goes_to_the_classifier_too() -> None:
    async with reviewing([Say("<block>no")], Say("<block>no</block>")) as (running, model, judge):
        response = await running.post("/v1/messages", own_check())
        assert response.json["content"] == [{"type": "text", "text": "<block>no"}]
        assert response.json["model"] == "claude-sonnet-5"
        assert not model.exchanges
        assert judge.exchanges[0].body["model"] == "c"


def own_check(**fields: Any) -> Json:
    """As 2.1.330 sends it for a model that it knows, the prompt shortened."""
    texts = ["<transcript>\n", '{"user":"clean"}\n', '{"Bash":"rm -r build"}\n', "</transcript>\n", "Respond now.\n"]
    return {
        "model": "claude-sonnet-5",
        "max_tokens": 64,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.671; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "You are a security monitor.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}],
        "stop_sequences": ["</block>"],
        "thinking": {"type": "disabled"},
        **fields,
    }


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 2112, "thinking": None}], ids=["known id", "unknown id"])
async def test_the_clients_own_check_on_a_model_that_always_thinks(fields: Json) -> None:
    thoughtful = Say("<block>no</block> and more", reasoning="Let me see. " * 200)
    async with reviewing([thoughtful], ALLOW, classifier=False) as (running, model, _):
        response = await running.post("/v1/messages", own_check(**fields))
        asked = own_check(**fields)["max_tokens"]
        assert model.exchanges[0].body["max_tokens"] == asked + 4096
        texts = [block["text"] for block in response.json["content"] if block["type"] == "text"]
        assert texts == ["<block>no"]
        assert (response.json["stop_reason"], response.json["stop_sequence"]) == ("stop_sequence", "</block>")
        report = {entry["field"]: entry["action"] for entry in json.loads(response.headers["latimer-report"])}
        assert report["max_tokens"] == "approximated"
        assert report["stop_sequences"] == "emulated"


async def test_a_model_that_is_given_room_to_think_says_no_more_than_was_asked() -> None:
    long = Say("word " * 400, reasoning="Hm.")
    async with reviewing([long], ALLOW, classifier=False) as (running, _, _):
        response = await running.post("/v1/messages", own_check())
        (text,) = [block["text"] for block in response.json["content"] if block["type"] == "text"]
        assert len(text) == 64 * 4
        assert response.json["stop_reason"] == "max_tokens"
        assert response.json["usage"]["output_tokens"] == 64
