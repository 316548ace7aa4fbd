"""The real Claude Code while its first route is down: the session goes on by the second one, and comes back."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, ClaudeCode
from tests.interop.conftest import check
from tests.interop.session import Session
from tests.latimer_process import Latimer, serving
from tests.scenarios.replies import Call, Say, rate_limited
from tests.upstream import Exchange, Reply, Upstream

ECHO = Call("Bash", {"command": "echo by-the-second", "description": "Say who is there"})
REST_SECONDS = 3


@contextmanager
def chained(home: Path, first: str, second: str) -> Iterator[Latimer]:
    """Latimer with a chain of two routes."""
    config = home / "latimer.toml"
    config.write_text(
        f'[providers.first]\nbase_url = "{first}"\n[providers.second]\nbase_url = "{second}"\n'
        f'[routes]\ndefault = ["first/m", "second/m"]\n'
        f"[fallback]\nopen_after = 1\ncooldown_seconds = {REST_SECONDS}\n"
        f"max_cooldown_seconds = {REST_SECONDS}\n"
    )
    with serving(["--config", str(config), "--port", "0"], home=home) as server:
        yield server


def named(name: str) -> Reply:
    return Say(f"The {name} route speaks.")


def working(exchange: Exchange) -> Reply:
    """Call a tool for the prompt that wants one, and answer otherwise."""
    wants = [text for text in exchange.said("user") if "who is there" in text]
    return Say(calls=(ECHO,)) if wants and not exchange.results else named("second")


@contextmanager
def talking(home: Path, gateway: Latimer) -> Iterator[Session]:
    with Session(ClaudeCode(NEWEST, home / "home", gateway.url)) as session:
        yield session


def test_a_route_that_is_not_there_and_then_is(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        Upstream(working) as second,
        chained(tmp_path, f"http://127.0.0.1:{port}/v1", second.url) as gateway,
        talking(tmp_path, gateway) as session,
    ):
        assert session.ask("who is there?") == "The second route speaks."
        assert any("by-the-second" in result for result in second.last.results)
        with Upstream(lambda _: named("first"), port=port) as first:
            time.sleep(REST_SECONDS)
            assert session.ask("and now?") == "The first route speaks."
            assert "by-the-second" in str(first.last.messages), "the conversation is the same one"
        assert session.ask("and now?") == "The second route speaks."
    check(second)
    assert "first/m: no connection" in gateway.stderr


@pytest.mark.parametrize("seconds", ["2"])
def test_a_storm_of_429s(seconds: str, tmp_path: Path) -> None:
    storm = True
    with Upstream(working) as second:

        def script(_: Exchange) -> Reply:
            return rate_limited(seconds) if storm else named("first")

        with (
            Upstream(script) as first,
            chained(tmp_path, first.url, second.url) as gateway,
            talking(tmp_path, gateway) as session,
        ):
            started = time.monotonic()
            assert session.ask("who is there?") == "The second route speaks."
            assert session.ask("still you?") == "The second route speaks."
            asked, spent = len(first.exchanges), time.monotonic() - started
            assert asked <= 2 + spent / float(seconds), "a limit's own time is kept"
            storm = False
            time.sleep(float(seconds))
            assert session.ask("and now?") == "The first route speaks."
            check(first)
    check(second)
