"""What the parts of the encoder share."""

import pytest
from msgspec import Raw

from latimer.dialects.context import Context
from latimer.report import Loss
from latimer.wire.messages import NULL
from tests.dialects.chat.asking import profile

MARK = Raw(b'{"type":"ephemeral"}')


def context(style: str = "strip") -> Context:
    return Context("p/m", profile(cache={"cache_control": style}), {}, [])


def test_losses_gather_in_order() -> None:
    shared = context()
    shared.lose("a", "why")
    shared.lose_if_given("b", NULL, "why")
    shared.lose_if_given("c", Raw(b"{}"), "why")
    assert shared.losses == [Loss("a", "dropped", "why"), Loss("c", "dropped", "why")]


@pytest.mark.parametrize(
    ("style", "raw", "mark", "lost"),
    [
        ("strip", MARK, None, ["x.cache_control"]),
        ("pass", MARK, MARK, []),
        ("strip", NULL, None, []),
        ("pass", NULL, None, []),
    ],
)
def test_cache_marks_go_where_they_are_taken(style: str, raw: Raw, mark: Raw | None, lost: list[str]) -> None:
    shared = context(style)
    assert shared.cache_mark("x", raw) == mark
    assert [loss.field for loss in shared.losses] == lost
