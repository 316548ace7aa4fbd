"""The real Claude Code, newest and half a year old, through Latimer, on a scripted upstream.

Each test looks at both ends: at what the client prints, and at what the upstream received.
"""

import json
import socket
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, OLDER, SKIP_PERMISSIONS, ClaudeCode
from tests.latimer_process import Latimer, configured, latimer
from tests.scenarios import coding, files
from tests.scenarios.replies import Call, Say, events, failure, html
from tests.scenarios.rules import Rules
from tests.upstream import Exchange, Reply, Upstream, conversation

# The client's own retries wait up to half a minute; where only the message counts, one is enough.
FEW_RETRIES = {"CLAUDE_CODE_MAX_RETRIES": "1"}
THINKING = Rules(message_keys=frozenset({"reasoning_content"}))


@pytest.fixture(params=[NEWEST, OLDER])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def claude(version: str, gateway: Latimer, tmp_path: Path) -> ClaudeCode:
    return ClaudeCode(version, tmp_path / "home", gateway.url)


def assert_grows(exchanges: Iterable[Exchange]) -> None:
    """Each request begins with the one before it, so that the upstream's prompt cache holds."""
    for before, after in pairwise(exchanges):
        earlier, later = ([json.dumps(message) for message in each.messages] for each in (before, after))
        assert later[: len(earlier)] == earlier, f"request {after.number} rewrote history"
        tools = [json.dumps(tool) for tool in before.body["tools"]]
        assert [json.dumps(tool) for tool in after.body["tools"]][: len(tools)] == tools


def test_plain_answer(claude: ClaudeCode, upstream: Upstream) -> None:
    usage = {
        "prompt_tokens": 9000,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4000},
    }
    upstream.play([Say("Hello from the upstream.", usage=usage)])
    run = claude.ask("say hello")
    assert (run.text, run.failed, run.code) == ("Hello from the upstream.", False, 0)
    assert run.usage["input_tokens"] == 5000
    assert run.usage["cache_read_input_tokens"] == 4000
    assert run.usage["output_tokens"] == 7
    (exchange,) = upstream.exchanges
    assert exchange.messages[0]["role"] == "system"
    assert "say hello" in exchange.said("user")[-1]
    assert {"Bash", "Read", "Write", "Edit", "Agent"} <= set(exchange.tools)


def test_unknown_model_name(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play([Say("Any name will do.")])
    run = claude.ask("say hello", model="MiniMax-M2.7")
    assert run.text == "Any name will do."
    assert list(run.result["modelUsage"]) == ["MiniMax-M2.7"]


def test_tool_loop_with_a_failing_command(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.failing_loop())
    run = claude.ask("do the three steps", *SKIP_PERMISSIONS)
    assert run.text.startswith("The command in the middle said: ")
    assert "broken" in run.text
    assert [bool(result.get("is_error")) for result in run.tool_results] == [False, True, False]
    assert (claude.project / "made.txt").read_text() == "first\n"
    assert len(upstream.exchanges) == 4
    results = upstream.last.results
    assert [result.strip() for result in (results[0], results[2])] == ["first", "first"]
    assert results[1].startswith("Error"), "the model must hear that the command failed"
    assert "3" in results[1]
    assert_grows(upstream.exchanges)


def test_two_parallel_tool_calls(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.parallel())
    run = claude.ask("run both", *SKIP_PERMISSIONS)
    assert run.text == "They said alpha and beta."
    assert [use["input"]["command"] for use in run.tool_uses] == ["echo alpha", "echo beta"]
    first, second = upstream.exchanges
    (turn,) = (message for message in second.messages if "tool_calls" in message)
    assert [json.loads(call["function"]["arguments"])["command"] for call in turn["tool_calls"]] == [
        "echo alpha",
        "echo beta",
    ]
    assert_grows((first, second))


def test_reading_a_picture_and_a_pdf(claude: ClaudeCode, upstream: Upstream) -> None:
    (claude.project / "red.png").write_bytes(files.png())
    (claude.project / "cargo.pdf").write_bytes(files.pdf(coding.CARGO))
    upstream.play(coding.reading(claude.project))
    run = claude.ask("look at both", *SKIP_PERMISSIONS)
    assert run.text == "I have seen both."
    images = [part for part in upstream.last.parts if part["type"] == "image_url"]
    assert len(images) == 1, conversation(upstream.last)
    documents = [part for part in upstream.last.parts if part["type"] == "file"]
    assert coding.CARGO in upstream.last.text or documents, conversation(upstream.last)
    assert_grows(upstream.exchanges)


def test_tool_search_then_a_deferred_tool(claude: ClaudeCode, version: str, upstream: Upstream) -> None:
    upstream.play(coding.tool_search("CronList", {}))
    # The older client has tool search too, but must be asked for it.
    run = claude.ask("list the jobs", *SKIP_PERMISSIONS, environment={"ENABLE_TOOL_SEARCH": "true"})
    assert run.text.startswith("CronList answered: ")
    assert [use["name"] for use in run.tool_uses] == ["ToolSearch", "CronList"]
    assert not any(result.get("is_error") for result in run.tool_results)
    before, found, after = upstream.exchanges
    assert "CronList" not in before.tools
    assert "CronList" in found.tools
    assert "CronList" in after.tools
    assert found.results[0].strip(), "the model must be told what it found"
    assert "CronList" in found.results[0]
    assert_grows(upstream.exchanges)


def test_thinking_model_that_wants_its_thoughts_back(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.thinking(), rules=THINKING)
    first = claude.ask("find the treasure", *SKIP_PERMISSIONS)
    assert first.text == "I found treasure."
    second = claude.ask("again, please", *SKIP_PERMISSIONS, more=True)
    assert second.text == "I found treasure."
    turns = [message for message in upstream.last.messages if message["role"] == "assistant"]
    assert [turn["reasoning_content"] for turn in turns] == list(coding.THOUGHTS[:2])
    assert_grows(upstream.exchanges[:2])


def test_chinese_split_inside_characters(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.chinese)
    assert claude.ask("用中文回答").text == coding.CHINESE
    assert "用中文回答" in upstream.last.said("user")[-1]


def test_rate_limit_then_success(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.limited_once())
    run = claude.ask("be patient")
    assert run.text == "Patience pays."
    limited, served = upstream.exchanges
    assert served.arrived - limited.arrived >= 1, "retry-after was not honoured"


def test_overflow_after_several_turns_ends_in_compaction(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.overflowing(room=25_000))
    padding = "lorem ipsum " * 3000
    runs = []
    for turn in range(1, 6):
        runs.append(claude.ask(f"{padding} turn {turn}", more=turn > 1))
        if runs[-1].named("compact_boundary"):
            break
    assert [run.text for run in runs] == [f"Noted turn {turn}." for turn in range(1, len(runs) + 1)]
    assert len(runs) > 2, "the overflow came too early to prove anything"
    assert runs[-1].named("compact_boundary"), "nothing was compacted"
    assert coding.SUMMARY in upstream.last.text
    assert claude.ask("turn 9", more=True).text == "Noted turn 9."
    assert coding.SUMMARY in upstream.last.text


@pytest.mark.parametrize("script", [coding.dying, coding.stopping_early])
def test_upstream_that_fails_mid_stream(claude: ClaudeCode, upstream: Upstream, script: type) -> None:
    upstream.play(script())
    run = claude.ask("say something")
    assert run.text in {"Back from the dead.", "Whole at last."}
    assert not run.failed
    assert len(upstream.exchanges) == 2


def test_error_in_a_stream_after_some_text(claude: ClaudeCode, upstream: Upstream) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": coding.PARTIAL}, "finish_reason": None}]}
    error = {"error": {"message": "The server is overloaded", "type": "server_error", "code": 503}}
    upstream.play(coding.first_then(lambda _: events(chunk, error), Say("All well now.")))
    assert claude.ask("say something").text == "All well now."


def test_error_in_a_stream_before_any_text(claude: ClaudeCode, upstream: Upstream) -> None:
    error = {"error": {"message": "The server is overloaded", "type": "server_error", "code": 503}}
    upstream.play(coding.first_then(lambda _: events(error), Say("All well now.")))
    assert claude.ask("say something").text == "All well now."


def test_reports_and_counts_inside_a_stream_disturb_nobody(claude: ClaudeCode, upstream: Upstream) -> None:
    """An unknown finish reason is reported in a comment; long hidden thinking has its estimated tokens."""
    upstream.play([Say("Here it is.", reasoning="Let me think. " * 60, finish="odd")])
    run = claude.ask("say something")
    assert run.text == "Here it is."
    assert not run.failed
    assert len(upstream.exchanges) == 1


def test_server_error_then_success(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.first_then(lambda _: failure(500, "boom", type="server_error"), Say("All well now.")))
    assert claude.ask("say something").text == "All well now."
    assert len(upstream.exchanges) == 2


def test_silence_before_the_answer(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(lambda exchange: exchange.render(Say("Sorry, I was thinking.")).paused(4))
    run = claude.ask("think hard")
    assert run.text == "Sorry, I was thinking."
    assert len(upstream.exchanges) == 1


def test_wrong_key(version: str, upstream: Upstream, tmp_path: Path) -> None:
    upstream.key = "sk-right"
    environment = {"ACME_KEY": "sk-wrong-secret"}
    with latimer(upstream.url, "--api-key-env", "ACME_KEY", home=tmp_path, environment=environment) as gateway:
        run = ClaudeCode(version, tmp_path / "home", gateway.url).ask("say hello")
        assert run.failed
        assert "ACME_KEY" in run.text
        assert len(upstream.exchanges) == 1, "a wrong key must stop at once"
    assert "sk-wrong-secret" not in run.text + run.stderr + gateway.stdout + gateway.stderr
    assert upstream.last.headers["authorization"] == "Bearer sk-wrong-secret"
    upstream.exchanges.clear()


def test_unknown_upstream_model(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play([], rules=Rules(model="something-else"))
    run = claude.ask("say hello")
    assert run.failed
    assert "does not offer the model m" in run.text, "the message must say what to change"
    assert len(upstream.exchanges) == 1
    assert all("does not exist" in complaint for complaint in upstream.refused)
    upstream.exchanges.clear()


def test_empty_account(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(lambda _: failure(402, "Insufficient Balance", code="invalid_request_error"))
    run = claude.ask("say hello")
    assert run.failed
    assert "Insufficient Balance" in run.text or "Credit balance is too low" in run.text
    assert len(upstream.exchanges) == 1


def test_connection_refused(version: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with latimer(f"http://127.0.0.1:{port}/v1", home=tmp_path) as gateway:
        client = ClaudeCode(version, tmp_path / "home", gateway.url, FEW_RETRIES)
        run = client.ask("say hello")
    assert run.failed
    assert f"127.0.0.1:{port}" in run.text, "the message must say what could not be reached"


def test_a_web_page_instead_of_an_answer(version: str, gateway: Latimer, upstream: Upstream, tmp_path: Path) -> None:
    upstream.play(lambda _: html())
    run = ClaudeCode(version, tmp_path / "home", gateway.url, FEW_RETRIES).ask("say hello")
    assert run.failed
    assert "web page" in run.text


def test_context_command_asks_no_model(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play([])
    run = claude.ask("/context")
    assert "Context Usage" in run.text
    assert upstream.exchanges == []


def test_web_search_without_a_search_engine(claude: ClaudeCode, version: str, upstream: Upstream) -> None:
    search = Say(calls=(Call("WebSearch", {"query": "violins"}),))
    done = Say("There is no web search here.")
    look = Say(calls=(Call("ToolSearch", {"query": "select:WebSearch"}),))
    upstream.play(coding.steps(look, search, done) if version == NEWEST else coding.steps(search, done))
    run = claude.ask("search the web", *SKIP_PERMISSIONS)
    assert run.text == "There is no web search here."
    assert all("Perform a web search" not in exchange.said("user")[-1] for exchange in upstream.exchanges)


def test_structured_output(claude: ClaudeCode, upstream: Upstream) -> None:
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    upstream.play(coding.steps(Say(calls=(Call("StructuredOutput", {"count": 3}),)), Say("Three.")))
    run = claude.ask("count them", "--json-schema", json.dumps(schema))
    assert run.result["structured_output"] == {"count": 3}


def test_subagent(claude: ClaudeCode, upstream: Upstream) -> None:
    order = {"description": "Say ping", "prompt": "Answer with PING only", "subagent_type": "general-purpose"}
    begin = coding.steps(
        Say(calls=(Call("Agent", {**order, "run_in_background": False}),)),
        lambda exchange: Say(f"The agent said {exchange.results[-1]}"),
    )

    def script(exchange: Exchange) -> Reply:
        worker = "ask an agent" not in exchange.text
        return Say("PING from below") if worker else begin(exchange)  # type: ignore[return-value]

    upstream.play(script)
    run = claude.ask("ask an agent", *SKIP_PERMISSIONS)
    assert "PING from below" in run.text
    assert len(upstream.exchanges) == 3


def test_upstream_that_takes_one_system_message_only(version: str, upstream: Upstream, tmp_path: Path) -> None:
    """As many chat templates do; the client sends several, in mid-conversation too."""
    upstream.play(coding.parallel(), rules=Rules(mid_system=False))
    rules = '[providers.local.messages]\nmid_system = "tagged"\n'
    with configured(upstream.url, rules, home=tmp_path) as gateway:
        client = ClaudeCode(version, tmp_path / "home", gateway.url)
        assert client.ask("run both", *SKIP_PERMISSIONS).text == "They said alpha and beta."
        assert client.ask("and again", *SKIP_PERMISSIONS, more=True).text == "They said alpha and beta."
    assert [message["role"] for message in upstream.last.messages].count("system") == 1
    assert "Agent tool" in upstream.last.text, "what the client said as system must not be lost"


def test_many_turns_keep_the_prefix(claude: ClaudeCode, upstream: Upstream) -> None:
    """The client moves its cache marks and rewrites its own messages every turn; the upstream never notices."""

    def script(exchange: Exchange) -> Reply:
        question = exchange.said("user")[-1].strip().splitlines()[-1]
        answered = exchange.messages[-1]["role"] == "tool" or "tool" in [m["role"] for m in exchange.messages[-2:]]
        return Say(f"Answer to {question}") if answered else Say(calls=(coding.bash("echo step"),), reasoning="Hm.")

    upstream.play(script, rules=THINKING)
    for turn in range(3):
        run = claude.ask(f"question {turn}", *SKIP_PERMISSIONS, more=turn > 0)
        assert run.text == f"Answer to question {turn}"
    assert len(upstream.exchanges) == 6
    assert_grows(upstream.exchanges)
