"""Every check of `latimer doctor`, from checks.toml beside this module."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files

import msgspec

from latimer.policy.diagnosis.finding import Check, Finding, Group, Severity


def _table() -> Mapping[str, Check]:
    text = files(__package__).joinpath("checks.toml").read_text("utf-8")
    rows = msgspec.convert(tomllib.loads(text)["checks"], list[Check])
    return {row.id: row for row in rows}


CHECKS = _table()
"""By id."""
GROUPS: tuple[Group, ...] = tuple(dict.fromkeys(check.group for check in CHECKS.values()))
"""In the order of the table."""


def found(check: str, where: str, what: str, cure: str) -> Finding:
    """A finding of one of the table's checks."""
    return Finding(CHECKS[check].id, where, what, cure)


def severity(finding: Finding) -> Severity:
    """How bad it is."""
    return CHECKS[finding.id].severity
