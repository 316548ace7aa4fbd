"""The real Claude Code on one fault of each class in docs/faults.md, over each dialect.

It recovers, or stops with what Latimer says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, ClaudeCode, Run
from tests.latimer_process import configured
from tests.scenarios import messages_replies
from tests.scenarios.replies import Cut, Say, Wire, failure
from tests.upstream import Exchange, Reply, Upstream

DIALECTS = ("chat", "responses", "messages")
GOOD = Say("All well now.")
BROKEN = Say("One two three four five six seven eight.", piece=14)
FEW_RETRIES = {"CLAUDE_CODE_MAX_RETRIES": "1"}
FAULTS: dict[str, Callable[[Exchange], Reply]] = {
    "reset before the head": lambda exchange: Wire((Cut(),)),
    "reset after a token": lambda exchange: exchange.render(BROKEN).cut(b"three"),
    "overloaded": lambda exchange: refused(exchange, 503, "overloaded_error", "No capacity left"),
    "wrong key": lambda exchange: refused(exchange, 401, "authentication_error", "Incorrect API key provided"),
}


def refused(exchange: Exchange, status: int, kind: str, message: str) -> Wire:
    """A refusal in the dialect's own envelope."""
    if exchange.dialect == "messages":
        return messages_replies.failure(status, kind, message)
    return failure(status, message, type="server_error")


@contextmanager
def asked(fault: str, dialect: str, home: Path, *, times: int) -> Iterator[tuple[Run, Upstream]]:
    """What the client makes of a fault that `times` requests meet, and the upstream they met it at."""

    def script(exchange: Exchange) -> Reply:
        return FAULTS[fault](exchange) if exchange.number < times else GOOD

    with (
        Upstream().play(script) as upstream,
        configured(upstream.url, f'dialect = "{dialect}"\n', home=home) as gateway,
    ):
        yield ClaudeCode(NEWEST, home / "home", gateway.url, FEW_RETRIES).ask("say something", timeout=90), upstream
    assert upstream.failures == []
    assert {exchange.dialect for exchange in upstream.exchanges} == {dialect}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", ["reset before the head", "reset after a token", "overloaded"])
def test_it_recovers(fault: str, dialect: str, tmp_path: Path) -> None:
    with asked(fault, dialect, tmp_path, times=1) as (run, upstream):
        assert run.text == "All well now."
        assert not run.failed
        assert len(upstream.exchanges) == 2


@pytest.mark.parametrize(
    ("fault", "dialect", "says"),
    [
        ("wrong key", "chat", "refused a request without a key: Incorrect API key provided"),
        ("wrong key", "messages", "refused a request without a key: Incorrect API key provided"),
        ("overloaded", "responses", "No capacity left"),
        ("reset before the head", "chat", "the connection was closed before the answer was complete"),
        ("reset after a token", "chat", "the connection was closed before the answer was complete"),
        ("reset after a token", "messages", "the connection was closed before the answer was complete"),
    ],
)
def test_it_stops_with_the_message(fault: str, dialect: str, says: str, tmp_path: Path) -> None:
    with asked(fault, dialect, tmp_path, times=1000) as (run, _):
        assert run.failed
        assert says in run.text, run.text
        assert "local/m: " in run.text
