"""A reasoning item comes back as it came, whatever of it the client has seen."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.responses.reasoning_items import reasoning_item, sealed_item
from latimer.dialects.sealing import seal, unseal

ROUTE = "mill/m"
TEXTS = st.lists(st.text(max_size=3), max_size=3)


@given(TEXTS, TEXTS, st.booleans(), st.booleans(), st.sampled_from(["", "gAAAA"]))
def test_an_item_comes_back_as_it_came(
    summary: list[str], content: list[str], shows_content: bool, hidden: bool, encrypted: str
) -> None:
    shown = "" if hidden else "\n\n".join(content if shows_content else summary)
    sealed = sealed_item(ROUTE, "rs_1", encrypted, summary=summary, content=content, shown=shown)
    opened = unseal(seal(sealed), ROUTE)
    assert opened is not None
    assert opened.is_item
    item = reasoning_item(opened, shown, "unencrypted")
    assert item["type"] == "reasoning"
    assert [part["text"] for part in item["summary"]] == summary
    assert [part["text"] for part in item.get("content", [])] == content
    assert item.get("encrypted_content", "") == encrypted
    assert None not in item.values()


@pytest.mark.parametrize(
    ("encrypted", "rule", "sent"),
    [
        ("gAAAA", "unencrypted", None),
        ("gAAAA", "always", "rs_1"),
        ("", "unencrypted", "rs_1"),
        ("", "never", None),
    ],
)
def test_an_id_is_sent_where_it_is_wanted(encrypted: str, rule: Any, sent: str | None) -> None:
    sealed = sealed_item(ROUTE, "rs_1", encrypted, summary=["a"], content=[], shown="a")
    assert reasoning_item(sealed, "a", rule).get("id") == sent


def test_what_the_client_sees_is_not_sealed_again() -> None:
    sealed = sealed_item(ROUTE, "rs_1", "", summary=["seen"], content=[], shown="seen")
    assert (sealed.summary, sealed.content, sealed.text) == (None, None, None)
