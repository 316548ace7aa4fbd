"""The file of what was learned: its rights, its writers, and what becomes of a broken one."""

import json
import logging
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from latimer.policy.knowledge import Finding, Knowledge, RouteKey, encode
from latimer.shell import state
from latimer.shell.files import NO_FILE
from latimer.shell.state import Store, default_directory

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="file modes")
KEY = RouteKey("local", "http://127.0.0.1:1/v1", "m")


def finding(*names: str, at: float | None = None) -> Finding:
    return Finding({"request": {"drop": list(names)}}, "because", "refusal", int(at or time.time()))


def add(store: Store, key: RouteKey, one: Finding) -> Knowledge:
    return store.change(lambda kept: kept.having(key, one))


def test_it_is_in_the_state_folder_of_the_system() -> None:
    assert default_directory().name == "latimer"
    assert default_directory().is_absolute()


def test_there_and_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert (store.read(), store.stamp()) == (Knowledge(), NO_FILE)
    after = add(store, KEY, finding("a"))
    assert after == store.read() == Store(tmp_path).read()
    assert store.stamp() != NO_FILE
    assert store.change(lambda kept: kept.forgetting()) == Knowledge() == store.read()


@POSIX
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "latimer")
    add(store, KEY, finding("a"))
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert {path.name for path in store.path.parent.iterdir()} == {"learned.json", "learned.lock"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in store.path.parent.iterdir())


def test_nothing_to_change_is_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.change(lambda kept: kept)
    assert not store.path.exists()


def test_what_has_expired_is_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, KEY, finding("a", at=1_600_000_000))
    assert store.read() == Knowledge()


def test_writers_in_one_process_lose_nothing(tmp_path: Path) -> None:
    def write(number: int) -> None:
        add(Store(tmp_path), RouteKey("p", "u", str(number)), finding("a"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Store(tmp_path).read().routes) == 20


@POSIX
def test_writers_in_many_processes_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from latimer.policy.knowledge import Finding, RouteKey\n"
        "from latimer.shell.state import Store\n"
        "one = Finding({'request': {'drop': ['a']}}, 'because', 'refusal', int(time.time()))\n"
        "for n in range(10):\n"
        "    key = RouteKey('p', sys.argv[2], str(n))\n"
        "    Store(Path(sys.argv[1])).change(lambda kept: kept.having(key, one))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)]) for number in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert len(Store(tmp_path).read().routes) == 30


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\x00", b"[1]", b'{"version": 2, "routes": []}', b" " * 200],
    ids=lambda text: repr(text[:12]),
)
def test_a_file_that_cannot_be_read_is_set_aside(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_BYTES", 100 if len(text) > 100 else state.MOST_BYTES)
    store = Store(tmp_path)
    store.path.write_bytes(text)
    assert store.read() == Knowledge()
    assert (tmp_path / "learned.json.bad").read_bytes() == text
    assert not store.path.exists()
    assert "is set aside as learned.json.bad" in caplog.text
    monkeypatch.undo()
    assert len(add(store, KEY, finding("a")).routes) == 1


def test_a_file_that_is_set_aside_while_writing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path.write_bytes(b"nonsense")
    add(store, KEY, finding("a"))
    assert list(store.read().routes) == [KEY]
    assert (tmp_path / "learned.json.bad").read_bytes() == b"nonsense"


def test_a_directory_in_the_files_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "learned.json").mkdir()
    store = Store(tmp_path)
    assert store.read() == Knowledge()
    assert "could not be read" in caplog.text
    with pytest.raises(OSError, match=r"\w"):
        add(store, KEY, finding("a"))
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".learned")], "nothing is left behind"


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "latimer")
    assert (store.read(), store.stamp()) == (Knowledge(), NO_FILE)
    with pytest.raises(OSError, match=r"\w"):
        add(store, KEY, finding("a"))


def test_a_reader_never_sees_a_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = Store(tmp_path)
    add(store, KEY, finding("a"))
    done = threading.Event()

    def write() -> None:
        for number in range(100):
            add(store, RouteKey("p", "u", str(number)), finding("a"))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert KEY in Store(tmp_path).read().routes
    writer.join()
    assert not caplog.text


def test_it_is_plain_json(tmp_path: Path) -> None:
    store = Store(tmp_path)
    known = add(store, KEY, finding("a"))
    assert store.path.read_bytes() == encode(known)
    assert json.loads(store.path.read_bytes())["routes"][0]["findings"][0]["source"] == "refusal"


@POSIX
def test_a_writer_that_hangs_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOCK_SECONDS", 0.05)
    store = Store(tmp_path)
    add(store, KEY, finding("a"))
    with store._locked(), pytest.raises(BlockingIOError):
        add(store, KEY, finding("b"))
    assert add(store, KEY, finding("b")).overlay(KEY) == {"request": {"drop": ["b"]}}
