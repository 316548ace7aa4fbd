"""The log's file: the user's own, of bounded size, shared by processes."""

import logging
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from latimer.shell import log_file as module
from latimer.shell.log_file import LogFile

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes and renamed files of POSIX")


@contextmanager
def writing(path: Path) -> Iterator[logging.Logger]:
    log, handler = logging.Logger("test"), LogFile(path)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


@POSIX
def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    with writing(tmp_path / "log") as log:
        log.warning("grüße")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    assert (tmp_path / "log").read_text("utf-8") == "grüße\n"
    with writing(tmp_path / "log") as log:
        log.warning("more")
    assert (tmp_path / "log").read_text("utf-8") == "grüße\nmore\n"


@POSIX
def test_it_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    path, old = tmp_path / "log", tmp_path / "log.1"
    with writing(path) as log:
        for number in range(1000):
            log.warning("line %d", number)
            assert path.stat().st_size <= 1000
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "log.1"]
    assert old.stat().st_size <= 1100
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = (old.read_text() + path.read_text()).splitlines()
    assert kept == [f"line {number}" for number in range(1000 - len(kept), 1000)]


@POSIX
def test_another_may_rename_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with writing(path) as log:
        log.warning("one")
        path.rename(tmp_path / "kept")
        log.warning("two")
    assert (path.read_text(), (tmp_path / "kept").read_text()) == ("two\n", "one\n")


WRITER = """
import logging, sys
from pathlib import Path
from latimer.shell import log_file
log_file.MOST_BYTES = 12_000
log = logging.Logger("test")
log.addHandler(log_file.LogFile(Path(sys.argv[1])))
for number in range(1500):
    log.warning("%s %d", sys.argv[2], number)
"""


@POSIX
def test_processes_share_it(tmp_path: Path) -> None:
    """Each line is whole, and whoever begins the second file, none is lost."""
    path = tmp_path / "log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = (tmp_path / "log.1").read_text().splitlines() + path.read_text().splitlines()
    for name in ("a", "b"):
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(1500)]
    assert len(lines) == 3000


@POSIX
def test_who_comes_late_leaves_the_new_file(tmp_path: Path) -> None:
    """Both find the file too large; one has renamed it by the time the other gets to it."""
    path, old = tmp_path / "log", tmp_path / "log.1"
    old.write_text("old\n")
    path.write_text("new\n")
    late, before = LogFile(path), module.private(old)
    late._turn(before.fileno())
    late.close()
    before.close()
    assert (path.read_text(), old.read_text()) == ("new\n", "old\n")
