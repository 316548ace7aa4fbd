"""Settings files on the disk: written whole, with their mode, undone to the byte."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from latimer.errors import ConfigError, LatimerError
from latimer.policy.settings_text import Changes
from latimer.shell.connection import Connections, read, settings_path

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
THEIRS = b'{\r\n\t"model": "opus",\r\n\t"env": {"A": "1"}\r\n}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".claude" / "settings.json"


@pytest.fixture
def connections(tmp_path: Path) -> Connections:
    return Connections(tmp_path / "state")


def wanting(url: str) -> Callable[[bytes], Changes]:
    return lambda text: {("env", "URL"): json.dumps(url).encode(), ("off",): b"true"}


def connect(connections: Connections, path: Path, url: str = "http://one") -> Path | None:
    return connections.connect(connections.connecting(path, wanting(url)))


def disconnect(connections: Connections, path: Path) -> None:
    connections.disconnect(connections.disconnecting(path))


def put(path: Path, text: bytes = THEIRS, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    path.chmod(mode)


def left(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


@POSIX
def test_there_and_back(path: Path, connections: Connections, tmp_path: Path) -> None:
    put(path, mode=0o640)
    backup = connect(connections, path)
    assert backup is not None
    assert backup.read_bytes() == THEIRS
    assert json.loads(path.read_bytes())["env"] == {"A": "1", "URL": "http://one"}
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, backup, connections.path)] == [0o640, 0o640, 0o600]
    disconnect(connections, path)
    assert path.read_bytes() == THEIRS
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert left(tmp_path) == ["home/.claude/settings.json"], "nothing else is left"


@POSIX
def test_a_file_that_was_not_there(path: Path, connections: Connections, tmp_path: Path) -> None:
    assert connect(connections, path) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    disconnect(connections, path)
    assert not path.parent.exists(), "the folder was made for it"
    assert left(tmp_path) == []


def test_a_folder_that_others_use_by_now_stays(path: Path, connections: Connections) -> None:
    connect(connections, path)
    (path.parent / "history.jsonl").write_text("")
    disconnect(connections, path)
    assert left(path.parent) == ["history.jsonl"]


def test_connected_twice_is_undone_at_once(path: Path, connections: Connections) -> None:
    put(path)
    backup = connect(connections, path)
    assert connect(connections, path, "http://two") == backup
    assert json.loads(path.read_bytes())["env"]["URL"] == "http://two"
    assert not connections.connecting(path, wanting("http://two")).changes
    disconnect(connections, path)
    assert path.read_bytes() == THEIRS
    assert left(path.parent) == ["settings.json"]


def test_what_was_changed_between_two_connections_stays(path: Path, connections: Connections) -> None:
    put(path)
    connect(connections, path)
    path.write_bytes(path.read_bytes().replace(b"opus", b"haiku"))
    connect(connections, path, "http://two")
    disconnect(connections, path)
    assert path.read_bytes() == THEIRS.replace(b"opus", b"haiku")
    assert left(path.parent) == ["settings.json"]


def test_a_file_that_was_changed_since_keeps_its_backup(path: Path, connections: Connections) -> None:
    put(path)
    backup = connect(connections, path)
    path.write_bytes(path.read_bytes().replace(b"opus", b"haiku"))
    plan = connections.disconnecting(path)
    connections.disconnect(plan)
    assert plan.undo is not None
    assert not plan.undo.exact
    assert path.read_bytes() == THEIRS.replace(b"opus", b"haiku")
    assert backup is not None
    assert backup.exists()
    assert connections.records() == {}


def test_without_its_backup_it_is_undone_too(path: Path, connections: Connections) -> None:
    put(path)
    backup = connect(connections, path)
    assert backup is not None
    backup.unlink()
    disconnect(connections, path)
    assert json.loads(path.read_bytes()) == json.loads(THEIRS)


def test_nothing_to_undo(path: Path, connections: Connections) -> None:
    assert connections.disconnecting(path).undo is None
    put(path)
    assert connections.disconnecting(path).undo is None
    assert not connections.path.exists()


def test_two_files_are_kept_apart(path: Path, connections: Connections, tmp_path: Path) -> None:
    other = tmp_path / "project" / ".claude" / "settings.local.json"
    put(path)
    connect(connections, path)
    connect(connections, other)
    disconnect(connections, path)
    assert list(connections.records()) == [str(other)]


@POSIX
def test_a_link_stays_a_link(path: Path, connections: Connections, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "claude.json"
    put(real, mode=0o600)
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    connect(connections, path)
    assert path.is_symlink()
    assert b"http://one" in real.read_bytes()
    disconnect(connections, path)
    assert path.is_symlink()
    assert real.read_bytes() == THEIRS


def test_a_file_that_others_write_at_the_same_time(path: Path, connections: Connections) -> None:
    put(path)
    plan = connections.connecting(path, wanting("http://one"))
    put(path, b'{"theme": "dark"}')
    with pytest.raises(LatimerError, match="changed by another program"):
        connections.connect(plan)
    assert path.read_bytes() == b'{"theme": "dark"}'


def test_a_broken_file_is_refused(path: Path, connections: Connections) -> None:
    put(path, b'{"a": 1,}')
    with pytest.raises(ConfigError, match="line 1, column 9"):
        connections.connecting(path, wanting("http://one"))
    assert path.read_bytes() == b'{"a": 1,}'


def test_a_broken_record_says_what_to_do(path: Path, connections: Connections) -> None:
    put(path)
    connections.path.parent.mkdir()
    connections.path.write_text("[]")
    with pytest.raises(LatimerError, match="Move it away"):
        connections.disconnecting(path)


def test_where_settings_are(tmp_path: Path) -> None:
    assert settings_path("user", tmp_path, {}) == Path.home() / ".claude" / "settings.json"
    assert settings_path("user", tmp_path, {"CLAUDE_CONFIG_DIR": "/c"}) == Path("/c/settings.json")
    assert settings_path("project", tmp_path, {}) == tmp_path / ".claude" / "settings.json"
    assert settings_path("local", tmp_path, {}) == tmp_path / ".claude" / "settings.local.json"
    assert read(tmp_path / "nothing") is None
