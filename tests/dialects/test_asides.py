"""What stands beside an answer is reported once."""

import pytest

from latimer.dialects.asides import TIERS, Asides
from latimer.report import Loss


def test_each_loss_is_told_once_and_the_first_counts() -> None:
    asides = Asides()
    asides.lose("a", "why")
    asides.drop("b", "gone")
    asides.drop("a", "again")
    assert asides.losses == (Loss("a", "approximated", "why"), Loss("b", "dropped", "gone"))


@pytest.mark.parametrize(("word", "tier"), [*TIERS.items(), ("default", None), (None, None), (3, None)])
def test_tiers(word: object, tier: str | None) -> None:
    asides = Asides()
    asides.of_answer(word, None)
    assert (asides.tier, asides.losses) == (tier, ())


def test_moderation_has_no_place() -> None:
    asides = Asides()
    asides.of_answer(None, {"input": {}})
    assert [loss.field for loss in asides.losses] == ["moderation"]
