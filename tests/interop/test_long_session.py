"""The real Claude Code in long conversations, on an upstream that answers 400 to whatever is malformed.

Esc, a crash, an overflow with its compaction and `-c` leave histories behind that no server would take as they are. The
upstream refuses none of them, and a prompt cache holds wherever the history goes on.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, OLDER, SKIP_PERMISSIONS, ClaudeCode
from tests.interop.session import Session, rewritten
from tests.latimer_process import configured
from tests.scenarios import coding, files
from tests.scenarios.replies import Call, Say, overflow
from tests.scenarios.rules import Rules
from tests.upstream import Exchange, Reply, Upstream

STRICT = Rules(message_keys=frozenset({"reasoning_content"}))
RULES = """[providers.local.request]
session_key = "prompt_cache_key"
[providers.local.cache]
session_headers = ["x-session-affinity"]
"""
TAGGED = '[providers.local.messages]\nmid_system = "tagged"\n'
TURN = re.compile(r"turn (\d+): (\w+)")
TURNS = 30
PLAN = {
    3: "both",
    5: "look",
    7: "hang",
    9: "find",
    11: "stall",
    13: "nothing",
    15: "both",
    19: "overflow",
    23: "find",
    25: "hang",
}
CRASH = 25
FOREVER = "tail -f /dev/null"
STEPS: dict[str, list[Say]] = {
    "run": [Say("One step.", calls=(coding.bash("echo one"),), reasoning="I run it.")],
    "both": [Say("Both.", calls=(coding.bash("echo alpha"), coding.bash("echo beta >&2; exit 3")))],
    "find": [Say(calls=(Call("ToolSearch", {"query": "select:CronList"}),)), Say(calls=(Call("CronList", {}),))],
    "look": [Say(calls=(Call("Read", {"file_path": "red.png"}), Call("Read", {"file_path": "cargo.pdf"})))],
    "nothing": [Say(calls=(Call("NoSuchTool", {"a": 1}), coding.bash("true")))],
    "hang": [Say("Three.", calls=(coding.bash(FOREVER), coding.bash("echo b"), coding.bash(FOREVER)))],
}
"""What the model does in a turn before its last words. `stall` is a call that it never finishes to write."""


@pytest.fixture(params=[(NEWEST, ""), (OLDER, ""), (NEWEST, TAGGED)], ids=[NEWEST, OLDER, "tagged"])
def claude(request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path) -> Iterator[ClaudeCode]:
    version, more = request.param
    with configured(upstream.url, RULES + more, home=tmp_path) as gateway:
        # The older client has tool search too, but must be asked for it.
        client = ClaudeCode(version, tmp_path / "home", gateway.url, {"ENABLE_TOOL_SEARCH": "true"})
        (client.project / "red.png").write_bytes(files.png())
        (client.project / "cargo.pdf").write_bytes(files.pdf(coding.CARGO))
        upstream.play(model, rules=replace(STRICT, mid_system=not more))
        yield client


def prompt(number: int) -> str:
    return f"turn {number}: {PLAN.get(number, 'run' if number % 2 else 'talk')}"


def turn_of(exchange: Exchange) -> tuple[int, str]:
    """The newest of the user's prompts, and what it wants."""
    number, wanted = TURN.findall("\n".join(exchange.said("user")))[-1]
    return int(number), wanted


def rounds(exchange: Exchange) -> int:
    """How often the model has called tools since the newest prompt."""
    calls = 0
    for message in reversed(exchange.messages):
        if message["role"] == "user" and TURN.search(str(message["content"])):
            break
        calls += "tool_calls" in message
    return calls


def overflows(exchange: Exchange) -> bool:
    return turn_of(exchange)[1] == "overflow" and coding.SUMMARY not in exchange.text


def model(exchange: Exchange) -> Reply:
    """Does in each turn what its prompt wants."""
    if coding.is_compaction(exchange):
        return Say(f"<analysis>short</analysis><summary>{coding.SUMMARY}</summary>")
    if overflows(exchange):
        return overflow(150_000, 131_072)
    number, wanted = turn_of(exchange)
    if wanted == "stall":
        endless = Say("I will write.", calls=(coding.bash("echo " + "x" * 400),))
        return exchange.render(endless).paused(60, after=b"xxxx")
    due, place = STEPS.get(wanted, []), rounds(exchange)
    return due[place] if place < len(due) else Say(f"Done with {number}.", reasoning="So that is that.")


def begin(session: Session, number: int) -> None:
    """Say the prompt and wait until the calls of its turn are running, or are being written."""
    session.say(prompt(number))
    if PLAN[number] == "hang":
        session.until("user")  # the result of the one that ends
    else:
        session.until("stream_event", "input_json_delta")


def test_thirty_turns_with_esc_a_compaction_and_a_crash(claude: ClaudeCode, upstream: Upstream) -> None:
    with Session(claude) as session:
        for number in range(1, CRASH):
            if PLAN.get(number) in ("hang", "stall"):
                begin(session, number)
                session.escape()
            else:
                assert session.ask(prompt(number)) == f"Done with {number}."
        begin(session, CRASH)
        session.kill()
    with Session(claude, more=True) as session:
        for number in range(CRASH + 1, TURNS):
            assert session.ask(prompt(number)) == f"Done with {number}."
    assert claude.ask(prompt(TURNS), *SKIP_PERMISSIONS, more=True).text == f"Done with {TURNS}."

    assert {turn_of(exchange)[0] for exchange in upstream.exchanges} == set(range(1, TURNS + 1))
    (refused,) = (exchange for exchange in upstream.exchanges if overflows(exchange))
    (compacting,) = (exchange for exchange in upstream.exchanges if coding.is_compaction(exchange))
    assert compacting.number == refused.number + 1
    assert coding.SUMMARY in upstream.last.text
    assert sum("interrupted by user" in text for text in upstream.exchanges[refused.number].said("user")) == 2
    for before, after in pairwise(upstream.exchanges):
        # What the client had not written down when it was killed is gone.
        if compacting not in (before, after) and turn_of(before)[0] != CRASH:
            assert rewritten(before, after) == ""
    keys = {exchange.body["prompt_cache_key"] for exchange in upstream.exchanges}
    assert keys == {exchange.headers["x-session-affinity"] for exchange in upstream.exchanges}
    assert len(keys) == 1, "a session is one to the provider's cache, `-c` included"


def test_a_subagent_has_a_cache_of_its_own(claude: ClaudeCode, upstream: Upstream) -> None:
    order = {"description": "Count", "prompt": "turn 2: run", "subagent_type": "general-purpose"}
    begin = Say(calls=(Call("Agent", {**order, "run_in_background": False}),))
    first = (1, "delegate")
    upstream.play(
        lambda exchange: begin if turn_of(exchange) == first and not rounds(exchange) else model(exchange),
        rules=upstream.rules,
    )
    assert claude.ask("turn 1: delegate", *SKIP_PERMISSIONS).text == "Done with 1."
    keys = [(turn_of(exchange)[0], exchange.body["prompt_cache_key"]) for exchange in upstream.exchanges]
    agents = dict(keys)
    assert [number for number, _ in keys] == [1, 2, 2, 1]
    assert all(key == agents[number] for number, key in keys)
    assert agents[1] != agents[2]
