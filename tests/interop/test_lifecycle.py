"""The real Claude Code while Latimer's configuration changes, its workers die, and it is stopped and started again."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, ClaudeCode
from tests.interop.session import Session
from tests.latimer_process import Latimer, serving
from tests.scenarios.replies import Say, Wire
from tests.shell.test_workers import children
from tests.upstream import Exchange, Upstream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

LONG = "This answer takes a while, and is whole in the end."


def written(home: Path, url: str, version: str, server: str = "") -> Path:
    """A configuration whose version the upstream sees."""
    path = home / "latimer.toml"
    path.write_text(
        f'[server]\n{server}\n[providers.local]\nbase_url = "{url}"\nheaders = {{ x-version = "{version}" }}\n'
        '[routes]\ndefault = "local/m"\n'
    )
    return path


def slowly(exchange: Exchange) -> Wire:
    """About three seconds of it."""
    return exchange.render(Say(LONG)).paced(0.3)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def reads(server: Latimer) -> int:
    """How often it has read its configuration."""
    with urllib.request.urlopen(f"{server.url}/status", timeout=10) as answer:
        number: int = json.load(answer)["config"]["number"]
        return number


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_newer_configuration_in_the_middle_of_an_answer(upstream: Upstream, tmp_path: Path, workers: str) -> None:
    upstream.play([slowly, Say("The newer one.")])
    path = written(tmp_path, upstream.url, "old")
    flags = ["--config", str(path), "--port", "0", "--workers", workers]
    with serving(flags, home=tmp_path) as server, Session(ClaudeCode(NEWEST, tmp_path / "home", server.url)) as session:
        session.say("one")
        session.until("stream_event", "text_delta")
        written(tmp_path, upstream.url, "newer")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: reads(server) == 2)
        assert not upstream.exchanges[0].answered.is_set()
        assert session.answer() == LONG
        assert session.ask("two") == "The newer one."
    assert [exchange.headers["x-version"] for exchange in upstream.exchanges] == ["old", "newer"]


def test_it_goes_on_when_all_workers_are_killed(upstream: Upstream, tmp_path: Path) -> None:
    """A cut stream is asked for again, and a new worker is there by then."""
    upstream.play([slowly, Say(LONG), Say("As if nothing had been.")])
    flags = ["--config", str(written(tmp_path, upstream.url, "1")), "--port", "0", "--workers", "2"]
    with serving(flags, home=tmp_path) as server, Session(ClaudeCode(NEWEST, tmp_path / "home", server.url)) as session:
        session.say("one")
        session.until("stream_event", "text_delta")
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        assert session.answer() == LONG
        assert session.ask("two") == "As if nothing had been."
    assert len(upstream.exchanges) == 3


def test_it_goes_on_after_a_restart(upstream: Upstream, tmp_path: Path) -> None:
    """Stopped in the middle of an answer, and started again at the same port."""
    upstream.play([slowly, Say(LONG)])
    path = written(tmp_path, upstream.url, "1", "shutdown_seconds = 0")
    with serving(["--config", str(path), "--port", "0"], home=tmp_path) as first:
        port = first.url.rsplit(":", 1)[1]
        with Session(ClaudeCode(NEWEST, tmp_path / "home", first.url)) as session:
            session.say("one")
            session.until("stream_event", "text_delta")
            assert first.stop() == 130
            with serving(["--config", str(path), "--port", port], home=tmp_path):
                assert session.answer() == LONG
