"""The table of checks."""

import re

import pytest

from latimer.policy.diagnosis.checks import CHECKS, GROUPS, found, severity
from latimer.policy.diagnosis.finding import SEVERITIES


def test_ids_can_be_anchors() -> None:
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in CHECKS)


def test_groups_stand_together() -> None:
    order = [GROUPS.index(check.group) for check in CHECKS.values()]
    assert order == sorted(order)


def test_each_severity_is_used() -> None:
    assert {check.severity for check in CHECKS.values()} == set(SEVERITIES)


def test_texts_are_no_sentences_of_their_own() -> None:
    for check in CHECKS.values():
        assert not check.looks_for.endswith("."), check.id
        assert not check.cure.endswith("."), check.id
        assert check.why.endswith(".") or not check.why, check.id


def test_a_finding_is_of_a_check() -> None:
    assert severity(found("key-unset", "here", "what", "cure")) == "error"
    with pytest.raises(KeyError):
        found("no-such-check", "here", "what", "cure")
