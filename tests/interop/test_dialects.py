"""The real Claude Code through Latimer on strict upstreams that speak Responses or Messages.

`test_claude_code` has the same scenarios, and more, on Chat Completions.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, SKIP_PERMISSIONS, ClaudeCode
from tests.latimer_process import configured
from tests.scenarios import coding
from tests.scenarios.replies import Call, Say
from tests.scenarios.turns import grows
from tests.upstream import Upstream


@pytest.fixture(params=["responses", "messages"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def claude(dialect: str, upstream: Upstream, tmp_path: Path) -> Iterator[ClaudeCode]:
    with configured(upstream.url, f'dialect = "{dialect}"\n', home=tmp_path) as gateway:
        yield ClaudeCode(NEWEST, tmp_path / "home", gateway.url)
    assert {exchange.dialect for exchange in upstream.exchanges} == {dialect}


def test_tool_loop_with_a_failing_command(claude: ClaudeCode, dialect: str, upstream: Upstream) -> None:
    upstream.play(coding.failing_loop())
    run = claude.ask("do the three steps", *SKIP_PERMISSIONS)
    assert "broken" in run.text
    assert [bool(result.get("is_error")) for result in run.tool_results] == [False, True, False]
    assert len(upstream.exchanges) == 4
    if dialect == "responses":
        assert upstream.last.results[1].startswith("Error"), "the model must hear that the command failed"
        assert list(grows(dialect, [exchange.body for exchange in upstream.exchanges])) == []
    tools = [list(exchange.tools) for exchange in upstream.exchanges]
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(tools))


def test_two_parallel_tool_calls(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.parallel())
    run = claude.ask("run both", *SKIP_PERMISSIONS)
    assert run.text == "They said alpha and beta."
    assert upstream.last.rounds == 1


def test_tool_search_then_a_deferred_tool(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.tool_search("CronList", {}))
    run = claude.ask("list the jobs", *SKIP_PERMISSIONS)
    assert run.text.startswith("CronList answered: ")
    assert not any(result.get("is_error") for result in run.tool_results)


def test_thinking_model_that_wants_its_thoughts_back(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.thinking())
    assert claude.ask("find the treasure", *SKIP_PERMISSIONS).text == "I found treasure."
    assert claude.ask("again, please", *SKIP_PERMISSIONS, more=True).text == "I found treasure."
    turns = [turn for turn in upstream.last.turns if turn.role == "assistant"]
    assert [turn.reasoning for turn in turns] == list(coding.THOUGHTS[:2])


def test_chinese_split_inside_characters(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.chinese)
    assert claude.ask("用中文回答").text == coding.CHINESE


def test_usage(claude: ClaudeCode, upstream: Upstream) -> None:
    cached = {"prompt_tokens_details": {"cached_tokens": 4000}}
    upstream.play([Say("Hello.", usage={"prompt_tokens": 9000, "completion_tokens": 7, **cached})])
    usage = claude.ask("say hello").usage
    counts = [usage[name] for name in ("input_tokens", "cache_read_input_tokens", "output_tokens")]
    assert counts == [5000, 4000, 7]


def test_rate_limit_then_success(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.limited_once())
    assert claude.ask("be patient").text == "Patience pays."
    assert len(upstream.exchanges) == 2


@pytest.mark.parametrize("script", [coding.dying, coding.stopping_early])
def test_upstream_that_fails_mid_stream(claude: ClaudeCode, upstream: Upstream, script: type) -> None:
    upstream.play(script())
    run = claude.ask("say something")
    assert run.text in {"Back from the dead.", "Whole at last."}
    assert not run.failed


def test_overflow_after_several_turns_ends_in_compaction(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.overflowing(room=25_000))
    padding = "lorem ipsum " * 3000
    runs = []
    for turn in range(1, 6):
        runs.append(claude.ask(f"{padding} turn {turn}", more=turn > 1))
        if runs[-1].named("compact_boundary"):
            break
    assert [run.text for run in runs] == [f"Noted turn {turn}." for turn in range(1, len(runs) + 1)]
    assert runs[-1].named("compact_boundary"), "nothing was compacted"
    assert coding.SUMMARY in upstream.last.text


def test_structured_output(claude: ClaudeCode, upstream: Upstream) -> None:
    upstream.play(coding.steps(Say(calls=(Call("StructuredOutput", {"count": 3}),)), Say("Three.")))
    schema = '{"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}'
    assert claude.ask("count them", "--json-schema", schema).result["structured_output"] == {"count": 3}
