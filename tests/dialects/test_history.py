"""The order of a conversation: turns, and calls with their results. What each dialect makes of it is its own test."""

from typing import Any

import pytest

from latimer.dialects.content import INTERRUPTED_OUTPUT
from latimer.dialects.context import Context
from latimer.dialects.history import EMPTY_TURN, Exchange, arrange, opened_reasoning, outputs, said
from latimer.dialects.parts import Part, TextPart
from latimer.dialects.sealing import Sealed, route_mark, seal
from latimer.errors import Rejection
from latimer.wire.messages import NULL, TextBlock, ThinkingBlock
from tests.dialects.chat.asking import ROUTE, Json, assistant, call, marked, parsed, profile, result, system, text, user


def context(**rules: Json) -> Context:
    return Context(ROUTE, profile(**rules), {}, [])


def shape(*messages: Json | str, shared: Context | None = None) -> list[Any]:
    """The arranged turns as role and paths; an exchange with its calls, the calls with results, and the rest."""
    made: list[Any] = []
    for entry in arrange(parsed(*messages), shared or context()):
        if isinstance(entry, Exchange):
            rest = [(turn.role, [path for path, _ in turn.items]) for turn in entry.rest]
            made.append(([each.id for each in entry.calls], list(entry.results), rest))
        else:
            made.append((entry.role, [path for path, _ in entry.items]))
    return made


def test_neighbouring_assistant_messages_are_one_and_others_stay_apart() -> None:
    assert shape("a", "b", assistant(text("c")), assistant(call("toolu_A")), user(result("toolu_A"))) == [
        ("user", ["messages.0.content.0"]),
        ("user", ["messages.1.content.0"]),
        (["toolu_A"], ["toolu_A"], [("user", [])]),
    ]


def test_results_are_found_wherever_they_are_before_the_next_assistant_turn() -> None:
    turns = (assistant(call("toolu_A"), call("toolu_B")), system("s"), user(text("t"), result("toolu_B")))
    assert shape("go", *turns, user(result("toolu_A")), assistant("x"), "end")[1] == (
        ["toolu_A", "toolu_B"],
        ["toolu_B", "toolu_A"],
        [("system", ["messages.2.content.0"]), ("user", ["messages.3.content.0"]), ("user", [])],
    )


def test_the_bearer_is_the_turn_of_the_first_result() -> None:
    request = parsed("go", assistant(call("toolu_A")), system("s"), user(result("toolu_A"), text("t")))
    exchange = arrange(request, context())[1]
    assert isinstance(exchange, Exchange)
    assert exchange.bearer is exchange.rest[1]


def test_a_repeated_id_is_answered_in_the_order_of_its_calls() -> None:
    twice = assistant(call("toolu_A"), call("toolu_A"))
    entry = arrange(parsed("go", twice, user(result("toolu_A", "1"), result("toolu_A", "2"))), context())[1]
    assert isinstance(entry, Exchange)
    assert [output.text for _, output in outputs(entry, context())] == ["1", "2"]
    assert len({call_id for call_id, _ in outputs(entry, context())}) == 2


@pytest.mark.parametrize(("following", "made"), [(["on"], [INTERRUPTED_OUTPUT]), ([], [])])
def test_only_a_call_that_was_passed_over_gets_a_result_made_up(following: list[str], made: list[Any]) -> None:
    shared = context(messages={"prefill": "native"})
    entry = arrange(parsed("go", assistant(call("toolu_A")), *following), shared)[1]
    assert isinstance(entry, Exchange)
    assert [output for _, output in outputs(entry, shared)] == made
    assert [loss.field for loss in shared.losses] == ["messages.1.content.0"] * len(made)


def test_an_empty_message_says_that_it_is_empty() -> None:
    shared = context()
    turn = arrange(parsed("a", user(text("")), "b"), shared)[1]
    assert not isinstance(turn, Exchange)
    assert turn.items == [("messages.1.content.0", TextBlock(EMPTY_TURN))]
    assert [loss.field for loss in shared.losses] == ["messages.1.content"]


def test_a_message_that_has_served_its_turn_is_left_out() -> None:
    shared = context()
    passing = system("s", clear_at="next_user_message")
    assert shape("a", passing, "b", passing, shared=shared) == [
        ("user", ["messages.0.content.0"]),
        ("user", ["messages.2.content.0"]),
        ("system", ["messages.3.content.0"]),
    ]
    assert [loss.field for loss in shared.losses] == ["messages.1.clear_at"]


def test_a_conversation_ends_with_the_user_unless_the_upstream_goes_on_from_there() -> None:
    with pytest.raises(Rejection, match="prefill"):
        shape("a", assistant("b"))
    assert shape("a", assistant("b"), shared=context(messages={"prefill": "native"}))[1] == ([], [], [])


@pytest.mark.parametrize(
    ("rules", "role", "parts"),
    [
        ({}, "system", [TextPart("s"), TextPart("t")]),
        ({"system_role": "developer"}, "developer", [TextPart("s"), TextPart("t")]),
        ({"mid_system": "tagged"}, "user", [TextPart("<system-reminder>\ns\n\nt\n</system-reminder>")]),
    ],
)
def test_a_system_message_keeps_its_place(rules: Json, role: str, parts: list[Part]) -> None:
    shared = context(messages=rules)
    turn = arrange(parsed("a", system(text("s"), text("t"))), shared)[1]
    assert not isinstance(turn, Exchange)
    assert said(turn, shared) == (role, parts)
    assert bool(shared.losses) == (role == "user")


def test_a_reminder_keeps_the_last_cache_mark() -> None:
    shared = context(messages={"mid_system": "tagged"}, cache={"cache_control": "pass"})
    turn = arrange(parsed("a", system(marked(text("s")), text("t"))), shared)[1]
    assert not isinstance(turn, Exchange)
    (part,) = said(turn, shared)[1]
    assert bytes(part.mark or NULL) == b'{"type":"ephemeral"}'


@pytest.mark.parametrize(
    ("sealed", "rules", "opened"),
    [
        (Sealed(route_mark(ROUTE)), {}, True),
        (Sealed(route_mark("other/m")), {}, False),
        (Sealed(route_mark(ROUTE), "summary"), {}, False),
        (Sealed(route_mark(ROUTE)), {"replay": "never"}, False),
        (Sealed(route_mark(ROUTE), calls={"toolu_A": 1}), {"replay": "never"}, True),
    ],
)
def test_reasoning_is_opened_where_it_belongs(sealed: Sealed, rules: Json, opened: bool) -> None:
    shared = context(reasoning=rules)
    found = opened_reasoning("p", ThinkingBlock("hm", seal(sealed)), shared, lambda each: not each.is_item)
    assert found == ((sealed, "hm") if opened else None)
    assert [loss.field for loss in shared.losses] == ([] if opened else ["p"])
