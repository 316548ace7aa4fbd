"""`latimer forget`: what it removes, what it says, and that a Latimer that runs hears of it."""

import json
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from latimer.cli.forget import forget
from latimer.errors import LatimerError
from latimer.policy.knowledge import Finding, Knowledge, RouteKey
from latimer.shell.state import Store
from tests.latimer_process import configured
from tests.scenarios.replies import Say, Wire, failure
from tests.upstream import Exchange, Upstream

FIRST = RouteKey("local", "http://127.0.0.1:1/v1", "m")
SECOND = RouteKey("other", "http://127.0.0.1:2/v1", "deep/seek")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    finding = Finding(
        {"request": {"drop": ["top_p"]}}, "the upstream takes no top_p", "refusal", int(time.time()) - 120
    )
    Store(tmp_path).change(lambda _: Knowledge().having(FIRST, finding).having(SECOND, finding))
    return tmp_path


def run(state: Path, *arguments: str) -> Result:
    flags = ["--state-dir", str(state), *arguments]
    return CliRunner().invoke(forget, flags, catch_exceptions=False, standalone_mode=False)


def known(state: Path) -> set[RouteKey]:
    return set(Store(state).read().routes)


@pytest.mark.parametrize(
    ("name", "left"),
    [("local/m", {SECOND}), ("local", {SECOND}), ("other", {FIRST}), ("other/deep/seek", {FIRST}), ("--all", set())],
)
def test_what_is_forgotten(state: Path, name: str, left: set[RouteKey]) -> None:
    output = run(state, name).output
    assert known(state) == left
    for key in (FIRST, SECOND):
        assert (f"{key.name} at {key.base_url}" in output) == (key not in left)
    assert "the upstream takes no top_p (refusal, 2 minutes ago" in output
    assert output.endswith(f"forgotten: {2 - len(left)}\n")


def test_json(state: Path) -> None:
    found = json.loads(run(state, "local", "--json").output)
    assert found == {"forgotten": [{"route": "local/m", "base_url": "http://127.0.0.1:1/v1"}]}


def test_a_name_of_which_nothing_is_known(state: Path) -> None:
    with pytest.raises(LatimerError, match=r"of 'locl'. Something was learned of local/m, other/deep"):
        run(state, "locl")
    assert known(state) == {FIRST, SECOND}


@pytest.mark.parametrize("arguments", [[], ["local", "--all"]])
def test_without_a_name_it_says_what_is_known(state: Path, arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"local/m, other/deep/seek"):
        run(state, *arguments)
    assert known(state) == {FIRST, SECOND}


def test_where_nothing_was_learned_nothing_is_written(tmp_path: Path) -> None:
    assert run(tmp_path / "none", "--all").output == "forgotten: 0\n"
    assert not (tmp_path / "none").exists()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "learned.json").mkdir()
    with pytest.raises(LatimerError, match=r"nothing was learned of 'local'. Nothing is known of any"):
        run(tmp_path, "local")


def picky(exchange: Exchange) -> Say | Wire:
    if "temperature" in exchange.body:
        return failure(400, "Unrecognized request argument supplied: temperature", param="temperature")
    return Say("fine")


def ask(url: str) -> None:
    message = {"role": "user", "content": "hello"}
    body = json.dumps({"model": "any", "max_tokens": 9, "temperature": 0.5, "messages": [message]}).encode()
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with urllib.request.urlopen(urllib.request.Request(url + "/v1/messages", body, headers)) as answer:
        assert answer.status == 200


def test_a_running_latimer_hears_of_it_and_a_new_one_knows(tmp_path: Path) -> None:
    """Three processes of one user: what one learns the next one knows, until it is forgotten."""
    with Upstream(picky) as upstream:
        with configured(upstream.url, home=tmp_path) as first:
            ask(first.url)
            assert len(upstream.exchanges) == 2
        assert known(tmp_path / "state") == {RouteKey("local", upstream.url, "m")}
        with configured(upstream.url, home=tmp_path) as second:
            ask(second.url)
            assert len(upstream.exchanges) == 3, "it knew"
            run(tmp_path / "state", "local")
            time.sleep(2.1)
            ask(second.url)
            assert len(upstream.exchanges) == 5, "it had to learn it anew"
        assert "hello" not in (tmp_path / "state" / "learned.json").read_text()
