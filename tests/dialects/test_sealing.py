"""What is sealed in a signature comes back, and only to the route it came from."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.sealing import PREFIX, Sealed, route_mark, seal, unseal
from tests.dialects.chat.asking import ROUTE, Json

FIELDS = st.sampled_from(["reasoning_content", "reasoning", "reasoning_text", "reasoning_details", "think", "parts"])
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5)


@given(FIELDS, st.none() | st.text(), st.lists(st.dictionaries(st.text(), JSON), max_size=3), st.text(min_size=1))
def test_what_is_sealed_comes_back(field: Any, text: str | None, details: list[Json], route: str) -> None:
    sealed = Sealed(route_mark(route), field, text, details or None)
    signature = seal(sealed)
    assert set(signature) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert unseal(signature, route) == sealed
    assert unseal(signature, route + "x") is None


@given(st.text() | st.binary().map(lambda data: PREFIX + data.hex()) | st.text().map(lambda text: PREFIX + text))
def test_a_foreign_signature_is_nobodys(signature: str) -> None:
    assert unseal(signature, ROUTE) is None


def test_a_signature_that_would_unpack_to_gigabytes_is_nobodys() -> None:
    assert unseal(seal(Sealed(route_mark(ROUTE), text="a" * 17 * 1024 * 1024)), ROUTE) is None
