"""The rule by which a dialect is chosen."""

import pytest

from latimer.policy.probing.choice import choose
from latimer.policy.probing.talk import Standing
from latimer.profile import Dialect

GOOD = Standing(works=True, tools=True, streams=True)
THINKS = Standing(works=True, tools=True, streams=True, reasons=True)
NO_TOOLS = Standing(works=True, tools=False)
BROKEN = Standing(works=True, tools=True, streams=False)
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
    ],
)
def test_the_rule(chat: Standing, responses: Standing, messages: Standing, chosen: Dialect) -> None:
    found = choose({"chat": chat, "responses": responses, "messages": messages})
    assert found is not None
    assert found[0] == chosen


def test_nothing_that_works() -> None:
    assert choose({"chat": ABSENT, "messages": ABSENT}) is None
