"""`latimer probe` as its users meet it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.replies import Call, Say, html
from tests.terminal import Terminal
from tests.upstream import Exchange, Upstream

KEY = "sk-canary-0123456789abcdefghij"
ANSWER = "a word that only the model says"


def script(exchange: Exchange) -> Say:
    if "get_weather" in exchange.tools and exchange.rounds == 0:
        return Say(ANSWER, calls=(Call("get_weather", {"city": "Paris"}),))
    return Say(ANSWER)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(script, key=KEY) as server:
        yield server


def environment(home: Path, **more: str) -> dict[str, str]:
    found = {"PATH": os.environ["PATH"], "HOME": str(home), "LATIMER_STATE_DIR": str(home / "state"), "ACME_KEY": KEY}
    return {**found, "XDG_CONFIG_HOME": str(home / ".config"), "TERM": "dumb", **more}


def latimer(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latimer", *arguments],
        env=environment(home, **more),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def at(upstream: Upstream) -> list[str]:
    return ["--upstream", upstream.url, "--model", "m", "--api-key-env", "ACME_KEY"]


def test_the_table(tmp_path: Path, upstream: Upstream) -> None:
    done = latimer(tmp_path, "probe", *at(upstream))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("upstream/m, ")
    assert next(line.split() for line in lines if line.startswith("  tools  "))[1] == "yes"
    assert any(line.startswith("  kept: ") for line in lines)
    assert f"upstream/m at {upstream.url}: at most 48 small requests" in done.stderr
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (KEY, ANSWER):
        assert secret not in done.stdout + done.stderr + written
    assert upstream.failures == []


def test_as_json_within_a_budget(tmp_path: Path, upstream: Upstream) -> None:
    done = latimer(tmp_path, "probe", *at(upstream), "--json", "--budget", "5")
    (found,) = json.loads(done.stdout)["routes"]
    assert (found["route"], found["requests"]) == ("upstream/m", 5)
    assert len(upstream.exchanges) == 5
    assert "at most 5 small requests" in done.stderr
    assert {result["answer"] for result in found["results"]} >= {"yes", "not asked"}


def test_what_cannot_be_kept_is_shown(tmp_path: Path, upstream: Upstream) -> None:
    """The requests were paid for."""
    (tmp_path / "state").touch()
    done = latimer(tmp_path, "probe", *at(upstream))
    assert done.returncode == 1
    assert "  tools  " in done.stdout
    assert "what was found is not kept" in done.stderr


def test_what_is_found_is_kept_and_can_be_forgotten(tmp_path: Path, upstream: Upstream) -> None:
    latimer(tmp_path, "probe", *at(upstream))
    kept = tmp_path / "state" / "learned.json"
    assert json.loads(kept.read_text())["routes"][0]["findings"][0]["source"] == "probe"
    assert latimer(tmp_path, "forget", "upstream/m").returncode == 0
    assert json.loads(kept.read_text())["routes"] == []


CONFIG = """
[providers.far]
base_url = "http://provider.invalid/v1"
[providers.near]
base_url = "{url}"
api_key = "env:ACME_KEY"
[routes]
opus = "far/big"
haiku = "near/m"
default = ["near/m", "far/big"]
"""


def test_nothing_is_spent_elsewhere_without_leave(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "my.toml"
    path.write_text(CONFIG.format(url=upstream.url))
    refused = latimer(tmp_path, "probe", "--config", str(path))
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert upstream.exchanges == []
    done = latimer(tmp_path, "probe", "--config", str(path), "--yes")
    assert done.returncode == 1
    assert "far/big: " in done.stderr, "what fails does not keep the others from being asked"
    assert "near/m, " in done.stdout


def test_one_route_by_its_name_or_its_tier(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "my.toml"
    path.write_text(CONFIG.format(url=upstream.url))
    for name in ("near/m", "haiku"):
        done = latimer(tmp_path, "probe", name, "--config", str(path), "--budget", "2", "--json")
        assert [found["route"] for found in json.loads(done.stdout)["routes"]] == ["near/m"], done.stderr


def test_a_slip_of_the_pen_is_not_taken_for_the_default(tmp_path: Path, upstream: Upstream) -> None:
    for named in ("upstraem/m", "qwen"):
        done = latimer(tmp_path, "probe", named, *at(upstream))
        assert done.returncode == 2
        assert f"there is no route '{named}'. Known: default, upstream/MODEL" in done.stderr
    assert not upstream.exchanges
    assert latimer(tmp_path, "probe", "claude-opus-5-5", *at(upstream), "--budget", "1").returncode == 0


def test_what_it_may_cost(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "my.toml"
    priced = CONFIG.replace("[routes]", "prices = {{ input = 3.0, output = 15.0 }}\n[routes]")
    path.write_text(priced.format(url=upstream.url))
    done = latimer(tmp_path, "probe", "near/m", "--config", str(path), "--budget", "10")
    assert "which cost $0.068" in done.stderr, "10 * 400 + 6000 tokens in, 10 * 256 out"


def test_a_wrong_key(tmp_path: Path, upstream: Upstream) -> None:
    done = latimer(tmp_path, "probe", *at(upstream), ACME_KEY="sk-wrong-0123456789abcdefghij")
    assert done.returncode == 1
    assert "the environment variable ACME_KEY" in done.stderr
    assert "sk-wrong" not in done.stdout + done.stderr
    assert len(upstream.exchanges) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_it_asks_first(tmp_path: Path, upstream: Upstream) -> None:
    for answer, code in (("n", 130), ("y", 0)):
        terminal = Terminal(["probe", *at(upstream), "--budget", "3"], tmp_path, environment(tmp_path))
        terminal.expect("at most 3 small requests")
        terminal.expect("Go on? [Y/n]")
        assert upstream.exchanges == []
        terminal.type(answer)
        assert terminal.end() == code, terminal.output
    assert len(upstream.exchanges) == 3


def test_a_web_page_instead_of_an_api(tmp_path: Path, upstream: Upstream) -> None:
    upstream.play(lambda _: html())
    done = latimer(tmp_path, "probe", *at(upstream))
    assert done.returncode == 1
    assert "it answered with a web page. Check base_url" in done.stderr
    assert len(upstream.exchanges) == 3, "once for each dialect"
