import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from latimer.errors import LatimerError
from latimer.shell.files import NO_FILE, lock, replace_file, save, stamp

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and advisory locks")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_and_its_folders_are_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    replace_file(path, b"a")
    assert (path.read_bytes(), mode_of(path), mode_of(path.parent)) == (b"a", 0o600, 0o700)


def test_whoever_reads_sees_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    save(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LatimerError, match="could not be written: No space left on device; nothing was changed"):
        save(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_saving_keeps_the_mode_and_the_link(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o644)
    link.symlink_to(path)
    save(link, b"new")
    assert link.is_symlink()
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o644)
    save(link, b"newer", 0o600)
    assert mode_of(path) == 0o600


def test_a_lock_is_one_files_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    first, second = (os.open(path, os.O_RDWR) for _ in range(2))
    try:
        assert lock(first)
        assert not lock(second)
        threading.Timer(0.05, os.close, [first]).start()
        assert lock(second, 30.0)
    finally:
        os.close(second)


def test_a_stamp_tells_of_another_file_of_the_same_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert stamp(path) == NO_FILE
    path.write_bytes(b"a")
    before = stamp(path)
    other = tmp_path / "other"
    other.write_bytes(b"b")
    os.utime(other, ns=(before[0], before[0]))
    other.replace(path)
    assert stamp(path) != before
