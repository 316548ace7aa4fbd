"""A session keeps its key, sessions are spread over keys, and no secret is shown."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.policy.keys import in_order, label

KEYS = ["env:A", "env:B", "env:C"]


@given(st.text(), st.permutations(KEYS))
def test_a_session_has_one_order_however_the_keys_are_written(session: str, keys: list[str]) -> None:
    assert in_order(keys, session) == in_order(KEYS, session)
    assert sorted(in_order(keys, session)) == KEYS


@given(st.text())
def test_without_a_key_the_order_of_the_others_stays(session: str) -> None:
    first, *rest = in_order(KEYS, session)
    assert in_order([key for key in KEYS if key != first], session) == rest


def test_sessions_are_spread() -> None:
    firsts = Counter(in_order(KEYS, f"session {number}")[0] for number in range(3000))
    assert all(900 < count < 1100 for count in firsts.values()), firsts


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("env:A|B", "env:A|B"),
        ("keyring:work", "keyring:work"),
        ("command:pass show work", "command:pass …"),
        ("command:getkey", "command:getkey"),
        ("command: ", "command:"),
        ("literal:sk-secret", "given by hand"),
    ],
)
def test_labels(reference: str, shown: str) -> None:
    assert label(reference) == shown
