"""Files that change under a server: when they are read again, and what cannot be taken from them."""

import asyncio
import os
from pathlib import Path

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import Config, parse
from latimer.shell import reload as reload_module
from latimer.shell.reload import FileWatch, Source, needs_restart, reason, staying, watch

PROVIDER = '[providers.a]\nbase_url = "http://127.0.0.1:9/v1"\n[routes]\ndefault = "a/m"\n'


def config(server: str = "") -> Config:
    return parse(f"[server]\n{server}\n{PROVIDER}", "test.toml")


# --- the file ---


def test_a_file_is_read_once_it_rests(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("one")
    file = FileWatch(path)
    assert not file.changed()
    path.write_text("two, half")
    assert not file.changed()  # somebody may be writing
    path.write_text("two, half and half")
    assert not file.changed()
    assert file.changed()
    assert not file.changed()


def test_what_is_taken_is_known(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    file = FileWatch(path)
    path.write_text("new")
    file.take()
    assert [file.changed() for _ in range(3)] == [False] * 3


def test_files_that_are_replaced_or_come_or_go(tmp_path: Path) -> None:
    path, other = tmp_path / "c.toml", tmp_path / "other"
    file = FileWatch(path)
    path.write_text("same")
    assert [file.changed() for _ in range(3)] == [False, True, False]
    before = path.stat()
    other.write_text("also")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)  # of the same size and age
    assert [file.changed() for _ in range(3)] == [False, True, False]
    path.unlink()
    assert [file.changed() for _ in range(3)] == [False, True, False]


async def test_watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "LOOK_SECONDS", 0.01)
    path, asked, read = tmp_path / "c.toml", asyncio.Event(), asyncio.Queue[str]()

    async def reload() -> None:
        read.put_nowait(path.read_text())

    path.write_text("one")
    task = asyncio.create_task(watch(FileWatch(path), asked, reload))
    try:
        asked.set()
        assert await asyncio.wait_for(read.get(), 5) == "one"  # unchanged, but asked for
        assert not asked.is_set()
        path.write_text("two")
        assert await asyncio.wait_for(read.get(), 5) == "two"
        await asyncio.sleep(0.05)
        assert read.empty()
    finally:
        task.cancel()


# --- what it says ---


def test_what_was_not_foreseen_is_told_without_values(caplog: pytest.LogCaptureFixture) -> None:
    assert reason(ConfigError("routes.x: no")) == "routes.x: no"
    try:
        raise KeyError("the canary of a value")
    except KeyError as error:
        why = reason(error)
    assert why == "an unexpected KeyError in Latimer; its log has the details"
    assert "unexpected KeyError" in caplog.text
    assert "canary of a value" not in "".join(record.getMessage() for record in caplog.records).replace(
        'raise KeyError("the canary of a value")', ""
    )


def test_a_source(tmp_path: Path) -> None:
    source = Source(tmp_path, lambda: PROVIDER, lambda text: parse(text or "", "here"))
    assert source.load().source == "here"


def test_what_a_server_cannot_change() -> None:
    first = config("port = 4002")
    assert needs_restart(first, config("port = 4002\nping_seconds = 1.0")) == ()
    changed = config('port = 4003\nhost = "::1"\nping_seconds = 1.0')
    assert needs_restart(first, changed) == ("server.host", "server.port")
    kept = staying(changed, first.server)
    assert (kept.server.host, kept.server.port, kept.server.ping_seconds) == ("127.0.0.1", 4002, 1.0)


def test_a_server_that_others_reach_keeps_its_token() -> None:
    """The new file may do without one where it would listen, but not where the server does."""
    first = config('host = "0.0.0.0"\ntoken = "env:LATIMER_TOKEN"')
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        staying(config('host = "127.0.0.1"'), first.server)
