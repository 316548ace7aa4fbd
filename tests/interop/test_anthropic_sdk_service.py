"""The official `anthropic` SDK through Latimer: errors, broken streams, token counts, models, helpers and headers."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.interop.claude import TOKEN
from tests.interop.conftest import IMPATIENT
from tests.interop.sdk import API_VERSION, CLOCK, MODEL, RECENT, WEATHER, Sdk, assistant, user
from tests.latimer_process import configured, latimer
from tests.scenarios.replies import Call, Say, Wire, events, failure, html, overflow, rate_limited
from tests.scenarios.rules import Rules
from tests.upstream import Reply, Upstream, playing

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
OVERLOADED = getattr(anthropic, "OverloadedError", None) or anthropic._exceptions.OverloadedError

FAILURES: list[tuple[Wire, type[anthropic.APIStatusError], str]] = [
    (failure(400, "Bad parameter"), anthropic.BadRequestError, "invalid_request_error"),
    (failure(401, "No such key"), anthropic.AuthenticationError, "authentication_error"),
    (failure(403, "Not for you"), anthropic.PermissionDeniedError, "permission_error"),
    # Not a 404: Claude Code would hide the text that says which provider lacks which model.
    (failure(404, "No such model", code="model_not_found"), anthropic.ConflictError, "conflict_error"),
    (failure(500, "boom", type="server_error"), anthropic.InternalServerError, "api_error"),
    (failure(503, "overloaded", type="server_error"), OVERLOADED, "overloaded_error"),
]


@both_ways
@pytest.mark.parametrize(("wire", "kind", "word"), FAILURES, ids=[word for _, _, word in FAILURES])
def test_failures_become_the_sdks_exceptions(
    sdk: Sdk, streaming: bool, wire: Wire, kind: type[anthropic.APIStatusError], word: str
) -> None:
    sdk.upstream.play(lambda _: wire)
    with pytest.raises(kind) as caught:
        sdk.ask(streaming)
    error = caught.value
    assert isinstance(error.body, dict)
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == word
    assert error.body["request_id"] == error.response.headers["request-id"]
    assert error.body["request_id"].startswith("req_")
    if word in {"authentication_error", "conflict_error"}:
        assert error.response.headers["x-should-retry"] == "false"


@both_ways
def test_a_rate_limit(streaming: bool, upstream: Upstream, tmp_path: Path) -> None:
    """In a Latimer of its own: a model that is limited is not asked again before its time."""
    upstream.play(lambda _: rate_limited("7"))
    with (
        latimer(upstream.url, home=tmp_path, config=IMPATIENT) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key=TOKEN, max_retries=0) as client,
        pytest.raises(anthropic.RateLimitError) as caught,
    ):
        Sdk(client, gateway, upstream).ask(streaming)
    assert caught.value.response.headers["retry-after"] == "7"


def test_empty_account(sdk: Sdk) -> None:
    sdk.upstream.play(lambda _: failure(429, "You exceeded your current quota", code="insufficient_quota"))
    with pytest.raises(anthropic.APIStatusError) as caught:
        sdk.ask()
    assert caught.value.status_code == 402
    assert len(sdk.upstream.exchanges) == 1


@both_ways
def test_overflow_in_openais_words(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play(lambda _: overflow(9000, 8192))
    with pytest.raises(anthropic.BadRequestError) as caught:
        sdk.ask(streaming)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["message"] == "prompt is too long: 9000 tokens > 8192 maximum"


@both_ways
def test_a_web_page_instead_of_an_answer(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play(lambda _: html())
    with pytest.raises(anthropic.APIStatusError, match="web page"):
        sdk.ask(streaming)


@both_ways
def test_a_stream_that_breaks_is_never_a_finished_answer(sdk: Sdk, streaming: bool) -> None:
    say = Say("one two three four five six", piece=4)
    sdk.upstream.play(
        [lambda exchange: exchange.render(say).cut(b"two"), lambda exchange: exchange.render(say).ended(b"two")]
    )
    for _ in range(2):
        with pytest.raises(anthropic.APIStatusError):
            sdk.ask(streaming)


def test_a_broken_tool_call_is_never_a_finished_one(sdk: Sdk) -> None:
    say = Say(calls=(Call("weather", {"city": "Oslo", "when": "tomorrow"}),), piece=4)
    sdk.upstream.play(lambda exchange: exchange.render(say).ended(b"Os"))
    found = sdk.events(tools=[WEATHER])
    assert found[-1]["type"] == "error"
    assert "message_delta" not in [event["type"] for event in found]


def test_an_error_object_in_a_stream(sdk: Sdk) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Some"}, "finish_reason": None}]}
    error = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
    sdk.upstream.play([events(error), events(chunk, error)])
    with pytest.raises(anthropic.RateLimitError):
        sdk.ask(streaming=True)
    found = sdk.events()
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["type"] == "rate_limit_error"


def test_the_events_of_a_stream_are_in_order(sdk: Sdk) -> None:
    calls = (Call("weather", {"city": "Oslo"}), Call("clock"))
    sdk.upstream.play([Say("Well, then.", calls=calls, reasoning="Hm.")])
    found = [event for event in sdk.events(tools=[WEATHER, CLOCK]) if event["type"] != "ping"]
    assert [found[0]["type"], found[-2]["type"], found[-1]["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    blocks = found[1:-2]
    order = [(event["index"], event["type"]) for event in blocks]
    assert order == sorted(order, key=lambda pair: pair[0])
    for index in range(4):
        own = [kind for at, kind in order if at == index]
        assert own[0] == "content_block_start"
        assert own[-1] == "content_block_stop"
        assert set(own[1:-1]) <= {"content_block_delta"}


def test_pings_fill_a_silence(sdk: Sdk) -> None:
    sdk.upstream.play(lambda exchange: exchange.render(Say("At last.")).paused(3.5))
    started = time.monotonic()
    found = [event["type"] for event in sdk.events()]
    assert time.monotonic() - started < 10
    assert "ping" in found
    assert found[-1] == "message_stop"


def test_arguments_are_streamed_as_they_come(sdk: Sdk) -> None:
    say = Say(calls=(Call("weather", {"city": "x" * 120}),))
    sdk.upstream.play([say])
    deltas = [event["delta"] for event in sdk.events(tools=[WEATHER]) if event["type"] == "content_block_delta"]
    assert len(deltas) > 3


def test_a_client_that_leaves_cancels_the_upstream(sdk: Sdk) -> None:
    sdk.upstream.play(lambda exchange: exchange.render(Say("word " * 200)).paced(0.1))
    messages: Any = [user("hi")]
    with sdk.client.messages.stream(model=MODEL, max_tokens=500, messages=messages) as stream:
        next(iter(stream.text_stream))
    assert sdk.upstream.last.gone.wait(2), "the upstream request outlived its client"


def test_identity_of_replies(sdk: Sdk) -> None:
    # The scripted upstream gives every reply the same id, as some servers do.
    sdk.upstream.play([Say("one"), Say("two"), Say("three")])
    replies = [sdk.ask(streaming) for streaming in (False, True, False)]
    assert len({reply.id for reply in replies}) == 3
    assert all(reply.id.startswith("msg_") for reply in replies)
    requests = [identity for reply in replies if (identity := getattr(reply, "_request_id", None))]
    assert len(set(requests)) == len(requests) >= 2
    assert all(identity.startswith("req_") for identity in requests)


def test_report_and_route_headers(sdk: Sdk) -> None:
    sdk.upstream.play([Say("one"), Say("two")])
    request: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": [user("hi")]}
    plain = sdk.client.messages.with_raw_response.create(**request)
    assert "latimer-report" not in plain.headers
    assert plain.headers["latimer-route"].endswith("/m")
    lossy = sdk.client.messages.with_raw_response.create(**request, extra_body={"safeguards": [{"type": "x"}]})
    report = json.loads(lossy.headers["latimer-report"])
    assert "safeguards" in [entry["field"] for entry in report]
    assert all(set(entry) == {"field", "action", "why"} for entry in report)
    assert {entry["action"] for entry in report} <= {"dropped", "approximated", "emulated"}


def test_sampling_by_api_version(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine")])
    if API_VERSION == "2023-06-01":
        sdk.ask(extra_body={"temperature": 0.3})
        assert sdk.upstream.last.body["temperature"] == 0.3
    else:
        with pytest.raises(anthropic.BadRequestError, match="temperature"):
            sdk.ask(extra_body={"temperature": 0.3})


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"fallbacks": [{"model": "claude-haiku-5"}]}, "fallbacks"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "code_execution"),
        ({"mcp_servers": [{"type": "url", "name": "x", "url": "https://example.invalid"}]}, "mcp_servers"),
        ({"container": "c_1"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"messages": []}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"tool_choice": {"type": "tool", "name": "absent"}, "tools": [CLOCK]}, "absent"),
    ],
)
def test_what_must_not_be_ignored_is_refused(sdk: Sdk, fields: dict[str, Any], word: str) -> None:
    sdk.upstream.play([])
    with pytest.raises(anthropic.BadRequestError, match=word):
        sdk.ask(extra_body=fields)
    assert sdk.upstream.exchanges == []


def test_prefill_is_refused(sdk: Sdk) -> None:
    with pytest.raises(anthropic.BadRequestError, match="prefill"):
        sdk.ask(messages=[user("hi"), assistant("The answer is")])


def test_threads_are_refused_in_the_words_sdks_understand(sdk: Sdk) -> None:
    for thread, status, code in (
        ({"type": "create"}, 400, "thread_unsupported_request"),
        ({"type": "continue", "previous_message_id": "msg_1"}, 404, "thread_not_found"),
    ):
        body = {"model": MODEL, "max_tokens": 9, "messages": [user("hi")], "thread": thread}
        found, _, raw = sdk.post(body)
        assert (found, json.loads(raw)["error"]["details"]["error_code"]) == (status, code)
    assert sdk.upstream.exchanges == []


def test_tool_runner(sdk: Sdk) -> None:
    """The runner sends `thread` unasked (release 2) and must fall back to whole histories."""

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        return f"sunny in {city}"

    sdk.upstream.play(
        lambda exchange: (
            Say(exchange.results[-1]) if exchange.results else Say(calls=(Call("weather", {"city": "Oslo"}),))
        )
    )
    runner = sdk.client.beta.messages.tool_runner(
        model=MODEL, max_tokens=500, tools=[weather], messages=[{"role": "user", "content": "weather?"}]
    )
    final = runner.until_done()
    assert final.content[0].model_dump()["text"] == "sunny in Oslo"
    first, second = sdk.upstream.exchanges
    assert len(second.messages) > len(first.messages)


def test_beta_routes(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine"), Say("fine")])
    message = sdk.client.beta.messages.create(
        model=MODEL, max_tokens=99, messages=[{"role": "user", "content": "hi"}], betas=["anything-2026-01-01"]
    )
    assert message.content[0].model_dump()["text"] == "fine"
    edits: Any = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    managed = sdk.client.beta.messages.create(
        model=MODEL, max_tokens=99, messages=[{"role": "user", "content": "hi"}], context_management=edits
    )
    assert managed.content[0].model_dump()["text"] == "fine"


def test_count_tokens_asks_no_model(sdk: Sdk) -> None:
    def count(text: str) -> int:
        return sdk.client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": text}]).input_tokens

    small, large = count("hi"), count("hello world, this is more " * 50)
    assert 1 <= small < large
    with ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        assert len(set(pool.map(count, ["foo"] * 25))) == 1
    assert time.monotonic() - started < 5
    assert sdk.upstream.exchanges == []


def test_models(sdk: Sdk) -> None:
    everything = list(sdk.client.models.list())
    assert len(everything) > 1
    ids = [model.id for model in everything]
    assert len(set(ids)) == len(ids)
    page = sdk.client.models.list(limit=1)
    assert [model.id for model in page.data] == ids[:1]
    assert page.has_more
    assert (page.first_id, page.last_id) == (ids[0], ids[0])
    assert [model.id for model in page] == ids, "paging must reach every model once"
    one = sdk.client.models.retrieve(ids[0])
    assert (one.id, one.type) == (ids[0], "model")
    assert one.created_at.year >= 1970
    assert one.display_name
    # Claude Code's picker drops every other id.
    assert any(identity.startswith(("claude", "anthropic")) for identity in ids)
    with pytest.raises(anthropic.NotFoundError):
        sdk.client.models.retrieve("no-such-model-anywhere")


@pytest.mark.parametrize(
    "path",
    ["/v1/messages", "/v1/messages/", "/v1/messages?beta=true", "/v1/v1/messages", "/v1/v1/messages/?beta=true&x=1"],
)
def test_paths_people_configure(sdk: Sdk, path: str) -> None:
    sdk.upstream.play([Say("fine")])
    status, _, raw = sdk.post({"model": MODEL, "max_tokens": 9, "messages": [user("hi")]}, path)
    assert (status, json.loads(raw)["content"][0]["text"]) == (200, "fine")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 3}', '{"model": "m"}'.encode("utf-16")])
def test_bodies_that_are_no_requests(sdk: Sdk, body: bytes) -> None:
    status, headers, raw = sdk.post(body)
    error = json.loads(raw)
    assert (status, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
    assert error["request_id"] == headers["request-id"]


def test_a_token_of_our_own(tmp_path: Path) -> None:
    config = '[server]\ntoken = "env:LATIMER_TOKEN"\n'
    with (
        playing(lambda _: Say("fine")) as upstream,
        latimer(upstream.url, home=tmp_path, config=config, environment={"LATIMER_TOKEN": "let-me-in"}) as gateway,
    ):
        for key, token in (("let-me-in", None), (None, "let-me-in")):
            with anthropic.Anthropic(base_url=gateway.url, api_key=key, auth_token=token, max_retries=0) as client:
                assert Sdk(client, gateway, upstream).ask().stop_reason == "end_turn"
        with anthropic.Anthropic(base_url=gateway.url, api_key="wrong", max_retries=0) as client:
            with pytest.raises(anthropic.AuthenticationError) as caught:
                Sdk(client, gateway, upstream).ask()
            assert caught.value.response.headers["x-should-retry"] == "false"
        assert len(upstream.exchanges) == 2
        assert all("let-me-in" not in str(exchange.headers) for exchange in upstream.exchanges)


@both_ways
def test_the_sdks_own_retries_work(tmp_path: Path, streaming: bool) -> None:
    config = "[retry]\ntries = 1\n"
    replies: list[Reply] = [failure(503, "overloaded", headers={"retry-after": "1"}), Say("fine")]
    with (
        playing(replies) as upstream,
        latimer(upstream.url, home=tmp_path, config=config) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=1) as client,
    ):
        assert Sdk(client, gateway, upstream).ask(streaming).stop_reason == "end_turn"
    assert (API_VERSION == "2026-10-21") == RECENT


@both_ways
def test_an_upstream_that_is_asked_for_whole_replies(tmp_path: Path, streaming: bool) -> None:
    say = Say("Here.", calls=(Call("weather", {"city": "奥斯陆"}),), reasoning="Hm.")
    with (
        playing([say]) as upstream,
        configured(upstream.url, '[providers.local.request]\nstream = "as_asked"\n', home=tmp_path) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0) as client,
    ):
        blocks = [
            block.model_dump() for block in Sdk(client, gateway, upstream).ask(streaming, tools=[WEATHER]).content
        ]
        assert upstream.last.streaming == streaming
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    assert blocks[2]["input"] == {"city": "奥斯陆"}


def test_a_model_without_eyes(tmp_path: Path) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.invalid/cat.png"}}
    with (
        playing([Say("I can not see.")], rules=Rules(images=False)) as upstream,
        configured(upstream.url, "[providers.local.media]\nimages = false\n", home=tmp_path) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0) as client,
    ):
        question: Any = [user([{"type": "text", "text": "?"}, image])]
        raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=9, messages=question)
        assert "image" in raw.headers["latimer-report"]
        assert upstream.refused == []
        assert "image" in upstream.last.text
