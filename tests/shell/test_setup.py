"""What `latimer init` does beside asking."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from latimer.errors import LatimerError, Rejection
from latimer.policy.config import Config, Flags, parse
from latimer.shell.setup import check, list_models, with_key, write
from tests.scenarios.replies import Say, failure, html
from tests.upstream import Upstream

KEY = "sk-canary-0123456789abcdefghij"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda _: Say("OK"), key=KEY) as server:
        yield server


def config_for(upstream: Upstream, **more: str) -> Config:
    return parse(f'[providers.acme]\nbase_url = "{upstream.url}"\n[routes]\ndefault = "acme/m"\n', "x")


async def test_listing_and_checking_with_a_key_that_is_stored_nowhere(upstream: Upstream) -> None:
    config = with_key(config_for(upstream), "acme", KEY)
    assert await list_models(config, "acme") == ["m"]
    assert await check(config, "acme/m") == ""
    assert upstream.last.headers["authorization"] == f"Bearer {KEY}"


async def test_what_fails_says_what_to_do_and_shows_no_key(upstream: Upstream) -> None:
    config = with_key(config_for(upstream), "acme", "sk-wrong-0123456789abcdefghij")
    why = await check(config, "acme/m")
    assert "acme refused the configured key" in why
    assert "sk-wrong" not in why
    right = with_key(config_for(upstream), "acme", KEY)
    assert "does not offer the model other" in await check(right, "acme/other")
    upstream.play(lambda _: html())
    assert "web page" in await check(right, "acme/m")
    upstream.play(lambda _: failure(402, "Insufficient Balance"))
    assert "Insufficient Balance" in await check(right, "acme/m")


async def test_an_unset_variable_is_named(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    config = parse("", "command line", Flags(upstream=upstream.url, model="m", api_key_env="ACME_KEY"))
    assert "ACME_KEY is not set" in await check(config, "anything")


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        config = parse("", "command line", Flags(upstream=url, model="m"))
    with pytest.raises(Rejection, match="nothing accepts connections there"):
        await list_models(config, "upstream")


def test_writing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    assert write(path, "one") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    backup = write(path, "two")
    assert backup is not None
    assert (path.read_text(), backup.read_text()) == ("two", "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {file.name for file in path.parent.iterdir()} == {"config.toml", "config.toml.bak"}


def test_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "latimer.toml"
    real.parent.mkdir()
    real.write_text("one")
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    write(link, "two")
    assert link.is_symlink()
    assert real.read_text() == "two"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatimerError, match="could not be written"):
        write(tmp_path / "file" / "config.toml", "x")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("one")

    def interrupted(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, "two")
    assert path.read_text() == "one"
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]
