"""A provider that nobody wrote a preset for, with rules that no code of Latimer knows: it works after `latimer probe`.

Its refusals are in words of its own, in a shape of its own, so nothing can be learned from reading them: what the probe
finds, it finds by adding one thing at a time.
"""

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.interop.claude import NEWEST, OLDER, SKIP_PERMISSIONS, ClaudeCode
from tests.latimer_process import MODEL, serving
from tests.scenarios import coding
from tests.scenarios.ledger import Ledger
from tests.scenarios.replies import Say, Wire
from tests.scenarios.rules import Json, MalformedError, Rules
from tests.scenarios.strict import Strict
from tests.upstream import Exchange, Upstream

FIELDS = {
    "model",
    "messages",
    "max_completion_tokens",
    "stream",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "stop",
}
SAID = {
    "max_tokens": "We count what is completed.",
    "parallel_tool_calls": "How many tools are used at once is our business.",
    "stream_options": "Usage is always there.",
}
THOUGHTS = ("I look for it first.", "There it is.", "They want it again.")


@dataclass(frozen=True)
class Odd(Strict):
    """Chat Completions by house rules."""

    rules: Rules = field(default_factory=lambda: Rules(message_keys=frozenset({"reasoning"}), mid_system=False))

    def dialect(self, path: str) -> str:
        return "chat" if path.endswith("/chat/completions") else ""

    def check(self, exchange: Exchange, ledger: Ledger) -> None:
        for name in exchange.body:
            if name not in FIELDS:
                raise house(SAID.get(name, "That was never agreed on."))
        if exchange.body.get("tool_choice", "auto") != "auto":
            raise house("The model decides for itself.")
        roles = [message["role"] for message in exchange.messages]
        if "system" in roles[1:]:
            raise house("Instructions stand above the talk, once.")
        if any(one == other == "user" for one, other in itertools.pairwise(roles)):
            raise house("Nobody talks twice in a row.")
        super().check(exchange, ledger)
        for message in exchange.messages:
            if message["role"] == "assistant" and "tool_calls" in message and "reasoning" not in message:
                raise house("A thought has gone missing.")

    def render(self, exchange: Exchange, say: Say, ledger: Ledger) -> Wire:
        ledger.record(say)
        return say.streamed(self.model, include_usage=True) if exchange.streaming else say.whole(self.model)

    def refuse(self, exchange: Exchange, error: MalformedError) -> Wire:
        return Wire((json.dumps({"complaint": {"text": str(error)}}).encode(),), status=error.status)


def house(words: str) -> MalformedError:
    return MalformedError(words, status=422)


def thinker(exchange: Exchange) -> Say:
    """Answers a probe as a model that thinks and calls tools does, and Claude Code as in `coding.thinking`."""
    if exchange.tools.keys() & {"get_weather"} and exchange.messages[-1]["role"] == "user":
        return Say(
            calls=(coding.Call("get_weather", {"city": "Paris"}),), reasoning=THOUGHTS[0], reasoning_field="reasoning"
        )
    return Say("OK", reasoning=THOUGHTS[0], reasoning_field="reasoning")


def worker(exchange: Exchange) -> Say:
    """Two rounds of tools, then an answer, each after a thought."""
    if exchange.rounds < 2:
        calls = (coding.bash(f"echo treasure {exchange.rounds}"),)
        return Say("Let me look.", calls=calls, reasoning=THOUGHTS[exchange.rounds], reasoning_field="reasoning")
    return Say(f"I found {exchange.results[-1].strip()}.", reasoning=THOUGHTS[2], reasoning_field="reasoning")


def probe(upstream: Upstream, home: Path) -> Json:
    """What `latimer probe` prints as JSON; it keeps what it found in `home`."""
    done = subprocess.run(
        [sys.executable, "-m", "latimer", "probe", "--upstream", upstream.url, "--model", MODEL, "--json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LATIMER_STATE_DIR": str(home / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["routes"]
    result: dict[str, Any] = found
    return result


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_claude_code_after_a_probe(version: str, tmp_path: Path) -> None:
    with Upstream() as upstream:
        upstream.play(thinker, host=Odd())
        found = probe(upstream, tmp_path)
        assert upstream.failures == []
        overlay = found["overlay"]
        assert overlay["request"]["max_tokens_field"] == "max_completion_tokens"
        assert overlay["request"]["usage"] == "unasked"
        assert overlay["tools"] == {"choices": ["auto"], "parallel": False}
        assert overlay["messages"] == {"mid_system": "tagged", "merge_users": True}
        assert overlay["reasoning"] == {"control": "none"}
        answers = {result["capability"]: result["answer"] for result in found["results"]}
        assert answers["reasoning sent back as reasoning"] == "yes"
        assert answers["history without its reasoning"] == "no"

        upstream.play(worker, host=Odd())
        flags = ["--upstream", upstream.url, "--model", MODEL, "--port", "0"]
        with serving(flags, home=tmp_path) as gateway:
            claude = ClaudeCode(version, tmp_path / "home", gateway.url)
            first = claude.ask("find the treasure", *SKIP_PERMISSIONS)
            assert first.text == "I found treasure 1.", upstream.refused
            assert len(upstream.served) == 3
            again = claude.ask("and again, please", *SKIP_PERMISSIONS, more=True)
            assert again.text.startswith("I found treasure"), upstream.refused
        assert upstream.failures == []
        assert upstream.refused == []
        assert first.usage["output_tokens"] > 0, "the usage that came unasked was read"


def test_without_a_probe_it_does_not_work(tmp_path: Path) -> None:
    """The rules are new indeed: no lesson reads them out of these refusals."""
    with Upstream() as upstream:
        upstream.play(worker, host=Odd())
        with serving(["--upstream", upstream.url, "--model", MODEL, "--port", "0"], home=tmp_path) as gateway:
            run = ClaudeCode(NEWEST, tmp_path / "home", gateway.url, {"CLAUDE_CODE_MAX_RETRIES": "0"}).ask("find it")
    assert run.failed
    assert upstream.served == []
