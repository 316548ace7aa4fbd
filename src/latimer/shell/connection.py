"""Settings files of Claude Code on the disk, and the record of what Latimer changed in them.

The record is `connections.json` in the state directory, mode 600: a former value may be a key.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from latimer.errors import ConfigError, LatimerError
from latimer.policy.connection import Record, Undone, connected, decode_records, digest, encode_records, undone
from latimer.policy.settings_text import Changes, checked
from latimer.shell.files import save

RECORDS = "connections.json"


class Plan(Struct, frozen=True):
    """What is to be done with a file: its bytes now and then, None where there is no file, and what is then recorded.

    `base` are the bytes without Latimer, and `old_backup` the path of a copy that is no longer needed.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    record: Record | None = None
    undo: Undone | None = None
    base: bytes | None = None
    old_backup: str = ""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.before != self.after


def settings_path(scope: str, folder: Path, environ: Mapping[str, str]) -> Path:
    """The settings.json of a scope: the user's own, or of the project in `folder`, shared or this user's alone."""
    if scope == "user":
        return (_config_folder(environ) or Path.home() / ".claude") / "settings.json"
    return folder.absolute() / ".claude" / ("settings.json" if scope == "project" else "settings.local.json")


def account_path(environ: Mapping[str, str]) -> Path:
    """Where Claude Code keeps its account: beside the user's settings if a folder is named for those."""
    return (_config_folder(environ) or Path.home()) / ".claude.json"


def _config_folder(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("CLAUDE_CONFIG_DIR")
    return Path(named) if named else None


def read(path: Path) -> bytes | None:
    """A settings file's bytes; None when there is none. Raises ConfigError when Claude Code cannot read it either."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror}") from None
    checked(text, str(path))
    return text


class Connections:
    """The files that Latimer stands in."""

    def __init__(self, state: Path) -> None:
        self.path = state / RECORDS

    def records(self) -> dict[str, Record]:
        """By a file's path. Raises LatimerError."""
        try:
            return decode_records(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise LatimerError(
                f"{self.path}, which records what `latimer connect` changed, cannot be read: {error}. Move it away; "
                "the backups beside the settings files have what was there"
            ) from None

    def connecting(self, path: Path, wanted: Callable[[bytes], Changes]) -> Plan:
        """The file with what is wanted of such a file in it.

        A former connection is taken out first, so that what was there before the first one comes back in the end.
        """
        text = read(path)
        base, former = text, self.records().get(str(path))
        if former and text is not None:
            base = undone(text, former, self._original(former)).text
        after, made = connected(base or b"", wanted(base or b""))
        record = Record("" if base is None else digest(base), digest(after), made)
        if former is None:
            return Plan(path, text, after, record, base=base)
        kept = former.backup if self._original(former) == base else ""
        record = replace(record, backup=kept, made_folder=former.made_folder)
        return Plan(path, text, after, record, base=base, old_backup="" if kept else former.backup)

    def disconnecting(self, path: Path) -> Plan:
        """The file without Latimer."""
        text = read(path)
        record = self.records().get(str(path))
        if record is None or text is None:
            return Plan(path, text, text)
        undo = undone(text, record, self._original(record))
        return Plan(path, text, undo.text, record, undo)

    def connect(self, plan: Plan) -> Path | None:
        """Write a file that `connecting` planned; returns where the backup is, None when there was nothing to keep."""
        assert plan.record is not None
        assert plan.after is not None
        record = plan.record
        self._unchanged(plan)
        if self._is_ours(plan.path.parent):
            record = replace(record, made_folder=True)
        if plan.base is not None and not record.backup:
            record = replace(record, backup=str(_backup(plan.path, plan.base)))
        # First what happens is written down, then it is done: a power cut between leaves a record that fits nothing.
        self._keep(plan.path, record)
        save(plan.path, plan.after)
        if plan.old_backup:
            Path(plan.old_backup).unlink(missing_ok=True)
        return Path(record.backup) if record.backup else None

    def disconnect(self, plan: Plan) -> None:
        """Write a file that `disconnecting` planned, and forget it. The backup goes when the file is as it was."""
        self._unchanged(plan)
        if plan.undo is not None and plan.changes:
            if plan.after is None:
                _remove(plan.path)
            else:
                save(plan.path, plan.after)
        self._keep(plan.path, None)
        record = plan.record
        if record is None or plan.undo is None or not plan.undo.exact:
            return
        if record.backup:
            Path(record.backup).unlink(missing_ok=True)
        if record.made_folder:
            with suppress(OSError):  # somebody else's files are in it by now
                plan.path.parent.rmdir()

    def _original(self, record: Record) -> bytes | None:
        """What was there before, if its backup still is."""
        try:
            text = Path(record.backup).read_bytes() if record.backup else b""
        except OSError:
            return None
        return text if digest(text) == record.before else None

    def _is_ours(self, folder: Path) -> bool:
        """Whether the folder is not there, or was made for another of the files."""
        others = (record.made_folder for path, record in self.records().items() if Path(path).parent == folder)
        return not folder.exists() or any(others)

    def _unchanged(self, plan: Plan) -> None:
        if read(plan.path) != plan.before:
            raise LatimerError(f"{plan.path} was changed by another program just now; try once more")

    def _keep(self, path: Path, record: Record | None) -> None:
        records = self.records()
        records.pop(str(path), None)
        if record is not None:
            records[str(path)] = record
        if records:
            save(self.path, encode_records(records))
        else:
            self.path.unlink(missing_ok=True)


def _backup(path: Path, data: bytes) -> Path:
    """A copy beside the file, with its mode. Raises LatimerError."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    backup = path.with_name(f"{path.name}.{stamp}.bak")
    count = 1
    while backup.exists():
        backup = path.with_name(f"{path.name}.{stamp}-{count}.bak")
        count += 1
    save(backup, data, stat.S_IMODE(path.stat().st_mode) if path.exists() else None)
    return backup


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise LatimerError(f"{path} could not be removed: {error.strerror}; remove it by hand") from None
