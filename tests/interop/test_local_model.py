"""A real model on the real llama.cpp behind `latimer serve`: the official SDK and the real Claude Code against it.

The model is small and always picks its likeliest token, so what it says is stable enough to be compared.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import pytest
from anthropic.types import Message, TextBlock, ToolUseBlock

from latimer.demo import SYSTEM_PROMPT
from latimer.local_model import MAX_ANSWER_TOKENS, LocalModel
from tests.interop.claude import NEWEST, OLDER, TOKEN, ClaudeCode
from tests.interop.sdk import MODEL, WEATHER, Sdk, assistant, result, use, user
from tests.latimer_process import serving
from tests.upstream import Upstream

CAPITAL = "What is the capital of France?"
GREETING = "Repeat after me: 你好，世界！🎉"  # noqa: RUF001 - Chinese punctuation
ECHO = "你好，世界！"  # noqa: RUF001 - as above
# llama.cpp takes no notice of a schema in its other dialects. Fewer than 16 tokens are never asked for in Responses:
# OpenAI refuses them.
only_chat = pytest.mark.parametrize("local", ["chat"], indirect=True)
but_responses = pytest.mark.parametrize("local", ["chat", "messages"], indirect=True)
both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module", params=["chat", "responses", "messages"])
def local(
    llama_server: LocalModel, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Sdk]:
    """The SDK in front of Latimer in front of the model; the scripted upstream in it is not used."""
    home = tmp_path_factory.mktemp("latimer")
    flags = ["--upstream", llama_server.base_url, "--model", llama_server.model, "--dialect", request.param]
    flags += ["--port", "0"]
    with (
        Upstream() as unused,
        serving(flags, home=home) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key=TOKEN, max_retries=0) as client,
    ):
        yield Sdk(client, gateway, unused)


def text(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def llama(server: LocalModel, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """llama.cpp's own answer to one of its own requests."""
    connection = HTTPConnection(urlsplit(server.base_url).netloc, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def true_count(server: LocalModel, messages: list[dict[str, Any]]) -> int:
    """How many tokens the model reads for these messages, by llama.cpp's own count."""
    prompt = llama(server, "/apply-template", {"messages": messages})["prompt"]
    return len(llama(server, "/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"])


@both_ways
def test_an_answer(local: Sdk, llama_server: LocalModel, streaming: bool) -> None:
    message = local.ask(streaming, CAPITAL, system=SYSTEM_PROMPT)
    assert text(message) == "The capital of France is Paris."
    assert message.stop_reason == "end_turn"
    assert message.model == MODEL
    asked = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": CAPITAL}]
    cached = message.usage.cache_read_input_tokens or 0
    assert message.usage.input_tokens + cached == true_count(llama_server, asked)
    assert message.usage.output_tokens == 8


def test_a_streamed_answer_comes_in_pieces(local: Sdk) -> None:
    events = local.events(messages=[user(CAPITAL)], system=SYSTEM_PROMPT)
    pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert len(pieces) > 3
    assert "".join(pieces) == "The capital of France is Paris."


@both_ways
@but_responses
def test_max_tokens(local: Sdk, streaming: bool) -> None:
    message = local.ask(streaming, CAPITAL, system=SYSTEM_PROMPT, max_tokens=3)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 3
    assert text(message) == "The capital of"


@both_ways
def test_stop_sequences(local: Sdk, streaming: bool) -> None:
    message = local.ask(streaming, CAPITAL, system=SYSTEM_PROMPT, stop_sequences=["Paris", "Lyon"])
    assert text(message).rstrip() == "The capital of France is"
    # llama.cpp says neither that a sequence ended the answer nor which one, so no more can be known.
    assert message.stop_reason in {"stop_sequence", "end_turn"}


def test_tokens_are_counted_as_the_model_counts_them(local: Sdk, llama_server: LocalModel) -> None:
    count = local.client.messages.count_tokens(model=MODEL, messages=[user(GREETING)], system=SYSTEM_PROMPT)
    asked = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": GREETING}]
    assert count.input_tokens == true_count(llama_server, asked)


@both_ways
def test_chinese_and_emoji_arrive_whole_both_ways(
    local: Sdk, llama_server: LocalModel, streaming: bool, request: pytest.FixtureRequest
) -> None:
    system = "You repeat what the user says."
    message = local.ask(streaming, GREETING, system=system, max_tokens=40)
    asked = [{"role": "system", "content": system}, {"role": "user", "content": GREETING}]
    count = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    # In Messages llama.cpp leaves out the event with the count where the first token is half of a character.
    untold = request.node.callspec.params == {"local": "messages", "streaming": True}
    assert count == (0 if untold else true_count(llama_server, asked))
    assert text(message).startswith(ECHO)


@both_ways
def test_a_prompt_larger_than_the_window(local: Sdk, llama_server: LocalModel, streaming: bool) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        local.ask(streaming, "word " * 9000)
    assert isinstance(caught.value.body, dict)
    words = caught.value.body["error"]["message"].split()
    assert " ".join([*words[:4], "N", *words[5:]]) == "prompt is too long: N tokens > 8192 maximum"
    assert int(words[4]) > llama_server.context_window == 8192
    # The conversation can go on.
    assert text(local.ask(streaming, CAPITAL, system=SYSTEM_PROMPT)) == "The capital of France is Paris."


@both_ways
def test_a_tool_call(local: Sdk, streaming: bool) -> None:
    """llama.cpp's own parser makes the call from what the model writes; an example in the history shows it how."""
    history = [
        user("What is the weather in Rome?"),
        assistant([use("toolu_1", city="Rome")]),
        user([result("toolu_1", "Sun")]),
        assistant("Sun in Rome."),
        user("What is the weather in Paris?"),
    ]
    message = local.ask(streaming, messages=history, tools=[WEATHER])
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
    assert [(call.name, call.input) for call in calls] == [("weather", {"city": "Paris"})]
    history += [assistant([use(calls[0].id, city="Paris")]), user([result(calls[0].id, "Rain")])]
    answer = local.ask(streaming, messages=history, tools=[WEATHER])
    assert text(answer) == "Rain in Paris."
    assert answer.stop_reason == "end_turn"


@both_ways
@only_chat
def test_an_answer_by_schema(local: Sdk, streaming: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"format": {"type": "json_schema", "schema": schema}}
    message = local.ask(streaming, "What is the weather in Paris?", output_config=form)
    assert json.loads(text(message)) == {"city": "Paris"}


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_claude_code(local: Sdk, tmp_path: Path, version: str) -> None:
    environment = {"CLAUDE_CODE_SIMPLE": "1", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(MAX_ANSWER_TOKENS)}
    client = ClaudeCode(version, tmp_path, local.gateway.url, {**environment, "ANTHROPIC_API_KEY": TOKEN})
    run = client.ask(CAPITAL, "--system-prompt", SYSTEM_PROMPT, "--tools", "")
    assert not run.failed, run.text
    assert run.code == 0
    assert run.text == "The capital of France is Paris."
    assert run.usage["output_tokens"] == 8
    assert run.usage["input_tokens"] + run.usage["cache_read_input_tokens"] > 50
    more = client.ask("What is the capital of Japan?", "--system-prompt", SYSTEM_PROMPT, "--tools", "", more=True)
    assert "Tokyo" in more.text


def probed(server: LocalModel, home: Path) -> dict[str, Any]:
    """What `latimer probe` finds out about the model, which it keeps in `home`."""
    done = subprocess.run(
        [sys.executable, "-m", "latimer", "probe", "--upstream", server.base_url, "--model", server.model, "--json"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LATIMER_STATE_DIR": str(home / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "at most" in done.stderr
    (found,) = json.loads(done.stdout)["routes"]
    result: dict[str, Any] = found
    return result


def test_a_probe_finds_the_dialects_by_itself(llama_server: LocalModel, tmp_path: Path) -> None:
    found = probed(llama_server, tmp_path)
    answers = {result["capability"]: result["answer"] for result in found["results"]}
    for there in (
        "Chat Completions",
        "Responses",
        "Messages",
        "count_tokens",
        "streaming",
        "json_schema",
        "tool results",
    ):
        assert answers[there] == "yes", there
    assert answers["prompt caching"] == "yes"
    assert answers["images"] == "no", "the server says so itself"
    # The model is far too small to call a tool when told to, which is no reason to deny it tools.
    assert answers["tools"] == "unclear"
    assert "choices" not in found["overlay"]["tools"]
    # llama.cpp keeps to a schema in Chat Completions only, and ignores it elsewhere without a word.
    assert answers["json_schema in Responses"] == answers["json_schema in Messages"] == "unclear"
    assert found["dialect"] == "chat"
    assert found["overlay"]["endpoint"] == {"count_tokens": True}
    assert found["overlay"]["request"]["context_window"] == llama_server.context_window
    # What the server is was read from its list of models, and with it came what is known of llama.cpp.
    assert found["overlay"]["tools"]["schema"] == "grammar"
    assert "Paris" not in json.dumps(found), "no answer is shown"


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_claude_code_after_a_probe(llama_server: LocalModel, tmp_path: Path, version: str) -> None:
    assert probed(llama_server, tmp_path)["dialect"] == "chat"
    environment = {"CLAUDE_CODE_SIMPLE": "1", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(MAX_ANSWER_TOKENS)}
    flags = ["--upstream", llama_server.base_url, "--model", llama_server.model, "--port", "0"]
    with serving(flags, home=tmp_path) as gateway:
        client = ClaudeCode(version, tmp_path, gateway.url, {**environment, "ANTHROPIC_API_KEY": TOKEN})
        run = client.ask(CAPITAL, "--system-prompt", SYSTEM_PROMPT, "--tools", "")
    if version == NEWEST:
        assert run.text == "The capital of France is Paris."
        assert run.usage["output_tokens"] == 8
    else:  # it names today's date in its prompt, and what so small a model says changes with the day
        assert run.text.strip()
        assert run.usage["output_tokens"] > 0
