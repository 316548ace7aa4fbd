"""Images for a model that sees none, described by one that does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from latimer.dialects.media import UNDESCRIBED, UNSEEN
from latimer.images import Picture
from latimer.policy.config import parse
from latimer.policy.vision import PROMPT, Vision
from latimer.shell.vision import Describer
from tests.dialects.chat.asking import assistant, call, result, text, user
from tests.scenarios.files import coded, pdf, png
from tests.scenarios.replies import Say, Wire
from tests.shell.harness import PROMPT as CANARY
from tests.shell.harness import USAGE, Answer, Gateway, Json, Upstream, eventually, gateway, hang, upstream

OK = Say("ok")
BLIND = "[providers.p0.media]\nimages = false\n"
NO_IMAGES = Wire((b'{"error":{"message":"This model does not support image input"}}',), 400)


def image(data: bytes = b"", kind: str = "image/png") -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": coded(data or png())}}


def document(data: bytes) -> Json:
    return {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": coded(data)},
    }


@asynccontextmanager
async def seeing(
    *eyes: Answer, model: Answer = OK, rules: str = BLIND, table: str = "", eye_rules: str = ""
) -> AsyncIterator[tuple[Gateway, Upstream, Upstream]]:
    """A gateway whose model p0/m has p1/eyes to see with, and both upstreams."""
    async with upstream(model) as said, upstream(*eyes) as seen:
        config = parse(
            f'[server]\nport = 0\n[retry]\ntries = 1\n[providers.p0]\nbase_url = "{said.url}"\n{rules}'
            f'[providers.p1]\nbase_url = "{seen.url}"\n{eye_rules}\n[routes]\ndefault = "p0/m"\n'
            f'[vision]\ndescribe_with = "p1/eyes"\n{table}',
            "test.toml",
        )
        async with gateway(config) as running:
            yield running, said, seen


def told(script: Upstream) -> str:
    return json.dumps(script.exchanges[-1].body["messages"])


async def test_the_model_reads_what_another_sees() -> None:
    async with seeing(Say("A red square.")) as (running, said, seen):
        answer = await running.ask(messages=[user(image(), text("What is it?"))])
        assert (answer.status, answer.text) == (200, "ok")
        described = '<image_description by="p1/eyes">\nA red square.\n</image_description>\n\nWhat is it?'
        assert said.exchanges[0].body["messages"][0]["content"] == described
        assert "p1/eyes describes it" in answer.headers["latimer-report"]
        assert answer.headers["latimer-route"] == "p0/m"
        (question,) = seen.exchanges
        assert question.body["model"] == "eyes"
        parts = question.body["messages"][0]["content"]
        assert parts[0]["image_url"]["url"] == f"data:image/png;base64,{coded(png())}"
        assert parts[1]["text"] == PROMPT


async def test_each_picture_is_asked_about_once_and_stays_the_same() -> None:
    async with seeing(Say("one"), Say("two"), Say("three")) as (running, said, seen):
        first = [user(image(), document(pdf("text", None)), text("?"))]
        await running.ask(messages=first)
        assert len(seen.exchanges) == 2
        before = said.exchanges[0].body["messages"]
        later = [*first, assistant(call("toolu_A")), user(result("toolu_A", [image(), image(png(4, 4))]))]
        await running.ask(messages=later)
        assert len(seen.exchanges) == 3, "only the new one"
        assert said.exchanges[1].body["messages"][:1] == before
        assert "three" in told(said)


async def test_requests_at_the_same_time_ask_once() -> None:
    async with seeing(Say("once")) as (running, said, seen):
        asked = [running.ask(messages=[user(image())]) for _ in range(4)]
        assert [answer.text for answer in await asyncio.gather(*asked)] == ["ok"] * 4
        assert len(seen.exchanges) == 1
        assert len(said.exchanges) == 4


async def test_a_refusal_of_images_teaches_to_describe_them() -> None:
    async def blind(exchange: Any) -> None:
        if "image_url" in exchange.raw.decode():
            await exchange.play(NO_IMAGES)
        else:
            await exchange.play(Say("I read it.", usage=USAGE).streamed("m", include_usage=True))

    async with seeing(Say("A red square."), model=blind, rules="") as (running, said, seen):
        answer = await running.ask(messages=[user(image())])
        assert answer.text == "I read it."
        assert "A red square." in told(said)
        assert len(said.exchanges) == 2
        await running.ask(messages=[user(image())])
        assert len(said.exchanges) == 3, "the lesson is kept"
        assert len(seen.exchanges) == 1


async def test_requests_without_images_do_not_ask() -> None:
    async with seeing(hang) as (running, _, seen):
        assert (await running.ask()).text == "ok"
        assert (await running.ask(messages=[user(document(pdf("text")))])).text == "ok"
        assert not seen.exchanges


@pytest.mark.parametrize(
    ("eyes", "table", "eye_rules", "why"),
    [
        (Wire((b"{}",), 500), "", "", "api_error"),
        (hang, "timeout_seconds = 0.1", "", "no answer in 0.1 s"),
        (Say(""), "", "", ""),
        (NO_IMAGES, "", "", "invalid_request_error"),
        (Say("I see nothing"), "", "[providers.p1.media]\nimages = false\n", "invalid_request_error"),
    ],
    ids=["broken", "slow", "silent", "blind", "known to be blind"],
)
async def test_without_a_description_there_is_a_mark(eyes: Answer, table: str, eye_rules: str, why: str) -> None:
    async with seeing(eyes, table=table, eye_rules=eye_rules) as (running, said, seen):
        for _ in range(2):
            answer = await running.ask(messages=[user(image(), text("?"))])
            assert answer.text == "ok"
            assert said.exchanges[-1].body["messages"][0]["content"] == f"{UNDESCRIBED}\n\n?"
            assert why in answer.headers["latimer-report"]
        assert len(seen.exchanges) <= 2, "a model that failed is left alone for a while"


async def test_the_newest_images_come_first() -> None:
    async with seeing(Say("seen"), table="max_images = 1") as (running, said, seen):
        await running.ask(messages=[user(image(png(2, 2)), text("and"), image(png(3, 3)))])
        content = said.exchanges[0].body["messages"][0]["content"]
        assert content.startswith(f"{UNDESCRIBED}\n\nand\n\n<image_description")
        assert coded(png(3, 3)) in told(seen)


async def test_a_client_that_leaves_stops_the_question() -> None:
    async with seeing(hang) as (running, _, seen):
        task = asyncio.create_task(running.ask(messages=[user(image())]))
        await eventually(lambda: bool(seen.exchanges))
        task.cancel()
        await eventually(seen.exchanges[0].gone.is_set)


async def test_what_stands_in_a_broken_file_is_not_logged() -> None:
    async with seeing() as (running, said, _):
        await running.ask(messages=[user(document(CANARY.encode() + b"%%EOF"), image(b"BM" + CANARY.encode()))])
        assert "cannot be read" in told(said)


async def test_counting_asks_nobody() -> None:
    async with seeing(hang) as (running, _, seen):
        body = {"model": "claude", "messages": [user(image())]}
        assert (await running.post("/v1/messages/count_tokens", body)).json["input_tokens"] > 0
        assert not seen.exchanges


async def test_without_a_vision_model_nothing_is_asked() -> None:
    async with upstream(Say("ok")) as said:
        config = parse(
            f'[server]\nport = 0\n[providers.p0]\nbase_url = "{said.url}"\n{BLIND}[routes]\ndefault = "p0/m"', "t.toml"
        )
        async with gateway(config) as running:
            await running.ask(messages=[user(image())])
        assert said.exchanges[0].body["messages"][0]["content"] == UNSEEN


async def test_a_url_is_passed_on_and_a_cut_answer_is_marked() -> None:
    asked: list[Json] = []

    async def ask(question: bytes) -> bytes:
        asked.append(json.loads(question))
        content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": " half "}]
        return json.dumps({"id": "x", "model": "m", "content": content, "stop_reason": "max_tokens"}).encode()

    picture = Picture(url="https://example.invalid/a.png")
    known = await Describer(Vision("p/eyes", "What?", 7), ask).describe({picture.name: picture})
    found = known(picture.name)
    assert found is not None
    assert found.text == "half\n[the description is cut off here]"
    assert asked[0]["max_tokens"] == 7
    assert asked[0]["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "url", "url": picture.url}},
        {"type": "text", "text": "What?"},
    ]
