"""Which item an event is about, by whatever of its names a server keeps."""

import pytest

from latimer.dialects.responses.items import ItemKind, Items, kind_of
from latimer.wire.responses import Item, StreamEvent

KIND: ItemKind = "function_call"


def given(id: str | None = None, call_id: str | None = None, type: str = KIND) -> Item:
    return Item(type, id, call_id=call_id)


def about(id: str | None = None, index: int | None = None) -> StreamEvent:
    return StreamEvent(item_id=id, output_index=index)


@pytest.mark.parametrize(
    ("first", "index", "event"),
    [
        (given("a"), 0, about("a", 0)),
        (given("a"), 0, about("a", 5)),  # a wrong index
        (given("a"), 0, about("b", 0)),  # another id in every event
        (given("a"), 0, about(None, 0)),
        (given("a"), None, about("a")),
        (given(None, "c"), None, about("c")),  # llama.cpp: the call's id as the item's
        (given(None, "c"), None, about("x")),
        (given(), 0, about()),
    ],
)
def test_one_item(first: Item, index: int | None, event: StreamEvent) -> None:
    items = Items()
    item = items.added(KIND, first, index)
    assert items.of(KIND, event) is item
    assert items.added(KIND, first, index) is item or not first.id
    assert items.finished(KIND, first, index) in list(items)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((given("a"), 0), about("b", 1)),
        ((given("a"), 0), about(None, 1)),
        ((given("a"), None), about("b")),
    ],
)
def test_two_items(first: tuple[Item, int | None], second: StreamEvent) -> None:
    items = Items()
    assert items.added(KIND, *first) is not items.of(KIND, second)
    assert len(list(items)) == 2


def test_an_id_may_be_used_again() -> None:
    items = Items()
    one = items.finished("message", given("m", type="message"), 0)
    one.done = True
    assert items.finished("message", given("m", type="message"), 0) is one
    assert items.finished("message", given("m", type="message"), 1) is not one
    assert items.added("message", given("m", type="message"), 2) is not one
    assert items.of("reasoning", about("m", 0)) is not one


def test_calls_are_not_confused_at_one_index() -> None:
    items = Items()
    one = items.added(KIND, given(None, "c1"), 0)
    assert items.finished(KIND, given("x", "c2"), 0) is not one


def test_the_whole_output_is_matched_by_ids_and_then_by_order() -> None:
    items = Items()
    a, b = items.added(KIND, given("a"), 0), items.added(KIND, given("b"), 1)
    words = items.of("message", about("m", 2))
    output = [given("new"), given("a"), Item("message", "other"), Item("web_search_call", "w"), given("more")]
    matched = [item for item, _ in items.match(output)]
    assert matched[:4] == [b, a, words, None]
    assert matched[4] not in (a, b)
    assert len(list(items)) == 4


def test_what_was_heard_is_not_missing() -> None:
    item = Items().of("message", about("m"))
    assert item.hear("text", 0, "ab")
    assert not item.hear("text", 0, "c")
    assert item.hear("text", 1, "x")
    assert item.missing("text", 0, "abcd") == "d"
    assert item.missing("text", 0, "abc") == item.missing("text", 0, "other") == ""
    assert item.missing("text", 2, "all") == "all"
    assert item.texts("text") == ["abc", "x"]


def test_kinds() -> None:
    assert kind_of(given()) == KIND
    assert kind_of(Item("web_search_call")) is None
