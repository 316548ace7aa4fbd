"""The rule by which a dialect is chosen."""

import pytest

from latimer.policy.probing.choice import choose
from latimer.policy.probing.talk import Standing
from latimer.profile import Dialect

GOOD = Standing(works=True, tools=True, streams=True)
THINKS = Standing(works=True, tools=True, streams=True, reasons=True)
NO_TOOLS = Standing(works=True, tools=False)
BROKEN = Standing(works=True, tools=True, streams=False)
KEEPS = Standing(works=True, tools=True, streams=True, schema=True)
IGNORES = Standing(works=True, tools=True, streams=True, reasons=True, schema=False)
BREAKS_AND_KEEPS = Standing(works=True, tools=True, streams=False, schema=True)
UNKNOWN = Standing(works=True)
ABSENT = Standing()


@pytest.mark.parametrize(
    ("chat", "responses", "messages", "chosen"),
    [
        (GOOD, GOOD, GOOD, "messages"),
        (GOOD, THINKS, GOOD, "messages"),
        (GOOD, THINKS, ABSENT, "responses"),
        (GOOD, GOOD, ABSENT, "chat"),
        (GOOD, ABSENT, ABSENT, "chat"),
        (GOOD, ABSENT, NO_TOOLS, "chat"),
        (GOOD, ABSENT, BROKEN, "chat"),
        (GOOD, ABSENT, UNKNOWN, "chat"),
        (NO_TOOLS, GOOD, ABSENT, "responses"),
        (NO_TOOLS, GOOD, NO_TOOLS, "responses"),
        (NO_TOOLS, ABSENT, NO_TOOLS, "chat"),
        (ABSENT, ABSENT, GOOD, "messages"),
        (ABSENT, GOOD, ABSENT, "responses"),
        (ABSENT, GOOD, NO_TOOLS, "responses"),
        (ABSENT, UNKNOWN, UNKNOWN, "responses"),
        (ABSENT, ABSENT, UNKNOWN, "messages"),
        (KEEPS, IGNORES, IGNORES, "chat"),
        (KEEPS, GOOD, GOOD, "chat"),
        (KEEPS, KEEPS, IGNORES, "chat"),
        (KEEPS, KEEPS, KEEPS, "messages"),
        (IGNORES, IGNORES, IGNORES, "messages"),
        (BREAKS_AND_KEEPS, ABSENT, IGNORES, "messages"),
    ],
)
def test_the_rule(chat: Standing, responses: Standing, messages: Standing, chosen: Dialect) -> None:
    found = choose({"chat": chat, "responses": responses, "messages": messages})
    assert found is not None
    assert found[0] == chosen


def test_nothing_that_works() -> None:
    assert choose({"chat": ABSENT, "messages": ABSENT}) is None


@pytest.mark.parametrize(
    ("chat", "responses", "known", "chosen"),
    [
        (NO_TOOLS, NO_TOOLS, "responses", "responses"),
        (GOOD, GOOD, "responses", "responses"),
        (GOOD, NO_TOOLS, "responses", "chat"),
        (GOOD, ABSENT, "messages", "chat"),
    ],
)
def test_what_a_preset_says_stays_where_nothing_speaks_against_it(
    chat: Standing, responses: Standing, known: Dialect, chosen: Dialect
) -> None:
    found = choose({"chat": chat, "responses": responses, "messages": ABSENT}, known)
    assert found is not None
    assert found[0] == chosen
