"""Routes: resolved once, told of everything that is learned, shared with other processes."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.errors.error_body import ErrorBody
from latimer.errors import Failure, Rejection
from latimer.policy.config import Config, parse
from latimer.policy.knowledge import LIFETIMES, Finding, Source
from latimer.shell import routes as routes_module
from latimer.shell.routes import Routes
from latimer.shell.state import Store
from latimer.shell.upstream import UpstreamError
from tests.policy.test_lessons import FIELDS, NO_FILES, NOTHING, WORDS
from tests.scenarios.replies import Wire
from tests.shell.harness import PROMPT, Exchange, config_for, eventually, gateway, upstream

CONFIG = """
[providers.a]
base_url = "http://127.0.0.1:1/v1"
[providers.a.request]
top_k = true
[providers.b]
base_url = "http://127.0.0.1:2/v1"
[providers.b.tools]
max_count = 7
[routes]
opus = ["a/m", "b/m"]
default = "a/m"
"""


@pytest.fixture
def config() -> Config:
    return parse(CONFIG, "my.toml")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "LOOK_SECONDS", 0.0)


@asynccontextmanager
async def running(config: Config, state: Path | None = None) -> AsyncIterator[Routes]:
    routes = Routes(config, Store(state) if state else None)
    try:
        yield routes
    finally:
        await routes.close()


def refusal(message: str, *sent: str, status: int = 400, param: str = "") -> UpstreamError:
    error = UpstreamError(Failure("invalid_request_error", "refused"), status, ErrorBody(message=message, param=param))
    error.sent = frozenset(sent)
    return error


NO_TOP_P = refusal("Unknown parameter: 'top_p'", "top_p")
NO_USER = refusal("Unknown parameter: 'temperature'", "temperature")


def found(window: int, source: Source = "probe", at: float | None = None) -> Finding:
    return Finding({"request": {"context_window": window}}, "because", source, int(at or time.time()))


def window(routes: Routes, model_id: str = "any") -> int:
    return routes.chain(model_id)[0].profile.request.context_window


# --- resolved once ---


async def test_a_chain_is_resolved_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(config) as routes:
        first = routes.chain("claude-opus-5-5")
        assert [route.name for route in first] == ["a/m", "b/m"]
        monkeypatch.setattr(routes_module, "routes_for", None)
        assert routes.chain("claude-opus-5-5") is first


async def test_ids_that_clients_make_up_do_not_fill_the_memory(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "MOST_MODELS", 5)
    async with running(config) as routes:
        for number in range(100):
            routes.chain(f"made-up-{number}")
        assert len(routes._chains) <= 5


async def test_an_id_without_a_route(config: Config) -> None:
    only = parse(CONFIG.replace('default = "a/m"', ""), "my.toml")
    async with running(only) as routes:
        for _ in range(2):
            with pytest.raises(Rejection):
                routes.chain("unknown")


async def test_the_least_number_of_tools_of_a_chain(config: Config) -> None:
    async with running(config) as routes:
        assert (routes.most_tools("opus"), routes.most_tools("any")) == (7, 128)


# --- lessons and notes ---


async def test_a_lesson_changes_the_route_for_all(config: Config) -> None:
    async with running(config) as routes:
        route = routes.chain("any")[0]
        learned = routes.learn(route, NO_TOP_P)
        assert learned is not None
        assert learned[0].profile.request.drop == {"top_p"}
        assert learned[1].why == "the upstream takes no top_p"
        assert routes.chain("any")[0] == learned[0]
        assert routes.chain("opus")[1].profile.request.drop == frozenset()


async def test_requests_that_ran_into_the_same_refusal(config: Config) -> None:
    """Each goes on with all that is known, and it is learned once."""
    async with running(config) as routes:
        before = routes.chain("any")[0]
        first, second = routes.learn(before, NO_TOP_P), routes.learn(before, NO_TOP_P)
        assert first is not None
        assert first == second
        third = routes.learn(before, NO_USER)
        assert third is not None
        assert third[0].profile.request.drop == {"top_p", "temperature"}


async def test_the_users_words_count_more(config: Config) -> None:
    async with running(config) as routes:
        route = routes.chain("any")[0]
        assert routes.learn(route, refusal("top_k is not supported by this model", "top_k")) is None
        assert routes.learned == {}


TOOLS_AND_REASONING = refusal(
    "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. "
    "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
    "tools",
    "reasoning_effort",
    param="reasoning_effort",
)


async def test_another_api_is_learned_and_unlearned(config: Config, tmp_path: Path) -> None:
    async with running(config, tmp_path) as routes:
        first = routes.learn(routes.chain("any")[0], TOOLS_AND_REASONING)
        assert first is not None
        assert first[0].profile.endpoint.dialect == "responses"
        second = routes.learn(first[0], refusal("Not Found", status=404))
        assert second is not None
        assert (second[0].profile.endpoint.dialect, second[0].profile.endpoint.missing) == ("chat", {"responses"})
    async with running(config, tmp_path) as again:
        third = again.learn(again.chain("any")[0], TOOLS_AND_REASONING)
        assert third is not None
        assert third[0].profile.endpoint == second[0].profile.endpoint
        assert set(third[0].profile.reasoning.efforts.values()) == {"none"}
        assert again.learn(third[0], TOOLS_AND_REASONING) is None


@pytest.mark.parametrize("words", ['dialect = "chat"', 'endpoint = { dialect = "chat" }'])
async def test_where_the_user_chose_the_api_the_lesson_is_for_that_one(words: str) -> None:
    text = f'[providers.a]\nbase_url = "http://127.0.0.1:1/v1"\n{words}\n[routes]\ndefault = "a/m"\n'
    async with running(parse(text, "my.toml")) as routes:
        taught = routes.learn(routes.chain("any")[0], TOOLS_AND_REASONING)
        assert taught is not None
        assert taught[0].profile.endpoint.dialect == "chat"
        assert set(taught[0].profile.reasoning.efforts.values()) == {"none"}
        assert taught[1].why == "the model takes tools only without reasoning"
        assert list(routes.learned["a/m"]) == ["reasoning"]


async def test_a_note_counts_from_the_next_request_on(config: Config) -> None:
    async with running(config) as routes:
        assert window(routes) == 0
        routes.note(routes.chain("any")[0], found(9000))
        assert window(routes) == 9000
        routes.note(routes.chain("any")[0], found(8000))
        assert window(routes) == 8000


async def test_what_has_expired_is_forgotten(config: Config, quick: None) -> None:
    async with running(config) as routes:
        routes.note(routes.chain("any")[0], found(9000, at=time.time() - LIFETIMES["probe"] - 5))
        await asyncio.sleep(0)
        assert window(routes) == 0


async def test_threads_never_keep_what_was_known_before(config: Config, quick: None) -> None:
    """Requests are parsed in threads while the loop learns."""
    wrong: list[int] = []
    stop = threading.Event()
    least = [0]

    def ask() -> None:
        while not stop.is_set():
            floor = least[0]
            if window(routes, "any") < floor:
                wrong.append(floor)

    async with running(config) as routes:
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(1, 300):
            routes.note(routes.chain("opus")[0], found(number))
            least[0] = number
            await asyncio.sleep(0)
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


# --- the file ---


async def test_a_lesson_outlives_the_process(config: Config, tmp_path: Path) -> None:
    async with running(config, tmp_path) as routes:
        routes.learn(routes.chain("any")[0], NO_TOP_P)
    async with running(config, tmp_path) as again:
        assert again.chain("any")[0].profile.request.drop == {"top_p"}


async def test_what_engines_tell_is_never_written(config: Config, tmp_path: Path) -> None:
    async with running(config, tmp_path) as routes:
        routes.note(routes.chain("any")[0], found(9000, "engine"))
        assert window(routes) == 9000
    assert not (tmp_path / "learned.json").exists()


async def test_processes_hear_of_each_other(config: Config, tmp_path: Path, quick: None) -> None:
    async with running(config, tmp_path) as one, running(config, tmp_path) as two:
        one.learn(one.chain("any")[0], NO_TOP_P)
        await eventually(lambda: two.chain("any")[0].profile.request.drop == {"top_p"})
        two.learn(two.chain("any")[0], NO_USER)
        await eventually(lambda: one.chain("any")[0].profile.request.drop == {"top_p", "temperature"})


async def test_what_another_process_forgets_stays_forgotten(config: Config, tmp_path: Path, quick: None) -> None:
    async with running(config, tmp_path) as routes:
        routes.learn(routes.chain("any")[0], NO_TOP_P)
        await routes.close()
        Store(tmp_path).change(lambda kept: kept.forgetting("a/m"))
        assert routes.chain("any")[0].profile.request.drop == frozenset()
        routes.learn(routes.chain("any")[0], NO_USER)
        await routes.close()
        assert routes.chain("any")[0].profile.request.drop == {"temperature"}
    (kept,) = Store(tmp_path).read().routes.values()
    assert [one.why for one in kept] == ["the upstream takes no temperature"]


async def test_the_file_is_asked_every_few_seconds_only(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real: Callable[[Store], object] = Store.stamp
    monkeypatch.setattr(Store, "stamp", lambda self: asked.append(1) or real(self))
    async with running(config, tmp_path) as routes:
        for _ in range(100):
            routes.chain("any")
    assert len(asked) == 1


async def test_a_disk_that_fails_fails_no_request(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    caplog.set_level(logging.WARNING)
    async with running(config, tmp_path / "file") as routes:
        assert routes.learn(routes.chain("any")[0], NO_TOP_P) is not None
        await routes.close()
        assert routes.chain("any")[0].profile.request.drop == {"top_p"}
    assert "what was learned is not kept" in caplog.text


async def test_writing_does_not_hold_up_the_loop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_loop = threading.get_ident()
    seen: list[int] = []
    real = Store.change

    def change(self: Store, edit: Callable[..., object]) -> object:
        seen.append(threading.get_ident())
        return real(self, edit)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "change", change)
    async with running(config, tmp_path) as routes:
        routes.learn(routes.chain("any")[0], NO_TOP_P)
    assert seen
    assert in_loop not in seen


SAMPLES = [(status, message) for status, message, *_ in [*FIELDS, *WORDS, *NO_FILES, *NOTHING]]


@given(st.sampled_from(SAMPLES), st.text(min_size=8), st.text(min_size=8))
def test_nothing_of_what_an_upstream_says_is_kept(sample: tuple[int, str], before: str, after: str) -> None:
    """A message may quote the prompt. Reasons are Latimer's own, and so are the rules."""
    marked = f"kumquat {before} {sample[1]} {after} kumquat"
    config = parse(CONFIG, "my.toml")
    routes = Routes(config)
    error = refusal(marked, "top_p", "user", "reasoning_effort", "max_tokens", "tools", status=sample[0])
    asyncio.run(_learned(routes, error))
    kept = json.dumps(dict(routes.learned))
    assert "kumquat" not in kept
    assert "kumquat" not in str(routes.own)


async def _learned(routes: Routes, error: UpstreamError) -> None:
    routes.learn(routes.chain("any")[0], error)


# --- through the gateway ---


async def test_the_second_process_is_right_at_once(tmp_path: Path) -> None:
    async def picky(exchange: Exchange) -> None:
        bad = "temperature" in exchange.body
        text = b'{"error":{"message":"Unknown parameter: \'temperature\'"}}'
        good = b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}'
        await exchange.play(Wire((text if bad else good,), status=400 if bad else 200))

    async with upstream(picky) as script:
        for tries in (2, 3):
            async with gateway(config_for(script.url), state=tmp_path) as client:
                answer = await client.ask(temperature=0.5)
                assert answer.status == 200
                assert len(script.exchanges) == tries
    text = (tmp_path / "learned.json").read_text()
    assert PROMPT not in text
    assert "the upstream takes no temperature" in text


RESPONSE = {
    "id": "resp_1",
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}],
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


async def test_a_refusal_in_chat_is_answered_by_responses(tmp_path: Path) -> None:
    """The second attempt goes to the other API; the second process goes there at once."""
    said = {"error": {"message": TOOLS_AND_REASONING.error.message, "param": "reasoning_effort"}}

    async def refuse(exchange: Exchange) -> None:
        await exchange.play(Wire((json.dumps(said).encode(),), status=400))

    async with upstream(refuse, others={"/v1/responses": RESPONSE}) as script:
        for number in (1, 2):
            async with gateway(config_for(script.url), state=tmp_path) as client:
                answer = await client.ask(tools=[{"name": "f", "input_schema": {"type": "object"}}])
            assert answer.status == 200, answer.body
            assert len(script.exchanges) == 1
            assert script.asked.count("POST /v1/responses") == number
            assert ("in the Responses API only" in answer.headers.get("latimer-report", "")) == (number == 1)


async def test_a_refusal_of_an_upstream_that_speaks_messages(tmp_path: Path) -> None:
    bodies: list[dict[str, object]] = []

    def messages(raw: bytes) -> Wire:
        bodies.append(json.loads(raw))
        if "top_p" in bodies[-1]:
            said = {"type": "error", "error": {"message": "top_p: Extra inputs are not permitted"}}
            return Wire((json.dumps(said).encode(),), status=400)
        content = [{"type": "text", "text": "ok"}]
        answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content}
        usage = {"input_tokens": 5, "output_tokens": 2}
        return Wire((json.dumps(answer | {"stop_reason": "end_turn", "usage": usage}).encode(),))

    async with upstream(others={"/v1/messages": messages}) as script:
        async with gateway(config_for(script.url, rules='dialect = "messages"'), state=tmp_path) as client:
            for _ in range(2):
                answer = await client.ask(stream=False, top_p=0.5)
                assert answer.status == 200, answer.body
        assert ["top_p" in body for body in bodies] == [True, False, False]
