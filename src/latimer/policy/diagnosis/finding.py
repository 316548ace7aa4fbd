"""A check, what it finds, and what a whole examination comes to."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""An error: something does not work. A warning: it may go wrong, or is less than safe. A note: worth knowing."""

Group = Literal["configuration", "keys", "files", "network", "models", "server", "Claude Code", "this machine"]


class Check(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of the table: what is looked for, why it matters, and the general cure, as docs/doctor.md shows them."""

    id: str
    severity: Severity
    group: Group
    looks_for: str
    cure: str
    why: str = ""


class Finding(Struct, frozen=True):
    """One thing that a check found: where, what, and what to do. No secret is ever in it.

    What stands in backticks in `cure` is a command, a key of a file or a line of one, to be taken as it is.
    """

    id: str
    where: str
    what: str
    cure: str


class Seen(Struct, frozen=True):
    """Something that was looked at and is as it should be."""

    where: str
    what: str


class Examination(Struct, frozen=True):
    """All that was found, worst first within each group, and what is in order."""

    findings: Sequence[Finding]
    seen: Sequence[Seen] = ()


def number(count: int, what: str) -> str:
    """A count in words: `1 route`, `2 routes`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(words: Iterable[str], most: int = 5) -> str:
    """Some words, with commas; of more than `most`, the first ones and how many there are."""
    known = list(words)
    rest = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + rest


def parted(problem: str) -> tuple[str, str]:
    """Messages for users say what is wrong in their first sentence, and what to do in the rest."""
    what, _, cure = problem.partition(". ")
    return what, cure


def setting(name: str, value: str, windows: bool) -> str:
    """The command that sets a variable."""
    return f"`$env:{name} = '{value}'`" if windows else f"`export {name}={quoted(value)}`"


def unsetting(names: Iterable[str], windows: bool) -> str:
    """The command that unsets variables."""
    known = list(names)
    return f"`Remove-Item {', '.join(f'Env:{name}' for name in known)}`" if windows else f"`unset {' '.join(known)}`"


def quoted(word: str) -> str:
    """A word for a POSIX shell."""
    return shlex.quote(word)
